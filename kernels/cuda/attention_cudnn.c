/* attention_cudnn.c - attention by our own kernels or by cuDNN, whichever is faster. */
#include "kernels/cuda/attention_cudnn.h"

#include "base/log.h"
#include "kernels/cuda/attention_trial.h"

#include <stdlib.h>

enum choice { CHOICE_OPEN, CHOICE_OWN, CHOICE_CUDNN };

static const char *const pass_names[SDPA_PASSES] = {"forward", "backward"};

/* Both passes of one shape. */
struct planned {
    struct planned *next;
    struct sdpa_shape shape;
    struct sdpa_plan *plans[SDPA_PASSES];
    enum choice choices[SDPA_PASSES];
    bool told_of_masks;
};

struct attention_plans {
    struct device *device;
    struct cudnn_sdpa *sdpa;
    bool wanted;                 /* tune, until the library turned out not to be there */
    struct planned *list;
    size_t scratch_bytes;
};

struct error *cuda_attention_open(struct attention_plans **out, struct device *device)
{
    struct attention_plans *p = calloc(1, sizeof *p);
    if (!p)
        return error_new(ERROR_MEMORY, "no memory for plans of attention (%zu bytes)", sizeof *p);
    p->device = device;
    p->wanted = device_cuda_options(device)->tune;
    *out = p;
    return NULL;
}

void cuda_attention_close(struct attention_plans *plans)
{
    if (!plans)
        return;
    while (plans->list) {
        struct planned *p = plans->list;
        plans->list = p->next;
        for (int pass = 0; pass < SDPA_PASSES; pass++)
            cudnn_sdpa_destroy(p->plans[pass]);
        free(p);
    }
    cudnn_sdpa_close(plans->sdpa);
    free(plans);
}

/* ---- planning ---- */

/* The log gets the reason (takes `error`); the run goes on. */
static void leave_to_own(const char *what, struct error *error)
{
    log_info("attention  %s by our own kernels, not cuDNN: %s", what, error_message(error));
    error_destroy(error);
}

static struct planned *find(const struct attention_plans *plans, const struct sdpa_shape *s)
{
    for (struct planned *p = plans->list; p; p = p->next)
        if (p->shape.B == s->B && p->shape.T == s->T && p->shape.NH == s->NH &&
            p->shape.HS == s->HS && p->shape.act == s->act)
            return p;
    return NULL;
}

static void plan_pass(struct attention_plans *plans, struct planned *p, enum sdpa_pass pass)
{
    struct error *e = cudnn_sdpa_plan(&p->plans[pass], plans->sdpa, pass, &p->shape);
    if (e) {
        p->choices[pass] = CHOICE_OWN;
        leave_to_own(pass_names[pass], e);
        return;
    }
    const size_t bytes = cudnn_sdpa_scratch_bytes(p->plans[pass]);
    if (bytes > plans->scratch_bytes)
        plans->scratch_bytes = bytes;
}

static bool open_library(struct attention_plans *plans)
{
    if (plans->sdpa || !plans->wanted)
        return plans->sdpa;
    struct error *e = cudnn_sdpa_open(&plans->sdpa, device_cuda_stream(plans->device));
    plans->wanted = !e;
    if (e)
        leave_to_own("forward and backward", e);
    return plans->sdpa;
}

size_t cuda_attention_reserve(struct attention_plans *plans, const struct kernel_limits *limits,
                              enum dtype act)
{
    const int T = limits->T;
    const struct sdpa_shape shape = {
        .B = (int)(T > 0 ? limits->N / T : 0), .T = T, .NH = limits->NH, .HS = limits->HS,
        .act = act};
    if (!plans->wanted || !limits->attends || shape.B < 1 || (int64_t)shape.B * T != limits->N ||
        !cudnn_sdpa_takes(&shape) || find(plans, &shape) || !open_library(plans))
        return plans->scratch_bytes;

    struct planned *p = calloc(1, sizeof *p);
    if (!p)
        return plans->scratch_bytes;    /* our own kernels need none of it */
    p->shape = shape;
    for (int pass = 0; pass < SDPA_PASSES; pass++)
        plan_pass(plans, p, (enum sdpa_pass)pass);
    p->next = plans->list;
    plans->list = p;
    return plans->scratch_bytes;
}

/* ---- running ---- */

/* Why cuDNN cannot run a call, NULL if it can. */
static const char *obstacle(const uint8_t *key_mask, const int32_t *first_key,
                            const struct dropout *dropout)
{
    if (dropout->threshold)
        return "it drops probabilities in another way";
    if (first_key)
        return "documents are kept apart";
    return key_mask ? "samples are padded" : NULL;
}

static struct error *ask_capture(enum cudaStreamCaptureStatus *out, const struct device *device)
{
    *out = cudaStreamCaptureStatusNone;
    return device_cuda_check(device, cudaStreamIsCapturing(device_cuda_stream(device), out),
                             "cudaStreamIsCapturing");
}

/* Decides on the first call, unless it becomes part of a graph, for which nothing can be timed.
 * Ranks may decide differently: only their gradients, before they are summed, round otherwise. */
static void choose(const struct attention_plans *plans, struct planned *p, enum sdpa_pass pass,
                   const struct attention_call *call)
{
    enum cudaStreamCaptureStatus status;
    struct error *e = ask_capture(&status, call->device);
    if (!e && status != cudaStreamCaptureStatusNone)
        return;
    struct attention_times times = {0};
    if (!e)
        e = attention_try(&times, call, plans->sdpa, p->plans[pass]);
    p->choices[pass] = CHOICE_OWN;
    if (e) {
        leave_to_own(pass_names[pass], e);
        return;
    }
    const bool faster = times.cudnn_ms < times.own_ms;
    if (faster)
        p->choices[pass] = CHOICE_CUDNN;
    log_info("attention  %s of %d x %d by %s: %.3f ms by %s, %.3f ms by our own kernels",
             pass_names[pass], p->shape.B, p->shape.T,
             faster ? cudnn_sdpa_name(plans->sdpa) : "our own kernels", (double)times.cudnn_ms,
             cudnn_sdpa_name(plans->sdpa), (double)times.own_ms);
}

/* After it was chosen cuDNN failed, as `error` says, which is taken. Returns whether our own
 * kernels can go on: not in a graph that the failure spoiled, where nothing can be queued now. */
static bool give_up(struct planned *p, enum sdpa_pass pass, struct device *device,
                    struct error *error)
{
    enum cudaStreamCaptureStatus status;
    struct error *e = ask_capture(&status, device);
    p->choices[pass] = CHOICE_OWN;
    if (!e && status != cudaStreamCaptureStatusInvalidated) {
        log_warning("attention  %s by our own kernels from now on, not cuDNN: %s",
                    pass_names[pass], error_message(error));
        error_destroy(error);
        return true;
    }
    error_destroy(e);
    device_fail(device, error_context(error, "in attention %s by cuDNN; device.tune=false does "
                                      "without it", pass_names[pass]));
    return false;
}

static void run(const struct attention_plans *plans, struct planned *p, enum sdpa_pass pass,
                const struct attention_call *call, const char *reason)
{
    if (!p || !p->plans[pass] || p->choices[pass] == CHOICE_OWN || reason) {
        if (p && reason && !p->told_of_masks) {
            p->told_of_masks = true;
            log_info("attention  by our own kernels, not cuDNN: %s", reason);
        }
        attention_run_own(call);
        return;
    }
    if (p->choices[pass] == CHOICE_OPEN)
        choose(plans, p, pass, call);
    if (p->choices[pass] == CHOICE_CUDNN) {
        struct error *e = attention_run_cudnn(call, plans->sdpa, p->plans[pass]);
        if (!e || !give_up(p, pass, call->device, e))
            return;
    }
    attention_run_own(call);
}

void cuda_fastest_attention_forward(struct device *device, enum dtype act,
                                    const struct attention_forward *a)
{
    const struct attention_plans *plans = cuda_attention_plans(device);
    const struct sdpa_shape shape = {.B = a->B, .T = a->T, .NH = a->NH, .HS = a->HS, .act = act};
    const char *reason = obstacle(a->key_mask, a->first_key, &a->dropout);
    struct planned *p = a->lse ? find(plans, &shape) : NULL;
    run(plans, p, SDPA_FORWARD,
        &(struct attention_call){.device = device, .act = act, .forward = a}, reason);
}

void cuda_fastest_attention_backward(struct device *device, enum dtype act,
                                     const struct attention_backward *a)
{
    const struct attention_plans *plans = cuda_attention_plans(device);
    const struct sdpa_shape shape = {.B = a->B, .T = a->T, .NH = a->NH, .HS = a->HS, .act = act};
    const char *reason = obstacle(a->key_mask, a->first_key, &a->dropout);
    run(plans, find(plans, &shape), SDPA_BACKWARD,
        &(struct attention_call){.device = device, .act = act, .backward = a}, reason);
}
