/* attention_trial.c - one call of attention, by our own kernels and by cuDNN: times and results. */
#include "kernels/cuda/attention_trial.h"

#include "base/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TRIALS = 5, PARTS = 3 };

/* Results differ by a percent or two in bf16, by everything where something is wrong. */
static const double AGREEMENT = 0.05;

void attention_run_own(const struct attention_call *call)
{
    if (call->forward)
        cuda_attention_forward(call->device, call->act, call->forward);
    else
        cuda_attention_backward(call->device, call->act, call->backward);
}

struct error *attention_run_cudnn(const struct attention_call *call, const struct cudnn_sdpa *sdpa,
                                  const struct sdpa_plan *plan)
{
    void *scratch = cuda_scratch(call->device, cudnn_sdpa_scratch_bytes(plan));
    return call->forward ? cudnn_sdpa_forward(sdpa, plan, call->forward, scratch)
                         : cudnn_sdpa_backward(sdpa, plan, call->backward, scratch);
}

/* ---- times ---- */

/* By our own kernels where there is no plan. */
static struct error *run(const struct attention_call *call, const struct cudnn_sdpa *sdpa,
                         const struct sdpa_plan *plan)
{
    if (plan)
        return attention_run_cudnn(call, sdpa, plan);
    attention_run_own(call);
    return NULL;
}

/* Milliseconds of a call, after one to warm up. */
static struct error *time_calls(const struct attention_call *call, const struct cudnn_sdpa *sdpa,
                                const struct sdpa_plan *plan, const cudaEvent_t events[2],
                                float *ms)
{
    const struct device *device = call->device;
    cudaStream_t stream = device_cuda_stream(device);
    TRY(run(call, sdpa, plan));
    TRY(device_cuda_check(device, cudaEventRecord(events[0], stream), "cudaEventRecord"));
    for (int i = 0; i < TRIALS; i++)
        TRY(run(call, sdpa, plan));
    TRY(device_cuda_check(device, cudaEventRecord(events[1], stream), "cudaEventRecord"));
    TRY(device_cuda_check(device, cudaEventSynchronize(events[1]), "cudaEventSynchronize"));
    TRY(device_cuda_check(device, cudaEventElapsedTime(ms, events[0], events[1]),
                          "cudaEventElapsedTime"));
    *ms /= TRIALS;
    return NULL;
}

/* ---- results ---- */

/* A result of one sequence: rows of some parts that are judged apart, since a small one may be
 * wrong beside a large one. */
struct result {
    const char *name;
    const char *from;             /* of the first sequence, in device memory */
    enum dtype type;
    int64_t rows, parts, width;
};

static int results_of(const struct attention_call *call, struct result results[2])
{
    if (call->forward) {
        const struct attention_forward *a = call->forward;
        const int64_t W = (int64_t)a->NH * a->HS;
        results[0] = (struct result){"out", a->out, call->act, a->T, 1, W};
        results[1] = (struct result){"lse", (const char *)a->lse, DTYPE_F32, a->NH, 1, a->T};
        return 2;
    }
    const struct attention_backward *a = call->backward;
    results[0] = (struct result){"dqkv", a->dqkv, call->act, a->T, PARTS, (int64_t)a->NH * a->HS};
    return 1;
}

static size_t result_bytes(const struct result *r)
{
    return (size_t)(r->rows * r->parts * r->width) * dtype_bytes(r->type);
}

/* Results of the first and the last sequence, one behind the other. */
static size_t copy_bytes(const struct result *results, int n)
{
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += 2 * result_bytes(&results[i]);
    return bytes;
}

static struct error *copy_results(const struct attention_call *call, const struct result *results,
                                  int n, char *to)
{
    const struct device *device = call->device;
    cudaStream_t stream = device_cuda_stream(device);
    const int B = call->forward ? call->forward->B : call->backward->B;
    for (int i = 0; i < n; i++) {
        const size_t bytes = result_bytes(&results[i]);
        for (int last = 0; last < 2; last++, to += bytes)
            TRY(device_cuda_check(
                device,
                cudaMemcpyAsync(to, results[i].from + (last ? (size_t)(B - 1) * bytes : 0), bytes,
                                cudaMemcpyDeviceToHost, stream),
                "cudaMemcpyAsync"));
    }
    return device_cuda_check(device, cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

static double number_at(const char *memory, enum dtype type, int64_t i)
{
    float f;
    uint16_t half;
    if (type == DTYPE_F32) {
        memcpy(&f, memory + (size_t)i * sizeof f, sizeof f);
        return (double)f;
    }
    memcpy(&half, memory + (size_t)i * sizeof half, sizeof half);
    return (double)half_to_float(type, half);
}

/* By norms, of what is finite in ours; a gradient of fp16 may overflow. */
static struct error *compare_part(const struct result *r, int64_t part, const char *own,
                                  const char *cudnn)
{
    double difference = 0, norm = 0;
    for (int64_t row = 0; row < r->rows; row++)
        for (int64_t c = 0; c < r->width; c++) {
            const int64_t i = (row * r->parts + part) * r->width + c;
            const double x = number_at(own, r->type, i), y = number_at(cudnn, r->type, i);
            if (!isfinite(x))
                continue;
            difference += (y - x) * (y - x);
            norm += x * x;
        }
    static const char *const parts[PARTS] = {"dq", "dk", "dv"};
    if (difference <= AGREEMENT * AGREEMENT * norm)    /* false for NaN */
        return NULL;
    return error_new(ERROR_DEVICE, "its %s is another, by %.3g of %.3g",
                     r->parts == PARTS ? parts[part] : r->name, sqrt(difference), sqrt(norm));
}

static struct error *compare(const struct result *results, int n, const char *own,
                             const char *cudnn)
{
    for (int i = 0; i < n; i++)
        for (int last = 0; last < 2; last++) {
            for (int64_t part = 0; part < results[i].parts; part++)
                TRY(compare_part(&results[i], part, own, cudnn));
            own += result_bytes(&results[i]);
            cudnn += result_bytes(&results[i]);
        }
    return NULL;
}

/* What is tried: the events to time with, and room for the results of both. */
struct trial {
    const struct attention_call *call;
    const struct cudnn_sdpa *sdpa;
    struct sdpa_plan *plan;
    cudaEvent_t events[2];
    char *own, *cudnn;
};

static struct error *try_engine(const struct trial *t, int engine, float *ms)
{
    struct result results[2];
    const int n = results_of(t->call, results);
    cudnn_sdpa_take_engine(t->plan, engine);
    TRY(time_calls(t->call, t->sdpa, t->plan, t->events, ms));
    TRY(copy_results(t->call, results, n, t->cudnn));
    return compare(results, n, t->own, t->cudnn);
}

/* The error is the first engine's, if there is none that is right. */
static struct error *try_engines(struct attention_times *out, const struct trial *t)
{
    struct error *first = NULL;
    int best = -1;
    for (int i = 0; i < cudnn_sdpa_engines(t->plan); i++) {
        float ms = 0;
        struct error *e = try_engine(t, i, &ms);
        if (!e && (best < 0 || ms < out->cudnn_ms)) {
            out->cudnn_ms = ms;
            best = i;
        }
        if (first)
            error_destroy(e);
        else
            first = e;
    }
    if (best < 0)
        return first;
    if (first)
        log_info("attention: an engine of cuDNN is left out: %s", error_message(first));
    error_destroy(first);
    cudnn_sdpa_take_engine(t->plan, best);
    return NULL;
}

static struct error *try_all(struct attention_times *out, const struct trial *t)
{
    struct result results[2];
    const int n = results_of(t->call, results);
    TRY(time_calls(t->call, NULL, NULL, t->events, &out->own_ms));
    TRY(copy_results(t->call, results, n, t->own));
    return try_engines(out, t);
}

struct error *attention_try(struct attention_times *out, const struct attention_call *call,
                            const struct cudnn_sdpa *sdpa, struct sdpa_plan *plan)
{
    struct result results[2];
    const size_t bytes = copy_bytes(results, results_of(call, results));
    struct error *e = NULL;
    char *copies = malloc(2 * bytes);
    struct trial t = {.call = call, .sdpa = sdpa, .plan = plan, .own = copies};
    if (!copies)
        e = error_new(ERROR_MEMORY, "no memory to compare results (%zu bytes)", 2 * bytes);
    for (int i = 0; i < 2 && !e; i++)
        e = device_cuda_check(call->device, cudaEventCreate(&t.events[i]), "cudaEventCreate");
    if (!e) {
        t.cudnn = copies + bytes;
        e = try_all(out, &t);
    }
    for (int i = 0; i < 2; i++)
        if (t.events[i])
            cudaEventDestroy(t.events[i]);
    free(copies);
    return e;
}
