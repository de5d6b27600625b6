/* snapshot.c - weights and moments between device, host and ranks. */
#include "train/snapshot.h"

#include <stdlib.h>

struct error *snapshot_create(struct snapshot **out, struct device *device, struct model *model,
                              struct optimizer *optimizer)
{
    struct snapshot *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory for the snapshot (%zu bytes)", sizeof *s);
    s->device = device;
    s->model = model;
    s->optimizer = optimizer;
    s->bytes = (size_t)model_parameters(model)->flat_count * sizeof(float);

    void *memory;
    const size_t buffers = optimizer ? 3 : 1;
    struct error *e = device_allocate_host(device, &memory, buffers * s->bytes + sizeof *s->state,
                                           "the snapshot for checkpoints");
    if (e) {
        free(s);
        return e;
    }
    s->weights = memory;
    if (optimizer) {
        s->m = s->weights + s->bytes / sizeof(float);
        s->v = s->m + s->bytes / sizeof(float);
        s->state = (void *)((char *)memory + buffers * s->bytes);
    }
    *out = s;
    return NULL;
}

void snapshot_destroy(struct snapshot *snapshot)
{
    if (!snapshot)
        return;
    device_release(snapshot->device, snapshot->weights);
    free(snapshot);
}

struct error *snapshot_take(struct snapshot *snapshot)
{
    const struct snapshot *s = snapshot;
    device_copy_out(s->device, s->weights, model_weights(s->model), s->bytes);
    if (s->optimizer) {
        device_copy_out(s->device, s->m, optimizer_m(s->optimizer), s->bytes);
        device_copy_out(s->device, s->v, optimizer_v(s->optimizer), s->bytes);
        device_copy_out(s->device, s->state, optimizer_state(s->optimizer), sizeof *s->state);
    }
    return device_synchronize(s->device);
}

struct error *snapshot_restore(struct snapshot *snapshot)
{
    const struct snapshot *s = snapshot;
    device_copy_in(s->device, model_weights(s->model), s->weights, s->bytes);
    if (s->optimizer) {
        device_copy_in(s->device, optimizer_m(s->optimizer), s->m, s->bytes);
        device_copy_in(s->device, optimizer_v(s->optimizer), s->v, s->bytes);
        TRY(optimizer_restore(s->optimizer, s->state));
    }
    model_weights_changed(s->model);
    return device_synchronize(s->device);
}

struct error *snapshot_broadcast(struct snapshot *snapshot, struct comm *comm)
{
    TRY(comm_broadcast(comm, snapshot->weights, snapshot->bytes));
    if (!snapshot->optimizer)
        return NULL;
    TRY(comm_broadcast(comm, snapshot->m, snapshot->bytes));
    TRY(comm_broadcast(comm, snapshot->v, snapshot->bytes));
    return comm_broadcast(comm, snapshot->state, sizeof *snapshot->state);
}
