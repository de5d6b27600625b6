/*
 * matmul_cublaslt.c - matrix products by cuBLASLt.
 *
 * The library thinks in columns: a row-major (M, N) matrix is its (N, M) one. So c = a . b is
 * computed as c^T = b^T . a^T: the library's A is our b and its B our a, m = N and n = M, and an
 * operand that is not transposed here is not there either.
 */
#include "kernels/cuda/matmul.h"

#include "kernels/cuda/cublaslt_library.h"

#include <cublasLt.h>
#include <stdlib.h>

enum { CANDIDATES = 8, TRIALS = 5, WORKSPACE_BYTES = 32 << 20, LARGEST_ALIGNMENT = 256 };

struct plan {
    struct plan *next;
    struct cuda_matmul shape;        /* pointers only tell what there is */
    uint32_t alignment;              /* of all pointers, in bytes */
    bool possible;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;  /* the library's A and B: our b and a */
    cublasLtMatmulAlgo_t algorithm;
};

struct matmul_plans {
    cublasLtHandle_t handle;
    struct plan *list;
    void *workspace;
    void *trial;                     /* where products that add are timed */
    size_t trial_bytes;
    bool tf32, tune;
};

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
        e = device_allocate(device, &p->workspace, WORKSPACE_BYTES, "matrix products' workspace");
    if (e) {
        cuda_matmul_close(p);
        return e;
    }
    p->tf32 = device_cuda_options(device)->tf32;
    p->tune = device_cuda_options(device)->tune;
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
           !x->gelu_input == !y->gelu_input;
}

static uint32_t alignment_of(const struct cuda_matmul *p)
{
    const void *const all[] = {p->a, p->b, p->c, p->bias, p->pre, p->gelu_input};
    uintptr_t bits = LARGEST_ALIGNMENT;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        bits |= (uintptr_t)all[i];
    return (uint32_t)(bits & -bits);
}

static cublasLtEpilogue_t epilogue_of(const struct cuda_matmul *p)
{
    unsigned bits = 0;
    if (p->gelu_input)
        return CUBLASLT_EPILOGUE_DGELU;
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
    if (p->bias)
        TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias));
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

static struct error *run(const struct matmul_plans *plans, const struct plan *plan,
                         const cublasLtMatmulAlgo_t *algorithm, const struct cuda_matmul *p,
                         void *c, cudaStream_t stream)
{
    const float alpha = 1, beta = p->accumulate ? 1 : 0;
    return check(cublasLtMatmul(plans->handle, plan->operation, &alpha, p->b, plan->a, p->a,
                                plan->b, &beta, c, plan->c, c, plan->c, algorithm,
                                plans->workspace, WORKSPACE_BYTES, stream), "cublasLtMatmul");
}

/* Reductions in place are left out: the order of their sums is not fixed. */
static struct error *propose(const struct matmul_plans *plans, const struct plan *plan,
                             cublasLtMatmulHeuristicResult_t *results, int *n)
{
    const uint64_t workspace_bytes = WORKSPACE_BYTES;
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK & ~CUBLASLT_REDUCTION_SCHEME_INPLACE;
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
        s = cublasLtMatmulPreferenceSetAttribute(preference, alignments[i], &plan->alignment,
                                                 sizeof plan->alignment);
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

/* Milliseconds of TRIALS runs after one to warm up; infinity of a candidate that does not run. */
static struct error *time_candidate(const struct matmul_plans *plans, const struct plan *plan,
                                    const cublasLtMatmulAlgo_t *algorithm,
                                    const struct cuda_matmul *p, struct device *device,
                                    cudaEvent_t events[2], float *ms)
{
    cudaStream_t stream = device_cuda_stream(device);
    void *c = p->accumulate ? plans->trial : p->c;
    struct error *refused = run(plans, plan, algorithm, p, c, stream);
    if (refused) {
        error_destroy(refused);
        *ms = 1e30f;
        return NULL;
    }
    TRY(device_cuda_check(device, cudaEventRecord(events[0], stream), "cudaEventRecord"));
    for (int i = 0; i < TRIALS; i++)
        TRY(run(plans, plan, algorithm, p, c, stream));
    TRY(device_cuda_check(device, cudaEventRecord(events[1], stream), "cudaEventRecord"));
    TRY(device_cuda_check(device, cudaEventSynchronize(events[1]), "cudaEventSynchronize"));
    return device_cuda_check(device, cudaEventElapsedTime(ms, events[0], events[1]),
                             "cudaEventElapsedTime");
}

static struct error *fastest(const struct matmul_plans *plans, const struct plan *plan,
                             const cublasLtMatmulHeuristicResult_t *results, int n,
                             const struct cuda_matmul *p, struct device *device, int *best)
{
    cudaEvent_t events[2] = {NULL, NULL};
    float best_ms = 1e30f;
    struct error *e = NULL;
    for (int i = 0; i < 2 && !e; i++)
        e = device_cuda_check(device, cudaEventCreate(&events[i]), "cudaEventCreate");
    for (int i = 0; i < n && !e; i++) {
        float ms;
        e = time_candidate(plans, plan, &results[i].algo, p, device, events, &ms);
        if (!e && ms < best_ms) {
            best_ms = ms;
            *best = i;
        }
    }
    for (int i = 0; i < 2; i++)
        if (events[i])
            cudaEventDestroy(events[i]);
    return e;
}

static struct error *choose_algorithm(const struct matmul_plans *plans, struct plan *plan,
                                      const struct cuda_matmul *p, struct device *device)
{
    cublasLtMatmulHeuristicResult_t results[CANDIDATES];
    int n = 0, usable = 0, best = 0;
    TRY(propose(plans, plan, results, &n));
    for (int i = 0; i < n; i++)
        if (results[i].state == CUBLAS_STATUS_SUCCESS &&
            results[i].workspaceSize <= WORKSPACE_BYTES)
            results[usable++] = results[i];
    plan->possible = usable > 0;
    if (!plan->possible)
        return NULL;
    const bool fits = !p->accumulate || (size_t)(p->M * p->N) * sizeof(float) <= plans->trial_bytes;
    if (plans->tune && fits && usable > 1)
        TRY(fastest(plans, plan, results, usable, p, device, &best));
    plan->algorithm = results[best].algo;
    return NULL;
}

/* The plan for this product, made if it is new. */
static struct error *find_plan(struct device *device, const struct cuda_matmul *p,
                               struct plan **out)
{
    struct matmul_plans *plans = cuda_matmul_plans(device);
    const uint32_t alignment = alignment_of(p);
    for (struct plan **at = &plans->list; *at; at = &(*at)->next) {
        struct plan *plan = *at;
        if (plan->alignment == alignment && same_shape(&plan->shape, p)) {
            *at = plan->next;
            plan->next = plans->list;
            plans->list = plan;
            *out = plan;
            return NULL;
        }
    }

    struct plan *plan = calloc(1, sizeof *plan);
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
    TRY(find_plan(device, p, &plan));
    if (!plan->possible)
        return error_new(ERROR_DEVICE, "cuBLASLt has no algorithm");
    TRY(point_epilogue(plan, p));
    return run(cuda_matmul_plans(device), plan, &plan->algorithm, p, p->c,
               device_cuda_stream(device));
}

/* ---- for the kernels ---- */

bool cuda_matmul_fuses(struct device *device, const struct cuda_matmul *product)
{
    struct plan *plan = NULL;
    struct error *e = find_plan(device, product, &plan);
    if (e) {
        device_fail(device, error_context(e, "planning a matrix product"));
        return false;
    }
    return plan->possible;
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
