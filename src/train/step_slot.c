/* step_slot.c - one block of pinned memory, one of the device's, laid out alike, and a copy
 * between. */
#include "train/step_slot.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

/* The same places in both memories, so that one copy carries all. The arrays that only packed texts
 * have are the last. */
static size_t lay_out(struct step_block **block, double **probes, struct batch *batches, int n,
                      struct arena *arena)
{
    *block = arena_take(arena, sizeof **block);
    *probes = arena_take(arena, (size_t)n * sizeof **probes);
    for (int i = 0; i < n; i++) {
        struct batch *b = &batches[i];
        const size_t N = (size_t)b->B * (size_t)b->T;
        b->tokens = arena_take(arena, N * sizeof(int32_t));
        b->targets = arena_take(arena, N * sizeof(int32_t));
        b->key_mask = arena_take(arena, N);
        b->loss_mask = arena_take(arena, N);
        b->metric_mask = arena_take(arena, N);
    }
    const size_t plain_bytes = arena->used;
    for (int i = 0; i < n; i++) {
        struct batch *b = &batches[i];
        const size_t N = (size_t)b->B * (size_t)b->T;
        b->first_key = arena_take(arena, N * sizeof(int32_t));
        b->positions = arena_take(arena, N * sizeof(int32_t));
    }
    return plain_bytes;
}

/* What comes back: the block and the probes behind it. */
static size_t result_bytes(const struct step_slot *s)
{
    const char *end = (const char *)(s->probes + s->micro_batches);
    return (size_t)(end - (const char *)s->block);
}

static struct error *allocate(struct step_slot *s)
{
    struct arena plan = {0};
    double *upload_probes;
    s->plain_bytes = lay_out(&s->block, &s->probes, s->places, s->micro_batches, &plan);
    s->all_bytes = plan.used;
    TRY(device_allocate(s->device, &s->memory, plan.used, "a step's tokens"));
    struct arena device = {.base = s->memory, .capacity = plan.used};
    lay_out(&s->block, &s->probes, s->places, s->micro_batches, &device);

    TRY(device_allocate_host(s->device, &s->host, plan.used + result_bytes(s),
                             "a step's tokens on the host"));
    struct arena host = {.base = s->host, .capacity = plan.used};
    lay_out(&s->upload, &upload_probes, s->host_places, s->micro_batches, &host);
    s->result = (struct step_block *)(void *)((char *)s->host + plan.used);
    s->probed = (double *)(void *)((char *)s->result + ((char *)s->probes - (char *)s->block));
    return NULL;
}

static struct error *create_events(struct step_slot *s)
{
    TRY(device_event_create(&s->uploaded, s->device, EVENT_ORDER));
    TRY(device_event_create(&s->begin, s->device, EVENT_TIME));
    TRY(device_event_create(&s->end, s->device, EVENT_TIME));
    TRY(device_event_create(&s->filled, s->device, EVENT_TIME));
    TRY(device_event_create(&s->computed, s->device, EVENT_TIME));
    return device_event_create(&s->summed, s->device, EVENT_TIME);
}

struct error *step_slot_open(struct step_slot *slot, struct device *device, int micro_batches,
                             int B, int T)
{
    struct error *e;
    struct step_slot *s = slot;
    *s = (struct step_slot){.device = device, .micro_batches = micro_batches};
    s->batches = calloc((size_t)micro_batches, sizeof *s->batches);
    s->places = calloc((size_t)micro_batches, sizeof *s->places);
    s->host_places = calloc((size_t)micro_batches, sizeof *s->host_places);
    s->samples = calloc((size_t)micro_batches * (size_t)B, sizeof *s->samples);
    if (!s->batches || !s->places || !s->host_places || !s->samples) {
        e = error_new(ERROR_MEMORY, "no memory for %d micro-batches", micro_batches);
        goto fail;
    }
    for (int i = 0; i < micro_batches; i++)
        s->places[i] = s->host_places[i] = (struct batch){.B = B, .T = T};
    if ((e = allocate(s)))
        goto fail;
    if ((e = create_events(s)))
        goto fail;
    return NULL;

fail:
    step_slot_close(s);
    return e;
}

void step_slot_drop_graph(struct step_slot *slot)
{
    device_graph_destroy(slot->graph);
    slot->graph = NULL;
}

void step_slot_close(struct step_slot *slot)
{
    if (!slot->device)
        return;
    step_slot_drop_graph(slot);
    device_event_destroy(slot->uploaded);
    device_event_destroy(slot->begin);
    device_event_destroy(slot->end);
    device_event_destroy(slot->filled);
    device_event_destroy(slot->computed);
    device_event_destroy(slot->summed);
    device_release(slot->device, slot->memory);
    device_release(slot->device, slot->host);
    free(slot->batches);
    free(slot->places);
    free(slot->host_places);
    free(slot->samples);
    *slot = (struct step_slot){0};
}

/* Into pinned memory, which only this file writes. */
static void copy(const void *to, const void *from, size_t bytes)
{
    if (from)
        memcpy((void *)to, from, bytes);
}

static void stage_batch(struct step_slot *s, int i, const struct batch *batch)
{
    const struct batch *host = &s->host_places[i], *place = &s->places[i];
    const size_t N = (size_t)batch->B * (size_t)batch->T, ids = N * sizeof(int32_t);
    if (batch->B != host->B || batch->T != host->T)
        BUG("a micro-batch of %d x %d, expected %d x %d", batch->B, batch->T, host->B, host->T);
    copy(host->tokens, batch->tokens, ids);
    copy(host->targets, batch->targets, ids);
    copy(host->key_mask, batch->key_mask, N);
    copy(host->loss_mask, batch->loss_mask, N);
    copy(host->metric_mask, batch->metric_mask, N);
    copy(host->first_key, batch->first_key, ids);
    copy(host->positions, batch->positions, ids);

    s->batches[i] = *place;
    s->batches[i].rows = batch->rows;
    s->batches[i].step = batch->step;
    s->batches[i].first_sample = batch->first_sample;
    if (!batch->key_mask)
        s->batches[i].key_mask = NULL;
    if (!batch->first_key)
        s->batches[i].first_key = NULL;
    if (!batch->positions)
        s->batches[i].positions = NULL;
}

/* What a sample is called: by its number, or by its place in the global batch. */
static void keep_samples(struct step_slot *s, int i, const struct batch *batch)
{
    int64_t *samples = s->samples + (ptrdiff_t)i * batch->B;
    for (int b = 0; b < batch->B; b++)
        samples[b] = b >= batch->rows ? -1 : batch->samples ? batch->samples[b] : batch->first_sample + b;
}

struct error *step_slot_fill(struct step_slot *slot, const struct feed *feed,
                             const struct update_rates *rates, double stop_votes)
{
    struct step_slot *s = slot;
    double samples = 0;
    bool packed = false;
    s->live = 0;
    s->data_wait_s = 0;
    for (int i = 0; i < s->micro_batches; i++) {
        struct batch batch;
        double wait_s = 0;
        TRY(feed->read(feed->self, &batch, &wait_s));
        s->data_wait_s += wait_s;
        if (batch.rows == 0)
            continue;    /* a short global batch left nothing for this rank, here or later */
        stage_batch(s, i, &batch);
        keep_samples(s, i, &batch);
        packed |= batch.first_key || batch.positions;
        samples += batch.rows;
        s->live = i + 1;
    }
    *s->upload = (struct step_block){
        .sums = {.samples = samples, .stop_votes = stop_votes}, .rates = *rates};
    device_upload(s->device, s->memory, s->host, packed ? s->all_bytes : s->plain_bytes);
    device_event_record(s->uploaded, STREAM_UPLOAD);
    device_event_wait(s->uploaded, STREAM_COMPUTE);
    device_event_record(s->filled, STREAM_COMPUTE);
    return NULL;
}

void step_slot_return(struct step_slot *slot)
{
    device_copy_out(slot->device, slot->result, slot->block, result_bytes(slot));
}
