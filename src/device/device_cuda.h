/* device_cuda.h - what the CUDA kernels and NCCL must know of a CUDA device; for them alone. */
#ifndef GALLEY_DEVICE_DEVICE_CUDA_H
#define GALLEY_DEVICE_DEVICE_CUDA_H

#include "device/device.h"

#include <cuda_runtime_api.h>

/* The stream that all copies and kernels of the device are queued on. */
cudaStream_t device_cuda_stream(const struct device *device);

/* NULL for cudaSuccess, else an error that names the call, the host and the GPU. */
MUST_USE struct error *device_cuda_check(const struct device *device, cudaError_t status,
                                         const char *call);

#endif
