/*
 * buckets.c - gradients summed over ranks by a helper thread.
 *
 * The main thread only moves a mark, `ready`: elements from it to the end of the buffer are final.
 * The helper thread begins the buckets above the mark, from the last to the first, the same order on
 * every rank, with MPI_Iallreduce, and drives MPI by testing them. Between looks it sleeps, so that
 * the computation keeps its core: MPI moves a bucket of some megabytes in a few calls, and a step
 * lasts hundreds of milliseconds. Once the main thread waits, there is no core to spare, and the
 * helper yields instead.
 *
 *     IDLE -- buckets_ready --> SUMMING -- all buckets and scalars done --> DONE -- finish --> IDLE
 */
#include "comm/buckets.h"

#include "comm/mpi_error.h"
#include "comm/world.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SHORTEST_SLEEP_US = 20, LONGEST_SLEEP_US = 200 };

struct bucket {
    int64_t first, count;
};

struct buckets {
    struct comm *comm;
    float *gradients;
    int64_t count;
    struct bucket *list;         /* in order of the buffer; begun from the last to the first */
    MPI_Request *requests;       /* one a bucket, and one for the scalars */
    int n;

    double *scalars;             /* of the step that finishes */
    int scalar_count;
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t lock;        /* of what follows */
    pthread_cond_t wake;         /* the helper waits for a step, the main thread for its end */
    int64_t ready;               /* elements from here on are final; count: none */
    bool finishing;              /* scalars are there, the main thread waits */
    bool done, quit;
    struct error *failure;
    atomic_bool hurry;           /* `finishing`, for the helper's polling */
};

static void cut(struct buckets *b, int64_t elements)
{
    /* From the end, so that only the first bucket, the last to be ready, is short. */
    for (int i = b->n - 1; i >= 0; i--) {
        const int64_t end = i + 1 < b->n ? b->list[i + 1].first : b->count;
        b->list[i].first = i > 0 ? end - elements : 0;
        b->list[i].count = end - b->list[i].first;
    }
}

/* Sleeps or yields between two looks at MPI; longer the longer nothing happened. */
static void pause_polling(struct buckets *b, int *sleep_us)
{
    if (atomic_load_explicit(&b->hurry, memory_order_relaxed)) {
        sched_yield();
        return;
    }
    nanosleep(&(struct timespec){.tv_nsec = *sleep_us * 1000L}, NULL);
    *sleep_us = *sleep_us * 2 < LONGEST_SLEEP_US ? *sleep_us * 2 : LONGEST_SLEEP_US;
}

/* Begins what is ready and not begun; `*begun` counts down from n to 0, and to -1 with the scalars. */
static struct error *begin_ready(struct buckets *b, int *begun)
{
    pthread_mutex_lock(&b->lock);
    const int64_t ready = b->ready;
    const bool finishing = b->finishing;
    pthread_mutex_unlock(&b->lock);

    const MPI_Comm world = comm_gradient_world(b->comm);
    while (*begun > 0 && b->list[*begun - 1].first >= ready) {
        const struct bucket *bucket = &b->list[*begun - 1];
        TRY(mpi_check(MPI_Iallreduce(MPI_IN_PLACE, b->gradients + bucket->first,
                                     (int)bucket->count, MPI_FLOAT, MPI_SUM, world,
                                     &b->requests[*begun - 1]), "MPI_Iallreduce"));
        (*begun)--;
    }
    if (*begun == 0 && finishing) {
        TRY(mpi_check(MPI_Iallreduce(MPI_IN_PLACE, b->scalars, b->scalar_count, MPI_DOUBLE,
                                     MPI_SUM, world, &b->requests[b->n]), "MPI_Iallreduce"));
        (*begun)--;
    }
    return NULL;
}

/* One step's sums. */
static struct error *sum_step(struct buckets *b)
{
    int begun = b->n, sleep_us = SHORTEST_SLEEP_US;
    for (int i = 0; i <= b->n; i++)
        b->requests[i] = MPI_REQUEST_NULL;
    for (;;) {
        const int before = begun;
        int all = 0;
        TRY(begin_ready(b, &begun));
        TRY(mpi_check(MPI_Testall(b->n + 1, b->requests, &all, MPI_STATUSES_IGNORE),
                      "MPI_Testall"));
        if (all && begun < 0)
            return NULL;
        if (begun != before)
            sleep_us = SHORTEST_SLEEP_US;
        pause_polling(b, &sleep_us);
    }
}

static void *help(void *self)
{
    struct buckets *b = self;
    pthread_mutex_lock(&b->lock);
    for (;;) {
        while (!b->quit && (b->done || (b->ready == b->count && !b->finishing)))
            pthread_cond_wait(&b->wake, &b->lock);
        if (b->quit)
            break;
        pthread_mutex_unlock(&b->lock);
        struct error *e = sum_step(b);
        pthread_mutex_lock(&b->lock);
        b->failure = e;
        b->done = true;
        pthread_cond_broadcast(&b->wake);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* All ranks must cut alike, or sums would mix up parameters. */
static struct error *check_counts(struct buckets *b, size_t bucket_bytes)
{
    return comm_check_equal(b->comm, "the number of gradients and buckets",
                            (uint64_t)b->count * 31 + bucket_bytes);
}

struct error *buckets_create(struct buckets **out, struct comm *comm, float *gradients,
                             int64_t count, size_t bucket_bytes)
{
    const int64_t elements = bucket_bytes < 4096 ? 1024 : (int64_t)(bucket_bytes / sizeof(float));
    struct error *e;
    struct buckets *b = calloc(1, sizeof *b);
    if (!b)
        return error_new(ERROR_MEMORY, "no memory for gradient buckets (%zu bytes)", sizeof *b);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->wake, NULL);
    b->comm = comm;
    b->gradients = gradients;
    b->count = count;
    b->ready = count;
    b->n = (int)((count + elements - 1) / elements);
    b->list = calloc((size_t)b->n, sizeof *b->list);
    b->requests = calloc((size_t)b->n + 1, sizeof *b->requests);
    if (!b->list || !b->requests) {
        e = error_new(ERROR_MEMORY, "no memory for %d gradient buckets", b->n);
        goto fail;
    }
    cut(b, elements);
    if ((e = check_counts(b, bucket_bytes)))
        goto fail;
    if (comm_world_size(comm) > 1) {
        if (pthread_create(&b->thread, NULL, help, b)) {
            e = error_new(ERROR_MEMORY, "cannot start the thread that sums gradients");
            goto fail;
        }
        b->has_thread = true;
    }
    *out = b;
    return NULL;

fail:
    buckets_destroy(b);
    return e;
}

/* A helper in the middle of a step waits for ranks that may never come; it dies with the process. */
static bool stop_helper(struct buckets *b)
{
    pthread_mutex_lock(&b->lock);
    const bool idle = b->ready == b->count && !b->finishing;
    b->quit = true;
    pthread_cond_broadcast(&b->wake);
    pthread_mutex_unlock(&b->lock);
    if (idle)
        pthread_join(b->thread, NULL);
    else
        pthread_detach(b->thread);
    return idle;
}

void buckets_destroy(struct buckets *buckets)
{
    if (!buckets)
        return;
    if (buckets->has_thread && !stop_helper(buckets))
        return;    /* the helper still uses it */
    pthread_mutex_destroy(&buckets->lock);
    pthread_cond_destroy(&buckets->wake);
    error_destroy(buckets->failure);
    free(buckets->list);
    free(buckets->requests);
    free(buckets);
}

int buckets_count(const struct buckets *buckets)
{
    return buckets->n;
}

size_t buckets_extra_bytes(const struct buckets *buckets)
{
    return buckets->has_thread ? (size_t)buckets->count * sizeof(float) : 0;
}

void buckets_ready(struct buckets *buckets, int64_t first)
{
    if (!buckets->has_thread)
        return;
    pthread_mutex_lock(&buckets->lock);
    if (first > buckets->ready)
        BUG("gradients became ready upwards: %lld after %lld", (long long)first,
            (long long)buckets->ready);
    buckets->ready = first;
    pthread_cond_broadcast(&buckets->wake);
    pthread_mutex_unlock(&buckets->lock);
}

struct error *buckets_finish(struct buckets *buckets, double *scalars, int count)
{
    struct buckets *b = buckets;
    if (!b->has_thread)
        return NULL;

    comm_begin_wait(b->comm, "the sum of gradients");
    pthread_mutex_lock(&b->lock);
    b->scalars = scalars;
    b->scalar_count = count;
    b->ready = 0;
    b->finishing = true;
    atomic_store(&b->hurry, true);
    pthread_cond_broadcast(&b->wake);
    while (!b->done)
        pthread_cond_wait(&b->wake, &b->lock);
    struct error *e = b->failure;
    b->failure = NULL;
    b->ready = b->count;
    b->finishing = b->done = false;
    atomic_store(&b->hurry, false);
    pthread_mutex_unlock(&b->lock);
    comm_end_wait(b->comm);
    return e;
}
