/* snapshot.c - weights and moments between device, host and ranks. */
#include "train/snapshot.h"

#include <stdlib.h>

enum { BUFFERS = 3 };    /* weights, m, v */

/* Elements of a flat buffer in device memory. */
static size_t device_count(const struct snapshot *s)
{
    return (size_t)model_layout(s->model)->flat_count;
}

static struct error *allocate(struct snapshot *s)
{
    void *memory;
    const size_t buffers = s->optimizer ? BUFFERS : 1;
    TRY(device_allocate_host(s->device, &memory, buffers * s->bytes + sizeof *s->state,
                             "the snapshot for checkpoints"));
    s->weights = memory;
    if (!s->optimizer)
        return NULL;
    s->m = s->weights + s->bytes / sizeof(float);
    s->v = s->m + s->bytes / sizeof(float);
    s->state = (void *)((char *)memory + buffers * s->bytes);
    if (device_memory_is_host(s->device))
        return NULL;
    TRY(device_allocate(s->device, &memory, buffers * device_count(s) * sizeof(float),
                        "a snapshot on the device"));
    s->held = memory;
    return NULL;
}

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

    struct error *e = allocate(s);
    if (e) {
        snapshot_destroy(s);
        return e;
    }
    *out = s;
    return NULL;
}

void snapshot_destroy(struct snapshot *snapshot)
{
    if (!snapshot)
        return;
    device_release(snapshot->device, snapshot->weights);
    device_release(snapshot->device, snapshot->held);
    free(snapshot);
}

/* In slices, so that copies of the training that run meanwhile wait for one slice at most. */
static struct error *bring(const struct snapshot *s, const float *const from[BUFFERS])
{
    const size_t slice = (size_t)16 << 20;
    float *const to[BUFFERS] = {s->weights, s->m, s->v};
    for (int i = 0; i < BUFFERS; i++)
        TRY(flat_layout_fetch(model_layout(s->model), s->device, to[i], from[i], slice));
    return NULL;
}

struct error *snapshot_take(struct snapshot *snapshot)
{
    const struct snapshot *s = snapshot;
    const float *const from[BUFFERS] = {
        model_weights(s->model), optimizer_m(s->optimizer), optimizer_v(s->optimizer)};
    const size_t n = device_count(s);
    for (size_t i = 0; i < BUFFERS && s->held; i++)
        device_copy(s->device, s->held + i * n, from[i], n * sizeof(float));
    device_copy_out(s->device, s->state, optimizer_state(s->optimizer), sizeof *s->state);
    TRY(device_synchronize(s->device));
    return s->held ? NULL : bring(s, from);
}

struct error *snapshot_fetch(const struct snapshot *snapshot)
{
    const struct snapshot *s = snapshot;
    const size_t n = device_count(s);
    if (!s->held)
        return NULL;
    const float *const from[BUFFERS] = {s->held, s->held + n, s->held + 2 * n};
    return bring(s, from);
}

struct error *snapshot_restore(struct snapshot *snapshot)
{
    const struct snapshot *s = snapshot;
    const struct flat_layout *layout = model_layout(s->model);
    flat_layout_copy_in(layout, s->device, model_weights(s->model), s->weights);
    if (s->optimizer) {
        flat_layout_copy_in(layout, s->device, optimizer_m(s->optimizer), s->m);
        flat_layout_copy_in(layout, s->device, optimizer_v(s->optimizer), s->v);
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
