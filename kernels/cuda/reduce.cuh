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

#endif
