/*
 * snapshot.h - a copy of weights and moments in host memory, between a device and a checkpoint.
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
    size_t bytes;                   /* of each buffer */
    float *weights, *m, *v;         /* flat buffers, host memory */
    struct update_state *state;     /* of the optimizer, host memory */
};

/* Allocates the buffers; device, model and optimizer are borrowed. */
MUST_USE struct error *snapshot_create(struct snapshot **out, struct device *device,
                                       struct model *model, struct optimizer *optimizer);
void snapshot_destroy(struct snapshot *snapshot);

/* Device to host, complete when it returns. */
MUST_USE struct error *snapshot_take(struct snapshot *snapshot);
/* Host to device; renews what the model derives from its weights. */
MUST_USE struct error *snapshot_restore(struct snapshot *snapshot);
/* Collective. Rank 0's buffers to every rank's. */
MUST_USE struct error *snapshot_broadcast(struct snapshot *snapshot, struct comm *comm);

#endif
