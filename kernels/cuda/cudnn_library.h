/* cudnn_library.h - cuDNN, loaded where it is there and wanted. */
#ifndef GALLEY_KERNELS_CUDA_CUDNN_LIBRARY_H
#define GALLEY_KERNELS_CUDA_CUDNN_LIBRARY_H

#include "base/error.h"

/* Loads the library once a process; its functions must not be called before. An error where it is
 * missing, or too old to be right. */
MUST_USE struct error *cudnn_load(void);

#endif
