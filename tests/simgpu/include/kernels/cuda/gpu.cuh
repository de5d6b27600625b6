/*
 * gpu.cuh - the simulated device's twin of kernels/cuda/gpu.cuh: the same names, for a host
 * compiler. The include path decides which of the two a kernel gets.
 */
#ifndef GALLEY_KERNELS_CUDA_GPU_CUH
#define GALLEY_KERNELS_CUDA_GPU_CUH

#include "simgpu/async_copy.h"
#include "simgpu/language.h"
#include "simgpu/launch.h"

#define DYNAMIC_SHARED(T, name) T *const name = reinterpret_cast<T *>(simgpu::dynamic_shared)

template <typename... Parameters, typename... Arguments>
cudaError_t launch(simgpu::call_site stream, dim3 grid, dim3 block, size_t shared_bytes,
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
    return simgpu::launch_kernel(stream, grid, block, shared_bytes, kernel, args...);
}

inline void copy_async_16(void *shared, const void *global, bool valid)
{
    simgpu::copy_async(shared, global, 16, valid);
}

inline void copy_async_commit()
{
    simgpu::copy_async_commit();
}

template <int PENDING> void copy_async_wait()
{
    simgpu::copy_async_wait(PENDING);
}

#endif
