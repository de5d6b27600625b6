/*
 * matmul.h - matrix products on the CPU, the one thing left to a library (oneDNN, or OpenBLAS).
 *
 * c = a . b (+ bias) (+ c), all row-major. The engine keeps a prepared plan for every combination
 * of sizes and options it has met, so that a training loop prepares nothing after its first step.
 */
#ifndef GALLEY_KERNELS_CPU_MATMUL_H
#define GALLEY_KERNELS_CPU_MATMUL_H

#include "base/error.h"
#include "device/dtype.h"

#include <stdbool.h>
#include <stdint.h>

struct matmul {
    void *c;                  /* (M, N) */
    const void *a;            /* (M, K), or (K, M) when transpose_a */
    const void *b;            /* (K, N), or (N, K) when transpose_b */
    const float *bias;        /* (N), added to every row; may be NULL */
    int64_t M, N, K;
    bool transpose_a, transpose_b;
    bool accumulate;          /* c is added to; only where c is fp32 */
    bool relu;                /* max(0, .) at the end; not together with accumulate */
    enum dtype operands;      /* of a and b */
    enum dtype result;        /* of c: fp32, or that of the operands */
};

struct matmul_engine;

MUST_USE struct error *matmul_engine_create(struct matmul_engine **out);
void matmul_engine_destroy(struct matmul_engine *engine);
/* "oneDNN 2.6.3": what the log calls it. */
const char *matmul_engine_name(const struct matmul_engine *engine);
/* Whether products with bf16 operands are possible on this processor, and natively so. */
bool matmul_engine_has_bf16(const struct matmul_engine *engine);

/* One product, on all OpenMP threads; one caller at a time. */
MUST_USE struct error *matmul_run(struct matmul_engine *engine, const struct matmul *product);

#endif
