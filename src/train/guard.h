/*
 * guard.h - what becomes of a run whose step updated nothing, and whose fault that was.
 *
 * The device alone decides whether a step updates the model (kernels.h, plan_update), so that a
 * gradient that is not finite never reaches weights or moments. Here is decided, once the step's
 * report is there and the same on all ranks, whether the run ends, goes on with the next global
 * batch, or goes on with it from the last checkpoint; and all ranks find out together which of them
 * had it from which samples.
 */
#ifndef GALLEY_TRAIN_GUARD_H
#define GALLEY_TRAIN_GUARD_H

#include "comm/comm.h"
#include "train/callback.h"
#include "train/run_folder.h"

enum on_nan { ON_NAN_STOP, ON_NAN_SKIP, ON_NAN_ROLL_BACK };

struct guard;

/* What a resumed run needs to judge as the uninterrupted one would. */
struct guard_counts {
    int64_t in_a_row;          /* steps that were not finite, up to the last one */
    int64_t rollbacks;
};

struct guard_options {
    struct comm *comm;
    enum on_nan on_nan;
    int64_t limit;             /* of both counts */
    int micro_batch;           /* samples of one */
    struct run_folder *folder; /* its metrics.jsonl gets a row a judged step; NULL: not on rank 0 */
    struct guard_counts counts;
};

/* On every rank. All pointers are borrowed. */
MUST_USE struct error *guard_create(struct guard **out, const struct guard_options *options);
void guard_destroy(struct guard *guard);

/* As they stand after the step judged last; borrowed, follows on. */
const struct guard_counts *guard_counts(const struct guard *guard);

/* The first of this rank's micro-batches of a step whose gradient was not finite. */
struct guard_suspect {
    int micro_batch;           /* from 0; -1: none */
    const int64_t *samples;    /* (micro_batch) their numbers; -1: padding */
};

/*
 * Collective where the step was not finite, else local; for every step, in order. Tells of a step
 * that was skipped, but for one whose loss scale was too large. An error, the same on all ranks,
 * ends the run; `*roll_back` says that the model is to go back to the last checkpoint.
 */
MUST_USE struct error *guard_judge(struct guard *guard, const struct step_report *report,
                                   const struct guard_suspect *suspect, bool *roll_back);

#endif
