/* reduce.cuh - sums and maxima over warps and blocks, in an order that depends on their shape
 * alone. */
#ifndef GALLEY_KERNELS_CUDA_REDUCE_CUH
#define GALLEY_KERNELS_CUDA_REDUCE_CUH

#include "kernels/cuda/gpu.cuh"

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

/* Of all lanes; every lane gets it. */
template <typename T> __device__ inline T warp_sum(T x)
{
    for (int distance = WARP / 2; distance > 0; distance /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, distance);
    return x;
}

template <typename T> __device__ inline T warp_max(T x)
{
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        const T y = __shfl_xor_sync(ALL_LANES, x, distance);
        x = y > x ? y : x;
    }
    return x;
}

/* Of this lane and those below it. */
template <typename T> __device__ inline T warp_running_sum(T x)
{
    const int lane = threadIdx.x % WARP;
    for (int distance = 1; distance < WARP; distance *= 2) {
        const T lower = __shfl_up_sync(ALL_LANES, x, distance);
        if (lane >= distance)
            x += lower;
    }
    return x;
}

/* Of all threads of a block of at most 1024, whole warps, blockDim.y and z 1; every thread gets it.
 * `slots`: 32 of the block's shared memory, free again after the next barrier. */
template <typename T> __device__ inline T block_sum(T x, T *slots)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_sum(x);
    if (lane == 0)
        slots[warp] = x;
    __syncthreads();
    return warp_sum(lane < warps ? slots[lane] : T(0));
}

/* The largest, by the same rules. */
template <typename T> __device__ inline T block_max(T x, T *slots)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_max(x);
    if (lane == 0)
        slots[warp] = x;
    __syncthreads();
    return warp_max(slots[lane < warps ? lane : 0]);
}

/* Of this thread and those below it, by the same rules. */
template <typename T> __device__ inline T block_running_sum(T x, T *slots)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_running_sum(x);
    if (lane == WARP - 1)
        slots[warp] = x;
    __syncthreads();
    const T sums = warp_running_sum(lane < warps ? slots[lane] : T(0));
    const T below = __shfl_sync(ALL_LANES, sums, warp > 0 ? warp - 1 : 0);
    return warp > 0 ? below + x : x;
}

#endif
