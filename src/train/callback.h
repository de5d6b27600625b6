/*
 * callback.h - what happens beside the steps: progress, validation, samples, checkpoints.
 *
 * A callback gets what it needs when it is made, never the trainer: it cannot reach in, and is
 * tested alone. The trainer runs those that are due after a step, in the order of its list:
 * progress, validation, sampling, and checkpoint last, so that it stores what the others found.
 * Whether one is due depends only on facts all ranks share, so ranks never have to ask.
 */
#ifndef GALLEY_TRAIN_CALLBACK_H
#define GALLEY_TRAIN_CALLBACK_H

#include "base/error.h"
#include "comm/comm.h"
#include "kernels/kernels.h"

#include <stdbool.h>
#include <stdint.h>

/* What is known after a step; the same on every rank but for the times. */
struct step_report {
    int64_t step;              /* optimizer steps done; 0: before the first one */
    int64_t epoch;             /* of the step just done, from 0 */
    int64_t step_in_epoch;     /* steps of that epoch done */
    int64_t steps_per_epoch;
    int64_t last_step;         /* where the run ends */
    int64_t samples, tokens;   /* since the start of the run; tokens in the loss */
    double loss;               /* of the global batch before the update; a mean as train.loss_mean
                                * says */
    double perplexity;         /* exp of the mean over targets that are not padding */
    double accuracy;           /* share of right predictions where the loss counts */
    double learning_rate;
    double grad_norm;          /* before clipping */
    int64_t step_tokens;       /* tokens in this step's loss, all ranks */
    double step_s;             /* this rank's device, from the end of the step before */
    double compute_s;          /* this rank's forward and backward, until its gradients were ready */
    double data_wait_s;        /* the host's wait for tokens */
    double comm_wait_s;        /* the device's wait for other ranks' gradients; part of step_s */
    double loss_scale;         /* of fp16; else 1 */
    enum update_skip skip;     /* why nothing was updated; SKIP_NONE: it was */
    double loss_sigmas, norm_sigmas;    /* above the steps before, where spikes are looked for */
    bool end_of_epoch;
    bool last;
    bool stopped;              /* the last one here, because the run was asked to stop: it goes on
                                * later */
};

/* Epochs done, with fraction: 1.5 is the middle of the second. */
static inline double report_epochs(const struct step_report *report)
{
    if (report->step == 0)
        return 0;
    return (double)report->epoch +
           (double)report->step_in_epoch / (double)report->steps_per_epoch;
}

struct cadence {
    int64_t every_steps;       /* 0: not by steps */
    int64_t every_epochs;      /* 0: not by epochs */
    bool at_start;             /* also before the first step */
    bool at_end;               /* also after the last */
    bool at_stop;              /* also where the run was asked to stop */
};

static inline bool cadence_due(const struct cadence *when, const struct step_report *report)
{
    if (report->step == 0)
        return when->at_start;
    if (report->last && (report->stopped ? when->at_stop : when->at_end))
        return true;
    if (when->every_steps > 0 && report->step % when->every_steps == 0)
        return true;
    return when->every_epochs > 0 && report->end_of_epoch &&
           (report->epoch + 1) % when->every_epochs == 0;
}

enum callback_who { RANK_0, EVERY_RANK };

struct callback {
    const char *name;          /* as errors and the log call it: "validation" */
    enum comm_phase phase;     /* what others are told this rank is in; 0: still the step */
    struct cadence when;
    struct cadence exact;      /* those of its runs that need the model as it is after the step; for
                                * the others it may already be some steps on */
    enum callback_who who;     /* EVERY_RANK: run is collective; of RANK_0's the others need to know
                                * `exact` alone */
    /* An error of a rank that others wait for ends the world, unless all return it alike; one of
     * RANK_0's lets all ranks come to an end together, before which it may run once more. */
    struct error *(*run)(void *self, const struct step_report *report);
    void (*destroy)(void *self);
    void *self;
};

#endif
