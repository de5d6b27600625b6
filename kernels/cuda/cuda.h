/*
 * cuda.h - what the CUDA kernels share: their state on the device, and the functions table.c collects.
 *
 * One file a family of kernels: its entry points, below, choose the launch geometry, queue the
 * kernels on the device's stream and latch what fails.
 */
#ifndef GALLEY_KERNELS_CUDA_CUDA_H
#define GALLEY_KERNELS_CUDA_CUDA_H

#ifdef __cplusplus
extern "C" {
#endif

#include "device/device_cuda.h"
#include "kernels/kernels.h"

/* Latches a failed launch, named by its kernel and the shape it was asked for. */
void cuda_launched(struct device *device, cudaError_t status, const char *kernel,
                   const char *shape, ...) PRINTF_LIKE(4, 5);

void cuda_convert(struct device *, enum dtype act, const struct convert *);

#ifdef __cplusplus
}
#endif

#endif
