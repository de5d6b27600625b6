/*
 * buckets.c - which part of the gradients is summed when.
 *
 * Buckets begin from the last to the first, the same order on every rank. The first bucket is the
 * last to be final, with the end of backward: its sum begins together with the scalars' in
 * buckets_finish, which follows at once.
 */
#include "comm/buckets.h"

#include "comm/collectives.h"

#include <stdbool.h>
#include <stdlib.h>

/* Buckets begin at a multiple of so many elements: NCCL moves less at a time from elsewhere. */
enum { GRAIN = 1024 };

/* Without being told. Over GPUs every sum costs the host a call, which may start a thread of
 * NCCL's, and the network is fast. */
enum { HOST_BUCKET_BYTES = 4000000, DEVICE_BUCKET_BYTES = 25000000 };

struct buckets {
    struct comm *comm;
    const struct collectives *collectives;    /* NULL in a world of one rank */
    void *self;                               /* theirs; NULL until they are open */
    float *gradients;
    int64_t count;
    int64_t elements;            /* of a bucket, in whole grains; the first and the last one may have
                                  * fewer */
    int n;
    int begun;                   /* buckets of this step, counted from the last */
    int64_t ready;               /* elements from here on are final */
};

static int64_t whole_grains(int64_t count)
{
    return (count + GRAIN - 1) / GRAIN * GRAIN;
}

/* Where bucket i begins, from 0 to n. */
static int64_t start_of(const struct buckets *b, int i)
{
    if (i == b->n)
        return b->count;
    return i > 0 ? whole_grains(b->count) - (b->n - i) * b->elements : 0;
}

static struct sum bucket(const struct buckets *b, int i)
{
    return (struct sum){
        .values = b->gradients + start_of(b, i), .count = start_of(b, i + 1) - start_of(b, i),
        .type = SUM_FLOAT,
    };
}

static int64_t bucket_elements(const struct device *device, size_t bytes)
{
    if (bytes == 0)
        bytes = device_memory_is_host(device) ? HOST_BUCKET_BYTES : DEVICE_BUCKET_BYTES;
    return whole_grains((int64_t)((bytes + sizeof(float) - 1) / sizeof(float)));
}

struct error *buckets_prepare(struct comm *comm, struct device *device)
{
    return collectives_prepare(comm, device);
}

/* All ranks must cut alike, or sums would mix up parameters. */
static struct error *check_counts(struct buckets *b, size_t bucket_bytes)
{
    return comm_check_equal(b->comm, "the number of gradients and buckets",
                            (uint64_t)b->count * 31 + bucket_bytes);
}

static struct error *open_collectives(struct buckets *b, struct device *device, bool in_tree)
{
    TRY(collectives_for(&b->collectives, device, in_tree));
    return b->collectives->open(&b->self, &(struct collectives_options){
        .comm = b->comm, .device = device, .memory = b->gradients,
        .memory_bytes = (size_t)b->count * sizeof(float), .most = b->n + 1,
        .first = start_of(b, 1), .each = b->n > 2 ? b->elements : 0,
        .last = b->n > 1 ? b->count - start_of(b, b->n - 1) : 0});
}

struct error *buckets_create(struct buckets **out, struct comm *comm, struct device *device,
                             float *gradients, int64_t count, size_t bucket_bytes, bool in_tree)
{
    struct error *e;
    struct buckets *b = calloc(1, sizeof *b);
    if (!b)
        return error_new(ERROR_MEMORY, "no memory for gradient buckets (%zu bytes)", sizeof *b);
    b->comm = comm;
    b->gradients = gradients;
    b->count = b->ready = count;
    b->elements = bucket_elements(device, bucket_bytes);
    b->n = (int)((whole_grains(count) + b->elements - 1) / b->elements);
    e = check_counts(b, bucket_bytes);
    if (!e && comm_world_size(comm) > 1)
        e = open_collectives(b, device, in_tree);
    if (e) {
        buckets_destroy(b);
        return e;
    }
    *out = b;
    return NULL;
}

void buckets_abandon(struct buckets *buckets)
{
    if (buckets->self)
        buckets->collectives->close(buckets->self);
    buckets->self = NULL;
}

void buckets_destroy(struct buckets *buckets)
{
    if (!buckets)
        return;
    buckets_abandon(buckets);
    free(buckets);
}

int buckets_count(const struct buckets *buckets)
{
    return buckets->n;
}

struct error *buckets_extra_bytes(size_t *bytes, const struct device *device, int64_t count,
                                  int world_size, bool in_tree)
{
    const struct collectives *collectives;
    *bytes = 0;
    if (world_size == 1)
        return NULL;
    TRY(collectives_for(&collectives, device, in_tree));
    *bytes = collectives->copies ? (size_t)count * sizeof(float) : 0;
    return NULL;
}

/* Up to and with bucket `last`. */
static void begin_ready(struct buckets *b, int last)
{
    for (int i = b->n - 1 - b->begun; i >= last && start_of(b, i) >= b->ready; i--) {
        const struct sum sum = bucket(b, i);
        b->collectives->sum_begin(b->self, &sum, 1);
        b->begun++;
    }
}

void buckets_ready(struct buckets *buckets, int64_t first)
{
    if (!buckets->self)
        return;
    if (first > buckets->ready)
        BUG("gradients became ready upwards: %lld after %lld", (long long)first,
            (long long)buckets->ready);
    buckets->ready = first;
    begin_ready(buckets, 1);
}

struct error *buckets_finish(struct buckets *buckets, double *scalars, int count)
{
    struct buckets *b = buckets;
    if (!b->self)
        return NULL;
    b->ready = 0;
    begin_ready(b, 1);
    const struct sum last[] = {
        bucket(b, 0), {.values = scalars, .count = count, .type = SUM_DOUBLE}};
    b->collectives->sum_begin(b->self, last, 2);
    b->ready = b->count;
    b->begun = 0;
    comm_begin_wait(b->comm, "the sum of gradients");
    struct error *e = b->collectives->wait(b->self);
    comm_end_wait(b->comm);
    return e;
}

struct error *buckets_check(struct buckets *buckets)
{
    if (!buckets->self || !buckets->collectives->check)
        return NULL;
    return buckets->collectives->check(buckets->self);
}

struct error *buckets_end(struct buckets *buckets)
{
    if (!buckets->self || !buckets->collectives->end)
        return NULL;
    return buckets->collectives->end(buckets->self);
}
