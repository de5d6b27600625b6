/* trainer_inside.h - the inside of a trainer, shared by trainer.c, the loop, and trainer_step.c,
 * which queues a step. */
#ifndef GALLEY_TRAIN_TRAINER_INSIDE_H
#define GALLEY_TRAIN_TRAINER_INSIDE_H

#include "train/leaf_sums.h"
#include "train/step_slot.h"
#include "train/trainer.h"

enum { SLOTS = 2, MOST_AHEAD = SLOTS - 1 };

struct trainer {
    struct trainer_parts parts;
    int64_t queued;                  /* steps begun */
    int64_t step;                    /* steps whose report was read */
    int64_t updates;                 /* of those, that were not skipped */
    int64_t samples, tokens;
    int64_t last_step;
    bool stopped;
    bool told_stop;                  /* a report said so */
    struct error *failure;           /* of a callback of this rank alone, the first; its wish to
                                      * stop */
    bool warm;                       /* a full step was queued kernel by kernel */
    struct step_slot slots[SLOTS];   /* step s, counted from 0, in s % SLOTS */
    uint64_t *checksum, *checksum_on_host;    /* for the comparison of ranks */
    struct leaf_sums *leaf_sums;     /* NULL: micro-batches are added one to the next */
};

/* Collective. Queues the step after t->queued. None is queued where the feed has ended;
 * t->last_step then says so. */
MUST_USE struct error *trainer_queue_step(struct trainer *trainer);

#endif
