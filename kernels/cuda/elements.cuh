/* elements.cuh - the types that activations are stored in, and reading several of them at once. */
#ifndef GALLEY_KERNELS_CUDA_ELEMENTS_CUH
#define GALLEY_KERNELS_CUDA_ELEMENTS_CUH

#include "kernels/cuda/cuda.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

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

/* n neighbours, moved by one instruction where they fill up to 16 bytes. */
template <typename T, int n> struct alignas(sizeof(T) * n) pack {
    T x[n];
};

/* Calls f with a zero of the C++ type of `act`. */
template <typename F> void with_type(enum dtype act, F f)
{
    switch (act) {
    case DTYPE_F32: f(0.0f); break;
    case DTYPE_BF16: f(__nv_bfloat16()); break;
    case DTYPE_F16: f(__half()); break;
    }
}

#endif
