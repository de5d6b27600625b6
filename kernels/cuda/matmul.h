/*
 * matmul.h - matrix products on the GPU, by cuBLASLt.
 *
 * c = a . b (+ what an epilogue adds) (+ c), all row-major. A plan is kept for every combination of
 * sizes, options and alignment that was met, so that a step prepares nothing after the first.
 * Without `tune` the library's first proposal is taken, which is the same in every run; with it the
 * candidates are timed once, and epilogues against kernels of ours, and two runs may round
 * differently.
 */
#ifndef GALLEY_KERNELS_CUDA_MATMUL_H
#define GALLEY_KERNELS_CUDA_MATMUL_H

#include "kernels/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cuda_matmul {
    void *c;                  /* (M, N) */
    const void *a;            /* (M, K), or (K, M) when transpose_a */
    const void *b;            /* (K, N), or (N, K) when transpose_b */
    int64_t M, N, K;
    int64_t lda, ldb, ldc;    /* elements from one row to the next; 0: dense */
    bool transpose_a, transpose_b;
    bool accumulate;          /* c is added to; with no other epilogue than bias_gradient */
    enum dtype operands;      /* of a and b */
    enum dtype result;        /* of c: fp32, or that of the operands */

    /* The epilogue, one of: c = activation(a . b + bias); c = a . b * gelu'(gelu_input);
     * bias_gradient = sums over the rows of b, which must not be transposed. */
    const void *bias;         /* (N) in the type of c, may be NULL */
    enum activation activation;
    void *pre;                /* (M, N) in the type of c: GELU's input is written here; may be NULL */
    const void *gelu_input;   /* (M, N) in the type of c, may be NULL */
    void *bias_gradient;      /* (N) in the type of c, always written; may be NULL */
};

struct matmul_plans;

/* Memory for workspace and, to tune, for the result of trials of up to `trial_bytes` grows to the
 * largest of all calls. */
MUST_USE struct error *cuda_matmul_open(struct matmul_plans **out, struct device *device);
MUST_USE struct error *cuda_matmul_reserve(struct matmul_plans *plans, struct device *device,
                                           size_t trial_bytes);
void cuda_matmul_close(struct matmul_plans *plans);

/*
 * What a caller queues itself, beside a product with its epilogue and beside a plain one in its
 * place; NULL: nothing. To be timed they are called some times over, and what they write is lost:
 * they must not add to anything that is kept.
 */
struct cuda_matmul_ways {
    void (*beside_fused)(void *self);
    void (*beside_plain)(void *self);
    void *self;
};

/*
 * Whether to run the product with its epilogue; a plain product always. Where the library has that
 * for the shape, it is; with `tune` only if it is also faster, all counted, which is found out once
 * a plan. A bias gradient never is without `tune`: the library does not say in which order it adds,
 * or that it is the same in every run. GELU in fp32 never is, unless products are TF32's.
 */
bool cuda_matmul_fuses(struct device *device, const struct cuda_matmul *product,
                       const struct cuda_matmul_ways *ways);
/* Queues the product; a failure is latched, named by the kernel that asked. */
void cuda_matmul_run(struct device *device, const char *kernel, const struct cuda_matmul *product);

#ifdef __cplusplus
}
#endif

#endif
