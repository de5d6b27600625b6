/* elements.cuh - the types that activations are stored in, and moving several of them at once. */
#ifndef GALLEY_KERNELS_CUDA_ELEMENTS_CUH
#define GALLEY_KERNELS_CUDA_ELEMENTS_CUH

#include "kernels/cuda/cuda.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

__host__ __device__ inline float to_float(float x)
{
    return x;
}

__host__ __device__ inline float to_float(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

__host__ __device__ inline float to_float(__half x)
{
    return __half2float(x);
}

template <typename T> __host__ __device__ T from_float(float x);

template <> __host__ __device__ inline float from_float(float x)
{
    return x;
}

template <> __host__ __device__ inline __nv_bfloat16 from_float(float x)
{
    return __float2bfloat16(x);
}

template <> __host__ __device__ inline __half from_float(float x)
{
    return __float2half(x);
}

/* Calls f with a zero of the C++ type of `act`. */
template <typename F> void with_type(enum dtype act, F f)
{
    switch (act) {
    case DTYPE_F32: f(0.0f); break;
    case DTYPE_BF16: f(__nv_bfloat16()); break;
    case DTYPE_F16: f(__half()); break;
    }
}

/* n neighbours, moved by one instruction. */
template <typename T, int n> struct alignas(sizeof(T) * n) pack {
    T x[n];
};

/* How many elements one instruction moves. */
template <typename T> constexpr int WIDEST = 16 / (int)sizeof(T);

template <typename T, int W> __device__ inline void load(float *x, const T *from)
{
    constexpr int n = W < WIDEST<T> ? W : WIDEST<T>;
#pragma unroll
    for (int i = 0; i < W; i += n) {
        const pack<T, n> p = *reinterpret_cast<const pack<T, n> *>(from + i);
#pragma unroll
        for (int j = 0; j < n; j++)
            x[i + j] = to_float(p.x[j]);
    }
}

template <typename T, int W> __device__ inline void store(T *to, const float *x)
{
    constexpr int n = W < WIDEST<T> ? W : WIDEST<T>;
#pragma unroll
    for (int i = 0; i < W; i += n) {
        pack<T, n> p;
#pragma unroll
        for (int j = 0; j < n; j++)
            p.x[j] = from_float<T>(x[i + j]);
        *reinterpret_cast<pack<T, n> *>(to + i) = p;
    }
}

/* Whether rows of `columns` elements of T that begin at these places (NULL: absent) can be moved 16
 * bytes at a time. */
template <typename T, typename... Pointers> bool rows_are_aligned(int64_t columns, Pointers... at)
{
    return columns % WIDEST<T> == 0 && ((reinterpret_cast<uintptr_t>(at) % 16 == 0) && ...);
}

/* Calls f with the constant number of elements to move at a time. */
template <typename T, typename F> void with_width(bool aligned, F f)
{
    if (aligned)
        f(std::integral_constant<int, WIDEST<T>>());
    else
        f(std::integral_constant<int, 1>());
}

#endif
