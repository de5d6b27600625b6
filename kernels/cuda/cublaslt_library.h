/* cublaslt_library.h - cuBLASLt, loaded when a GPU is used and not before. */
#ifndef GALLEY_KERNELS_CUDA_CUBLASLT_LIBRARY_H
#define GALLEY_KERNELS_CUDA_CUBLASLT_LIBRARY_H

#include "base/error.h"

/* Loads the library once a process; its functions must not be called before. */
MUST_USE struct error *cublaslt_load(void);

#endif
