/*
 * trainer.h - turns global batches into optimizer steps.
 *
 * Collective throughout: every rank runs the same steps and the same callbacks in the same order.
 */
#ifndef GALLEY_TRAIN_TRAINER_H
#define GALLEY_TRAIN_TRAINER_H

#include "comm/buckets.h"
#include "comm/comm.h"
#include "data/stream.h"
#include "model/gpt.h"
#include "train/callback.h"
#include "train/optimizer.h"
#include "train/schedule.h"

struct trainer;

/* What a trainer works with; all borrowed, all outlive it. */
struct trainer_parts {
    struct comm *comm;
    struct device *device;
    struct model *model;
    struct optimizer *optimizer;
    struct buckets *buckets;
    struct stream *stream;             /* opened at the cursor of `start` */
    const struct schedule *schedule;
    int micro_batches;                 /* reads of the stream that make one step */
    int64_t steps_per_epoch;
    int64_t last_step;
    int64_t check_every_steps;         /* compare the parameters of all ranks; 0: never */
    const struct callback *callbacks;
    int callback_count;
};

/* Where a run stands: steps done, samples and tokens seen. The epoch follows from the step. */
struct trainer_start {
    int64_t step, samples, tokens;
};

MUST_USE struct error *trainer_create(struct trainer **out, const struct trainer_parts *parts,
                                      const struct trainer_start *start);
void trainer_destroy(struct trainer *trainer);

/* Collective. Steps until last_step, callbacks in between. */
MUST_USE struct error *trainer_run(struct trainer *trainer);

#endif
