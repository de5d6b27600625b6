/* library_nccl.h - NCCL, loaded when ranks sum on GPUs and not before. */
#ifndef GALLEY_COMM_LIBRARY_NCCL_H
#define GALLEY_COMM_LIBRARY_NCCL_H

#include "base/error.h"

/* Loads the library once a process; its functions must not be called before. */
MUST_USE struct error *nccl_load(void);

#endif
