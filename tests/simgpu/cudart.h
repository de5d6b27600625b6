/* cudart.h - what the parts of the simulated CUDA runtime share. */
#ifndef SIMGPU_CUDART_H
#define SIMGPU_CUDART_H

#include <driver_types.h>

namespace simgpu {

/* Begins a call of the runtime: the error it must return, or success. */
cudaError_t enter(const char *call);
/* Keeps a failure for cudaGetLastError; returns it. */
cudaError_t leave(cudaError_t status);

}    // namespace simgpu

#endif
