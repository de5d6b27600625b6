/* attention_trial.h - one call of attention, by our own kernels and by cuDNN: times and results. */
#ifndef GALLEY_KERNELS_CUDA_ATTENTION_TRIAL_H
#define GALLEY_KERNELS_CUDA_ATTENTION_TRIAL_H

#include "kernels/cuda/cudnn_sdpa.h"

/* A call of either pass; the other's arguments are NULL. */
struct attention_call {
    struct device *device;
    enum dtype act;
    const struct attention_forward *forward;
    const struct attention_backward *backward;
};

void attention_run_own(const struct attention_call *call);
MUST_USE struct error *attention_run_cudnn(const struct attention_call *call,
                                           const struct cudnn_sdpa *sdpa,
                                           const struct sdpa_plan *plan);

struct attention_times {
    float own_ms, cudnn_ms;
};
/*
 * Runs the call by our own kernels and by each of the plan's engines, some times each; the plan
 * goes on with the fastest engine that is right, whose time is told. Fails where there is none: as
 * cuDNN fails, or its results are not ours to rounding, judged by the first and the last sequence;
 * then run the call again by our own.
 */
MUST_USE struct error *attention_try(struct attention_times *out,
                                     const struct attention_call *call,
                                     const struct cudnn_sdpa *sdpa, struct sdpa_plan *plan);

#endif
