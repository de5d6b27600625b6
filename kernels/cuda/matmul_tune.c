/*
 * matmul_tune.c - times what computes the same product: cuBLASLt's algorithms for it, and its
 * epilogue against the plain product with kernels of ours beside it.
 *
 * Only with `tune`, once for each plan, and never while a graph is made, where nothing can be
 * waited for: a product that is first met there has the library's first proposal until it is met
 * outside of one.
 */
#include "kernels/cuda/matmul_plans.h"

enum { TRIALS = 5 };

struct error *matmul_tune_open(struct matmul_plans *plans, struct device *device)
{
    if (!plans->tune)
        return NULL;
    TRY(device_cuda_check(device, cudaEventCreate(&plans->begin), "cudaEventCreate"));
    return device_cuda_check(device, cudaEventCreate(&plans->end), "cudaEventCreate");
}

void matmul_tune_close(struct matmul_plans *plans)
{
    if (plans->begin)
        cudaEventDestroy(plans->begin);
    if (plans->end)
        cudaEventDestroy(plans->end);
}

struct error *matmul_may_time(const struct matmul_plans *plans, const struct cuda_matmul *product,
                              struct device *device, bool *may)
{
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    const size_t bytes = (size_t)(product->M * product->N) * sizeof(float);
    *may = plans->tune && (!product->accumulate || bytes <= plans->trial_bytes);
    if (!*may)
        return NULL;
    TRY(device_cuda_check(device, cudaStreamIsCapturing(device_cuda_stream(device), &status),
                          "cudaStreamIsCapturing"));
    *may = status == cudaStreamCaptureStatusNone;
    return NULL;
}

/* Something to time. */
struct trial {
    struct error *(*queue)(const struct trial *trial);
    struct device *device;
    const struct matmul_plans *plans;
    const struct plan *plan;                  /* a product */
    const cublasLtMatmulAlgo_t *algorithm;
    const struct cuda_matmul *product;
    void (*beside)(void *self);               /* or what a caller queues beside it */
    void *self;
};

/* Milliseconds of one run, by TRIALS of them. It has run before: a first run loads code. */
static struct error *time_runs(const struct trial *trial, float *ms)
{
    struct device *device = trial->device;
    cudaStream_t stream = device_cuda_stream(device);
    const struct matmul_plans *plans = trial->plans;
    TRY(device_cuda_check(device, cudaEventRecord(plans->begin, stream), "cudaEventRecord"));
    for (int i = 0; i < TRIALS; i++)
        TRY(trial->queue(trial));
    TRY(device_cuda_check(device, cudaEventRecord(plans->end, stream), "cudaEventRecord"));
    TRY(device_cuda_check(device, cudaEventSynchronize(plans->end), "cudaEventSynchronize"));
    TRY(device_cuda_check(device, cudaEventElapsedTime(ms, plans->begin, plans->end),
                          "cudaEventElapsedTime"));
    *ms /= TRIALS;
    return NULL;
}

/* ---- algorithms ---- */

static struct error *queue_product(const struct trial *t)
{
    void *c = t->product->accumulate ? t->plans->trial : t->product->c;
    return matmul_queue(t->plans, t->plan, t->algorithm, t->product, c,
                        device_cuda_stream(t->device));
}

struct error *matmul_fastest(struct matmul_plans *plans, struct plan *plan,
                             const cublasLtMatmulHeuristicResult_t *results, int n,
                             const struct cuda_matmul *product, struct device *device, int *best)
{
    bool may;
    *best = 0;
    plan->ms = MATMUL_NOT_TIMED;
    TRY(matmul_may_time(plans, product, device, &may));
    if (!may)
        return NULL;
    for (int i = 0; i < n; i++) {
        const struct trial trial = {.queue = queue_product, .device = device, .plans = plans,
                                    .plan = plan, .algorithm = &results[i].algo,
                                    .product = product};
        float ms = MATMUL_NOT_TIMED;
        struct error *refused = queue_product(&trial);
        if (refused)
            error_destroy(refused);    /* a candidate that does not run is not the fastest */
        else
            TRY(time_runs(&trial, &ms));
        if (ms < plan->ms) {
            plan->ms = ms;
            *best = i;
        }
    }
    plan->timed = true;
    return NULL;
}

/* ---- epilogues ---- */

static struct error *queue_beside(const struct trial *t)
{
    t->beside(t->self);
    return NULL;
}

static struct error *time_beside(struct matmul_plans *plans, struct device *device,
                                 void (*beside)(void *self), void *self, float *ms)
{
    const struct trial trial = {.queue = queue_beside, .device = device, .plans = plans,
                                .beside = beside, .self = self};
    *ms = 0;
    if (!beside)
        return NULL;
    beside(self);
    return time_runs(&trial, ms);
}

struct error *matmul_judge_epilogue(struct matmul_plans *plans, struct plan *plan,
                                    const struct cuda_matmul *product,
                                    const struct cuda_matmul_ways *ways, struct device *device)
{
    bool may;
    struct plan *plain;
    float beside_fused, beside_plain;
    TRY(matmul_may_time(plans, product, device, &may));
    if (!may)
        return NULL;
    struct cuda_matmul without = *product;
    without.bias = without.gelu_input = NULL;
    without.bias_gradient = without.pre = NULL;
    without.activation = ACTIVATION_NONE;
    TRY(matmul_find_plan(device, &without, &plain));
    if (!plan->timed || !plain->timed)
        return NULL;    /* a verdict stays: none comes of times that were not taken */
    TRY(time_beside(plans, device, ways->beside_fused, ways->self, &beside_fused));
    TRY(time_beside(plans, device, ways->beside_plain, ways->self, &beside_plain));
    const bool faster = plan->ms + beside_fused < plain->ms + beside_plain;
    plan->verdict = faster ? EPILOGUE_PAYS : EPILOGUE_COSTS;
    return NULL;
}
