/* weight_gradient.h - what a batch adds to the gradients of a weight and of its bias. */
#ifndef GALLEY_KERNELS_CUDA_WEIGHT_GRADIENT_H
#define GALLEY_KERNELS_CUDA_WEIGHT_GRADIENT_H

#include "kernels/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* dweight += x^T . dy; dbias += sum over rows of dy. */
struct cuda_weight_gradient {
    float *dweight;          /* (K, M)  added to */
    float *dbias;            /* (M)  added to, may be NULL */
    const void *x;           /* (N, K) act  in */
    const void *dy;          /* (N, M) act  in, rows `ld` elements apart */
    int64_t N, ld;
    int K, M;
    float *scratch;          /* cuda_weight_gradient_floats(M) of them, aligned to 256 bytes */
};
size_t cuda_weight_gradient_floats(size_t M);
/* `kernel` is who asks, for the error. */
void cuda_add_weight_gradient(struct device *device, const char *kernel, enum dtype act,
                              const struct cuda_weight_gradient *);

#ifdef __cplusplus
}
#endif

#endif
