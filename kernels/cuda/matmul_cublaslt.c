/*
 * matmul_cublaslt.c - matrix products by cuBLASLt.
 *
 * The library thinks in columns: a row-major (M, N) matrix is its (N, M) one. So c = a . b is
 * computed as c^T = b^T . a^T: the library's A is our b and its B our a, m = N and n = M, and an
 * operand that is not transposed here is not there either.
 */
#include "kernels/cuda/matmul_plans.h"

#include "kernels/cuda/cublaslt_library.h"

#include <stdlib.h>

enum { CANDIDATES = 8, LARGEST_ALIGNMENT = 256 };

static struct error *check(cublasStatus_t status, const char *call)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return NULL;
    return error_new(ERROR_DEVICE, "%s: %s", call, cublasLtGetStatusString(status));
}

struct error *cuda_matmul_open(struct matmul_plans **out, struct device *device)
{
    TRY(cublaslt_load());
    struct matmul_plans *p = calloc(1, sizeof *p);
    if (!p)
        return error_new(ERROR_MEMORY, "no memory for cuBLASLt (%zu bytes)", sizeof *p);
    struct error *e = check(cublasLtCreate(&p->handle), "cublasLtCreate");
    if (!e)
        e = device_allocate(device, &p->workspace, MATMUL_WORKSPACE_BYTES,
                            "matrix products' workspace");
    p->tf32 = device_cuda_options(device)->tf32;
    p->tune = device_cuda_options(device)->tune;
    if (!e)
        e = matmul_tune_open(p, device);
    if (e) {
        cuda_matmul_close(p);
        return e;
    }
    *out = p;
    return NULL;
}

struct error *cuda_matmul_reserve(struct matmul_plans *plans, struct device *device,
                                  size_t trial_bytes)
{
    if (!plans->tune || trial_bytes <= plans->trial_bytes)
        return NULL;
    void *memory;
    TRY(device_allocate(device, &memory, trial_bytes, "trials of matrix products"));
    device_release(device, plans->trial);
    plans->trial = memory;
    plans->trial_bytes = trial_bytes;
    return NULL;
}

static void release_plan(struct plan *plan)
{
    if (plan->operation)
        cublasLtMatmulDescDestroy(plan->operation);
    cublasLtMatrixLayout_t layouts[] = {plan->a, plan->b, plan->c};
    for (int i = 0; i < 3; i++)
        if (layouts[i])
            cublasLtMatrixLayoutDestroy(layouts[i]);
    free(plan);
}

void cuda_matmul_close(struct matmul_plans *plans)
{
    if (!plans)
        return;
    while (plans->list) {
        struct plan *plan = plans->list;
        plans->list = plan->next;
        release_plan(plan);
    }
    matmul_tune_close(plans);
    if (plans->handle)
        cublasLtDestroy(plans->handle);
    free(plans);
}

/* ---- plans ---- */

static bool same_shape(const struct cuda_matmul *x, const struct cuda_matmul *y)
{
    return x->M == y->M && x->N == y->N && x->K == y->K && x->lda == y->lda && x->ldb == y->ldb &&
           x->ldc == y->ldc && x->transpose_a == y->transpose_a &&
           x->transpose_b == y->transpose_b && x->accumulate == y->accumulate &&
           x->operands == y->operands && x->result == y->result && !x->bias == !y->bias &&
           x->activation == y->activation && !x->pre == !y->pre &&
           !x->gelu_input == !y->gelu_input && !x->bias_gradient == !y->bias_gradient;
}

/* The largest power of two that divides all addresses. */
static uint32_t common_alignment(const void *const *pointers, int n)
{
    uintptr_t bits = LARGEST_ALIGNMENT;
    for (int i = 0; i < n; i++)
        bits |= (uintptr_t)pointers[i];
    return (uint32_t)(bits & -bits);
}

static struct matmul_alignment alignment_of(const struct cuda_matmul *p)
{
    const void *const operands[] = {p->a, p->b, p->c};
    const void *const epilogue[] = {p->bias, p->pre, p->gelu_input, p->bias_gradient};
    return (struct matmul_alignment){common_alignment(operands, 3), common_alignment(epilogue, 4)};
}

static bool same_alignment(struct matmul_alignment x, struct matmul_alignment y)
{
    return x.operands == y.operands && x.epilogue == y.epilogue;
}

/* The bias gradient sums over the rows of our b, which is the library's A. */
static cublasLtEpilogue_t epilogue_of(const struct cuda_matmul *p)
{
    unsigned bits = 0;
    if (p->gelu_input)
        return CUBLASLT_EPILOGUE_DGELU;
    if (p->bias_gradient)
        return CUBLASLT_EPILOGUE_BGRADA;
    if (p->activation == ACTIVATION_RELU)
        bits |= CUBLASLT_EPILOGUE_RELU;
    if (p->activation == ACTIVATION_GELU)
        bits |= p->pre ? CUBLASLT_EPILOGUE_GELU_AUX : CUBLASLT_EPILOGUE_GELU;
    if (p->bias)
        bits |= CUBLASLT_EPILOGUE_BIAS;
    return bits ? (cublasLtEpilogue_t)bits : CUBLASLT_EPILOGUE_DEFAULT;
}

static cudaDataType_t data_type(enum dtype type)
{
    return type == DTYPE_F32 ? CUDA_R_32F : type == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

static struct error *set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute,
                         const void *value, size_t bytes)
{
    return check(cublasLtMatmulDescSetAttribute(operation, attribute, value, bytes),
                 "cublasLtMatmulDescSetAttribute");
}

/* The epilogue's pointers, which change from call to call. */
static struct error *point_epilogue(const struct plan *plan, const struct cuda_matmul *p)
{
    const void *aux = p->gelu_input ? p->gelu_input : p->pre;
    const void *vector = p->bias_gradient ? p->bias_gradient : p->bias;
    if (vector)
        TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &vector, sizeof vector));
    if (aux)
        TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &aux, sizeof aux));
    return NULL;
}

static struct error *describe(struct plan *plan, const struct cuda_matmul *p, bool tf32)
{
    const cublasComputeType_t compute = p->operands == DTYPE_F32 && tf32
                                            ? CUBLAS_COMPUTE_32F_FAST_TF32
                                            : CUBLAS_COMPUTE_32F;
    const cublasOperation_t operations[2] = {CUBLAS_OP_N, CUBLAS_OP_T};
    const cublasLtEpilogue_t epilogue = epilogue_of(p);
    TRY(check(cublasLtMatmulDescCreate(&plan->operation, compute, CUDA_R_32F),
              "cublasLtMatmulDescCreate"));
    TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, &operations[p->transpose_b],
            sizeof operations[0]));
    TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_TRANSB, &operations[p->transpose_a],
            sizeof operations[0]));
    TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    if (p->gelu_input || p->pre)
        TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &p->N, sizeof p->N));
    TRY(point_epilogue(plan, p));

    const int64_t a_columns = p->transpose_a ? p->M : p->K, a_rows = p->transpose_a ? p->K : p->M;
    const int64_t b_columns = p->transpose_b ? p->K : p->N, b_rows = p->transpose_b ? p->N : p->K;
    TRY(check(cublasLtMatrixLayoutCreate(&plan->a, data_type(p->operands), (uint64_t)b_columns,
                                         (uint64_t)b_rows, p->ldb ? p->ldb : b_columns),
              "cublasLtMatrixLayoutCreate"));
    TRY(check(cublasLtMatrixLayoutCreate(&plan->b, data_type(p->operands), (uint64_t)a_columns,
                                         (uint64_t)a_rows, p->lda ? p->lda : a_columns),
              "cublasLtMatrixLayoutCreate"));
    return check(cublasLtMatrixLayoutCreate(&plan->c, data_type(p->result), (uint64_t)p->N,
                                            (uint64_t)p->M, p->ldc ? p->ldc : p->N),
                 "cublasLtMatrixLayoutCreate");
}

struct error *matmul_queue(const struct matmul_plans *plans, const struct plan *plan,
                           const cublasLtMatmulAlgo_t *algorithm, const struct cuda_matmul *p,
                           void *c, cudaStream_t stream)
{
    const float alpha = 1, beta = p->accumulate ? 1 : 0;
    return check(cublasLtMatmul(plans->handle, plan->operation, &alpha, p->b, plan->a, p->a,
                                plan->b, &beta, c, plan->c, c, plan->c, algorithm,
                                plans->workspace, MATMUL_WORKSPACE_BYTES, stream),
                 "cublasLtMatmul");
}

/* Reductions in place are left out: the order of their sums is not fixed. */
static struct error *propose(const struct matmul_plans *plans, const struct plan *plan,
                             cublasLtMatmulHeuristicResult_t *results, int *n)
{
    const uint64_t workspace_bytes = MATMUL_WORKSPACE_BYTES;
    /* Parts of a sum are kept and added in fp32, never in a 16-bit type of the result. */
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    static const cublasLtMatmulPreferenceAttributes_t alignments[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    cublasLtMatmulPreference_t preference;
    TRY(check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate"));

    cublasStatus_t s = cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes,
        sizeof workspace_bytes);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulPreferenceSetAttribute(
            preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions);
    for (int i = 0; i < 4 && s == CUBLAS_STATUS_SUCCESS; i++)
        s = cublasLtMatmulPreferenceSetAttribute(preference, alignments[i],
                                                 &plan->alignment.operands,
                                                 sizeof plan->alignment.operands);
    struct error *e = check(s, "cublasLtMatmulPreferenceSetAttribute");
    if (!e) {
        s = cublasLtMatmulAlgoGetHeuristic(plans->handle, plan->operation, plan->a, plan->b,
                                           plan->c, plan->c, preference, CANDIDATES, results, n);
        if (s == CUBLAS_STATUS_NOT_SUPPORTED || s == CUBLAS_STATUS_INVALID_VALUE)
            *n = 0;    /* so it says that it has none */
        else
            e = check(s, "cublasLtMatmulAlgoGetHeuristic");
    }
    cublasLtMatmulPreferenceDestroy(preference);
    return e;
}

static struct error *choose_algorithm(struct matmul_plans *plans, struct plan *plan,
                                      const struct cuda_matmul *p, struct device *device)
{
    cublasLtMatmulHeuristicResult_t results[CANDIDATES];
    int n = 0, usable = 0, best = 0;
    plan->ms = MATMUL_NOT_TIMED;
    TRY(propose(plans, plan, results, &n));
    for (int i = 0; i < n; i++)
        if (results[i].state == CUBLAS_STATUS_SUCCESS &&
            results[i].workspaceSize <= MATMUL_WORKSPACE_BYTES)
            results[usable++] = results[i];
    plan->possible = usable > 0;
    plan->timed = !plan->possible;
    if (!plan->possible)
        return NULL;
    TRY(matmul_fastest(plans, plan, results, usable, p, device, &best));
    plan->algorithm = results[best].algo;
    return NULL;
}

/* The plan that is kept for it, now the first of the list, or NULL. */
static struct plan *known_plan(struct matmul_plans *plans, const struct cuda_matmul *p,
                               struct matmul_alignment alignment)
{
    for (struct plan **at = &plans->list; *at; at = &(*at)->next) {
        struct plan *plan = *at;
        if (same_alignment(plan->alignment, alignment) && same_shape(&plan->shape, p)) {
            *at = plan->next;
            plan->next = plans->list;
            plans->list = plan;
            return plan;
        }
    }
    return NULL;
}

/* The algorithms of a plan that could not be timed when it was made, by the pointers of now. */
static struct error *time_late(struct matmul_plans *plans, struct plan *plan,
                               const struct cuda_matmul *p, struct device *device)
{
    bool may;
    if (plan->timed)
        return NULL;
    TRY(matmul_may_time(plans, p, device, &may));
    if (!may)
        return NULL;
    TRY(point_epilogue(plan, p));
    return choose_algorithm(plans, plan, p, device);
}

struct error *matmul_find_plan(struct device *device, const struct cuda_matmul *p,
                               struct plan **out)
{
    struct matmul_plans *plans = cuda_matmul_plans(device);
    const struct matmul_alignment alignment = alignment_of(p);
    struct plan *plan = known_plan(plans, p, alignment);
    if (plan) {
        TRY(time_late(plans, plan, p, device));
        *out = plan;
        return NULL;
    }

    plan = calloc(1, sizeof *plan);
    if (!plan)
        return error_new(ERROR_MEMORY, "no memory for a matrix product (%zu bytes)", sizeof *plan);
    plan->shape = *p;
    plan->alignment = alignment;
    struct error *e = describe(plan, p, plans->tf32);
    if (!e)
        e = choose_algorithm(plans, plan, p, device);
    if (e) {
        release_plan(plan);
        return e;
    }
    plan->next = plans->list;
    plans->list = plan;
    *out = plan;
    return NULL;
}

static struct error *run_product(struct device *device, const struct cuda_matmul *p)
{
    struct plan *plan = NULL;
    TRY(matmul_find_plan(device, p, &plan));
    if (!plan->possible)
        return error_new(ERROR_DEVICE, "cuBLASLt has no algorithm");
    TRY(point_epilogue(plan, p));
    return matmul_queue(cuda_matmul_plans(device), plan, &plan->algorithm, p, p->c,
                        device_cuda_stream(device));
}

/* ---- for the kernels ---- */

/* The library does not say how exactly it computes GELU, and fp32 must be as exact as elsewhere. */
static bool is_exact(const struct matmul_plans *plans, const struct cuda_matmul *p)
{
    const bool gelu = p->activation == ACTIVATION_GELU || p->gelu_input;
    return !gelu || p->operands != DTYPE_F32 || plans->tf32;
}

static struct error *decide(bool *fuse, struct device *device, const struct cuda_matmul *p,
                            const struct cuda_matmul_ways *ways)
{
    struct matmul_plans *plans = cuda_matmul_plans(device);
    struct plan *plan = NULL;
    *fuse = false;
    if ((p->bias_gradient && !plans->tune) || !is_exact(plans, p))
        return NULL;
    TRY(matmul_find_plan(device, p, &plan));
    if (!plan->possible)
        return NULL;
    if (plan->verdict == EPILOGUE_NOT_TIMED)
        TRY(matmul_judge_epilogue(plans, plan, p, ways, device));
    *fuse = plan->verdict == EPILOGUE_NOT_TIMED ? !p->bias_gradient
                                                : plan->verdict == EPILOGUE_PAYS;
    return NULL;
}

bool cuda_matmul_fuses(struct device *device, const struct cuda_matmul *product,
                       const struct cuda_matmul_ways *ways)
{
    bool fuse = false;
    if (epilogue_of(product) == CUBLASLT_EPILOGUE_DEFAULT)
        return true;
    struct error *e = decide(&fuse, device, product, ways);
    if (e)
        device_fail(device, error_context(e, "planning a matrix product"));
    return fuse;
}

void cuda_matmul_run(struct device *device, const char *kernel, const struct cuda_matmul *product)
{
    if (product->M == 0 || product->N == 0)
        return;
    struct error *e = run_product(device, product);
    if (e)
        device_fail(device,
                    error_context(e, "in kernel %s on %s, a %s product of %lld x %lld x %lld",
                                  kernel, device_description(device),
                                  dtype_name(product->operands), (long long)product->M,
                                  (long long)product->N, (long long)product->K));
}
