/*
 * step_slot.h - what goes up to the device for one step, and what comes back.
 *
 * While the device works on one step, the host fills the slot of the next: tokens and rates are
 * copied to pinned memory and go up in one copy, beside the kernels. The step's result comes back
 * to pinned memory as the last thing a step does, and the slot's events tell when, and how long it
 * took. Two slots take turns; one is filled again only after its result was read.
 */
#ifndef GALLEY_TRAIN_STEP_SLOT_H
#define GALLEY_TRAIN_STEP_SLOT_H

#include "device/device.h"
#include "kernels/kernels.h"
#include "train/feed.h"

/* A step's scalars. On the way up `sums` holds what the host knows, and zeros. */
struct step_block {
    struct step_sums sums;
    struct update_rates rates;
    struct update_plan plan;
};

struct step_slot {
    struct device *device;
    struct step_block *block;      /* device memory */
    struct step_block *upload;     /* host memory, as it goes up */
    struct step_block *result;     /* host memory, as it came back; once `end` has happened */
    struct batch *batches;         /* in device memory, of this rank's micro-batches */
    int micro_batches;
    int live;                      /* those that hold samples, the first ones */
    int64_t *samples;              /* (micro_batches, B) numbers of samples, of a pipe's their places in
                                    * the global batch; -1: padding */
    double *probes;                /* (micro_batches) device memory: not finite from the micro-batch
                                    * on */
    double *probed;                /* whose gradient is not; and in host memory, as `result` */
    double data_wait_s;            /* spent waiting in its reads */

    struct device_event *uploaded;
    struct device_event *begin, *end;            /* of the step */
    struct device_event *filled;                 /* its samples are there: it computes from here */
    struct device_event *computed, *summed;      /* in between: the wait for other ranks */

    struct device_graph *graph;    /* the step as the trainer queued it; NULL: not made yet */

    struct batch *places, *host_places;    /* where the arrays of each micro-batch go */
    void *host, *memory;
    size_t plain_bytes, all_bytes;    /* without and with the arrays of packed texts */
};

/* Memory for micro_batches of (B, T). The device is borrowed. */
MUST_USE struct error *step_slot_open(struct step_slot *slot, struct device *device,
                                      int micro_batches, int B, int T);
void step_slot_close(struct step_slot *slot);
/* The step is made anew if it is queued again. */
void step_slot_drop_graph(struct step_slot *slot);

/*
 * Reads this rank's share of a global batch from the feed, and sends it up together with `rates`
 * and `stop_votes`; what is queued on the device after this sees it.
 */
MUST_USE struct error *step_slot_fill(struct step_slot *slot, const struct feed *feed,
                                      const struct update_rates *rates, double stop_votes);

/* Queues the copy of block and probes to `result` and `probed`. */
void step_slot_return(struct step_slot *slot);

#endif
