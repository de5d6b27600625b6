/* column_sums.h - sums over the rows of a matrix, always in the same order: gradients of biases. */
#ifndef GALLEY_KERNELS_CUDA_COLUMN_SUMS_H
#define GALLEY_KERNELS_CUDA_COLUMN_SUMS_H

#include "kernels/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { COLUMN_SUMS_PARTS = 128 };    /* at most */

/* sums (M) += column sums of x (N, M) act, whose rows are ld elements apart. `partial` is scratch
 * of COLUMN_SUMS_PARTS * M floats. `kernel` is who asks, for the error. */
void cuda_column_sums(struct device *device, const char *kernel, enum dtype act, float *sums,
                      const void *x, int64_t N, int M, int64_t ld, float *partial);

/* sums += column sums of partial (parts, columns), where columns from `split` on are more_sums'. */
void cuda_add_parts(struct device *device, const char *kernel, float *sums, float *more_sums,
                    int split, const float *partial, int parts, int columns);

#ifdef __cplusplus
}
#endif

#endif
