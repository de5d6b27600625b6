/*
 * snapshot.h - a copy of weights and moments in host memory, between a device and a checkpoint.
 *
 * Taking one copies within the device, so that training hardly stops; the copy then comes to the
 * host on the thread that writes it, while training goes on. On a device whose memory is the host's
 * own, the first copy is the only one.
 */
#ifndef GALLEY_TRAIN_SNAPSHOT_H
#define GALLEY_TRAIN_SNAPSHOT_H

#include "comm/comm.h"
#include "model/gpt.h"
#include "train/optimizer.h"

struct snapshot {
    struct device *device;
    struct model *model;
    struct optimizer *optimizer;    /* NULL: weights only */
    size_t bytes;                   /* of each buffer, with the places of the parameters */
    float *weights, *m, *v;         /* flat buffers, host memory, one after the other */
    struct update_state *state;     /* of the optimizer, host memory */
    float *held;                    /* weights, m, v in device memory, with the model's layout; NULL
                                     * where that is the host's, and without an optimizer */
};

/* Allocates the buffers; device, model and optimizer are borrowed. */
MUST_USE struct error *snapshot_create(struct snapshot **out, struct device *device,
                                       struct model *model, struct optimizer *optimizer);
void snapshot_destroy(struct snapshot *snapshot);

/* Of a model with its optimizer. When it returns, `state` is there, and training may go on; the
 * buffers are there after snapshot_fetch. */
MUST_USE struct error *snapshot_take(struct snapshot *snapshot);
/* Any thread, one at a time, before the next snapshot_take. */
MUST_USE struct error *snapshot_fetch(const struct snapshot *snapshot);
/* Host to device; renews what the model derives from its weights. */
MUST_USE struct error *snapshot_restore(struct snapshot *snapshot);
/* Collective. Rank 0's buffers to every rank's. */
MUST_USE struct error *snapshot_broadcast(struct snapshot *snapshot, struct comm *comm);

#endif
