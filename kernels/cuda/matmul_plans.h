/*
 * matmul_plans.h - what matmul_cublaslt.c, which describes products to cuBLASLt, and matmul_tune.c,
 * which times them, share.
 */
#ifndef GALLEY_KERNELS_CUDA_MATMUL_PLANS_H
#define GALLEY_KERNELS_CUDA_MATMUL_PLANS_H

#include "kernels/cuda/matmul.h"

#include <cublasLt.h>

enum { MATMUL_WORKSPACE_BYTES = 32 << 20 };

/* How aligned pointers are, in bytes: an algorithm may ask for what those had that it was proposed
 * for. */
struct matmul_alignment {
    uint32_t operands;               /* a, b and c */
    uint32_t epilogue;               /* its vector and its matrix, where it has them */
};

/* What an epilogue is worth, where products are tuned. */
enum epilogue_verdict { EPILOGUE_NOT_TIMED, EPILOGUE_PAYS, EPILOGUE_COSTS };

struct plan {
    struct plan *next;
    struct cuda_matmul shape;        /* pointers only tell what there is */
    struct matmul_alignment alignment;
    bool possible;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;  /* the library's A and B: our b and a */
    cublasLtMatmulAlgo_t algorithm;
    bool timed;                      /* there is nothing to time any more */
    float ms;                        /* of one run; MATMUL_NOT_TIMED, also if no algorithm ran */
    enum epilogue_verdict verdict;   /* against the plain product and what the caller queues then */
};
#define MATMUL_NOT_TIMED 1e30f

struct matmul_plans {
    cublasLtHandle_t handle;
    struct plan *list;
    void *workspace;
    void *trial;                     /* where products that add are timed */
    size_t trial_bytes;
    bool tf32, tune;
    cudaEvent_t begin, end;          /* of a trial; only to tune */
};

/* ---- matmul_cublaslt.c ---- */

/* The plan for this product, made if it is new, timed if it was not and may be now. */
MUST_USE struct error *matmul_find_plan(struct device *device, const struct cuda_matmul *product,
                                        struct plan **out);
/* Queues it with an algorithm, c in place of the product's own. */
MUST_USE struct error *matmul_queue(const struct matmul_plans *plans, const struct plan *plan,
                                    const cublasLtMatmulAlgo_t *algorithm,
                                    const struct cuda_matmul *product, void *c,
                                    cudaStream_t stream);

/* ---- matmul_tune.c ---- */

MUST_USE struct error *matmul_tune_open(struct matmul_plans *plans, struct device *device);
void matmul_tune_close(struct matmul_plans *plans);
/* Writes whether this product may be timed now: not without `tune`, within a graph, or where the
 * memory for trials is too small. */
MUST_USE struct error *matmul_may_time(const struct matmul_plans *plans,
                                       const struct cuda_matmul *product, struct device *device,
                                       bool *may);
/* Writes which of n algorithms is the fastest, and the plan's time. Where the product may not be
 * timed the first one is. */
MUST_USE struct error *matmul_fastest(struct matmul_plans *plans, struct plan *plan,
                                      const cublasLtMatmulHeuristicResult_t *results, int n,
                                      const struct cuda_matmul *product, struct device *device,
                                      int *best);
/* Writes the verdict on the epilogue of a plan that has none yet, where it can be timed now. */
MUST_USE struct error *matmul_judge_epilogue(struct matmul_plans *plans, struct plan *plan,
                                             const struct cuda_matmul *product,
                                             const struct cuda_matmul_ways *ways,
                                             struct device *device);

#endif
