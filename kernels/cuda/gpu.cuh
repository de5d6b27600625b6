/*
 * gpu.cuh - the few ways in which kernels touch the machine beside plain CUDA C++: launching,
 * dynamic shared memory, asynchronous copies into it.
 */
#ifndef GALLEY_KERNELS_CUDA_GPU_CUH
#define GALLEY_KERNELS_CUDA_GPU_CUH

#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

/* Declares `name`, a T * to the block's dynamic shared memory, aligned to 16 bytes. */
#define DYNAMIC_SHARED(T, name)                                                                    \
    extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];                         \
    T *const name = reinterpret_cast<T *>(dynamic_shared_memory)

/* Queues kernel(args...) on the stream. Blocks may use up to what the GPU has of shared memory. */
template <typename... Parameters, typename... Arguments>
cudaError_t launch(cudaStream_t stream, dim3 grid, dim3 block, size_t shared_bytes,
                   void (*kernel)(Parameters...), Arguments... args)
{
    const size_t unasked_bytes = 48 * 1024;
    if (shared_bytes > unasked_bytes) {
        const cudaError_t e =
            cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                 cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
        if (e != cudaSuccess)
            return e;
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(args)...);
}

/*
 * Copies 16 bytes from global to shared memory, both aligned to 16, behind the thread's back; zeros
 * where not `valid` (global is not read then). What a thread copied up to its last
 * copy_async_commit is there after copy_async_wait, for the other threads after a barrier behind
 * that.
 */
__device__ inline void copy_async_16(void *shared, const void *global, bool valid)
{
    __pipeline_memcpy_async(shared, global, 16, valid ? 0 : 16);
}

__device__ inline void copy_async_commit()
{
    __pipeline_commit();
}

/* Waits until at most the PENDING latest commits are still under way. */
template <int PENDING> __device__ inline void copy_async_wait()
{
    __pipeline_wait_prior(PENDING);
}

#endif
