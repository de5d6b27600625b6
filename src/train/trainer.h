/*
 * trainer.h - turns global batches into optimizer steps.
 *
 * Collective throughout: every rank runs the same steps and the same callbacks in the same order.
 *
 * The host never waits for the device inside a step. It queues a step, and while the device works
 * it reads how the one before went, tells the callbacks that may hear of it late, and prepares the
 * next. Only where a callback needs the model exactly as it is after a step does it wait for that
 * step.
 */
#ifndef GALLEY_TRAIN_TRAINER_H
#define GALLEY_TRAIN_TRAINER_H

#include "comm/buckets.h"
#include "comm/comm.h"
#include "model/gpt.h"
#include "train/callback.h"
#include "train/feed.h"
#include "train/guard.h"
#include "train/optimizer.h"
#include "train/schedule.h"

struct trainer;

/* Where a run stands: steps done, those of them that updated the weights, samples and tokens seen.
 * The epoch follows from the step. */
struct trainer_start {
    int64_t step, updates, samples, tokens;
};

/* What a trainer works with; all borrowed, all outlive it. */
struct trainer_parts {
    struct comm *comm;
    struct device *device;
    const struct kernels *kernels;
    struct model *model;
    struct optimizer *optimizer;
    struct buckets *buckets;
    struct feed feed;                  /* begins at the cursor of `start` */
    const struct schedule *schedule;
    int micro_batch;                   /* rows of one read of the feed */
    int micro_batches;                 /* reads of the feed that make one step */
    int T;
    int sample_positions;              /* as the optimizer's option of that name */
    int64_t steps_per_epoch;
    int64_t last_step;
    int64_t check_every_steps;         /* compare the parameters of all ranks; 0: never */
    int steps_ahead;                   /* steps queued before the report of one is read: 0, or 1 where
                                        * the device runs behind. The same on all ranks */
    struct guard *guard;               /* judges steps that updated nothing */
    /* Collective. The device's weights, moments and state become those of the last checkpoint, and
     * `*start` where that stood. */
    struct error *(*roll_back)(void *self, struct trainer_start *start);
    void *roll_back_self;
    bool reproducible;                 /* micro-batches, a power of two, are summed up a tree, before any
                                        * sum over ranks begins */
    bool graphs;                       /* the device has them, and steps differ in nothing but their
                                        * slot's data: they are queued as graphs */
    bool (*stop_asked)(void);          /* whether this rank was asked to stop; NULL: never */
    const struct callback *callbacks;
    int callback_count;
};

MUST_USE struct error *trainer_create(struct trainer **out, const struct trainer_parts *parts,
                                      const struct trainer_start *start);
void trainer_destroy(struct trainer *trainer);

/*
 * Collective. Steps until last_step, or until the feed has no more, callbacks in between. When any
 * rank is asked to stop, all end after the same step, at most steps_ahead after the one that
 * carried the wish, as if it were the last. When a callback of rank 0 fails, they do so too, and
 * all get its error.
 */
MUST_USE struct error *trainer_run(struct trainer *trainer);
/* Whether it ended before last_step, because it was asked to. */
bool trainer_stopped(const struct trainer *trainer);

#endif
