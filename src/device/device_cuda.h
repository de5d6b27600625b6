/* device_cuda.h - what the CUDA kernels and NCCL must know of a CUDA device; for them alone. */
#ifndef GALLEY_DEVICE_DEVICE_CUDA_H
#define GALLEY_DEVICE_DEVICE_CUDA_H

#include "device/device.h"

#include <cuda_runtime_api.h>

/* STREAM_COMPUTE, which all kernels are queued on. */
cudaStream_t device_cuda_stream(const struct device *device);
cudaStream_t device_cuda_stream_of(const struct device *device, enum device_stream stream);

/* As it was opened; valid as long as the device. */
const struct device_options *device_cuda_options(const struct device *device);

/* NULL for cudaSuccess, else an error that names the call and the GPU. */
MUST_USE struct error *device_cuda_check(const struct device *device, cudaError_t status,
                                         const char *call);
/* The same, latched in the device. */
void device_cuda_latch(struct device *device, cudaError_t status, const char *call);

#endif
