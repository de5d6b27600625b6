/*
 * collectives_mpi.c - sums of host memory by MPI, which a helper thread drives.
 *
 * MPI's nonblocking collectives advance only inside MPI calls. So the main thread only puts sums in
 * a list; the helper begins them with MPI_Iallreduce, in that order, the same on every rank, and
 * drives MPI by testing them. Between looks it sleeps, so that the computation keeps its core: MPI
 * moves some megabytes in a few calls, and a step lasts hundreds of milliseconds. Once the main
 * thread waits, there is no core to spare, and the helper yields instead.
 *
 *     IDLE -- sum_begin --> SUMMING -- wait, and all sums done --> IDLE
 */
#include "comm/collectives.h"

#include "comm/mpi_error.h"
#include "comm/world.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum { SHORTEST_SLEEP_US = 20, LONGEST_SLEEP_US = 200 };

struct mpi {
    struct comm *comm;
    struct sum *sums;            /* since the last wait */
    MPI_Request *requests;       /* one a sum */
    int most;

    bool has_thread;
    pthread_t thread;
    pthread_mutex_t lock;        /* of what follows */
    pthread_cond_t wake;         /* the helper waits for sums, the main thread for their end */
    int given;                   /* sums in the list */
    bool waiting;                /* no more come */
    bool done, quit;
    struct error *failure;
    atomic_bool hurry;           /* `waiting`, for the helper's polling */
};

/* Sleeps or yields between two looks at MPI; longer the longer nothing happened. */
static void pause_polling(struct mpi *s, int *sleep_us)
{
    if (atomic_load_explicit(&s->hurry, memory_order_relaxed)) {
        sched_yield();
        return;
    }
    nanosleep(&(struct timespec){.tv_nsec = *sleep_us * 1000L}, NULL);
    *sleep_us = *sleep_us * 2 < LONGEST_SLEEP_US ? *sleep_us * 2 : LONGEST_SLEEP_US;
}

/* Begins the sums that were given; `*all` tells whether they are the last. */
static struct error *begin_given(struct mpi *s, int *begun, bool *all)
{
    pthread_mutex_lock(&s->lock);
    const int given = s->given;
    *all = s->waiting;
    pthread_mutex_unlock(&s->lock);

    const MPI_Comm world = comm_gradient_world(s->comm);
    for (; *begun < given; (*begun)++) {
        const struct sum *sum = &s->sums[*begun];
        const MPI_Datatype type = sum->type == SUM_FLOAT ? MPI_FLOAT : MPI_DOUBLE;
        TRY(mpi_check(MPI_Iallreduce(MPI_IN_PLACE, sum->values, (int)sum->count, type, MPI_SUM,
                                     world, &s->requests[*begun]), "MPI_Iallreduce"));
    }
    return NULL;
}

/* All sums until a wait. */
static struct error *run_sums(struct mpi *s)
{
    int begun = 0, sleep_us = SHORTEST_SLEEP_US;
    for (;;) {
        const int before = begun;
        int done = 0;
        bool all = false;
        TRY(begin_given(s, &begun, &all));
        TRY(mpi_check(MPI_Testall(begun, s->requests, &done, MPI_STATUSES_IGNORE),
                      "MPI_Testall"));
        if (all && done)
            return NULL;
        if (begun != before)
            sleep_us = SHORTEST_SLEEP_US;
        pause_polling(s, &sleep_us);
    }
}

static void *help(void *self)
{
    struct mpi *s = self;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->quit && (s->done || s->given == 0))
            pthread_cond_wait(&s->wake, &s->lock);
        if (s->quit)
            break;
        pthread_mutex_unlock(&s->lock);
        struct error *e = run_sums(s);
        pthread_mutex_lock(&s->lock);
        s->failure = e;
        s->done = true;
        pthread_cond_broadcast(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* A helper in the middle of sums waits for ranks that may never come; it dies with the process. */
static bool stop_helper(struct mpi *s)
{
    pthread_mutex_lock(&s->lock);
    const bool idle = s->given == 0;
    s->quit = true;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
    if (idle)
        pthread_join(s->thread, NULL);
    else
        pthread_detach(s->thread);
    return idle;
}

static void mpi_close(void *self)
{
    struct mpi *s = self;
    if (s->has_thread && !stop_helper(s))
        return;    /* the helper still uses it */
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    error_destroy(s->failure);
    free(s->sums);
    free(s->requests);
    free(s);
}

static struct error *mpi_open(void **self, const struct collectives_options *options)
{
    struct error *e;
    struct mpi *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory for sums by MPI (%zu bytes)", sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    s->comm = options->comm;
    s->most = options->most;
    s->sums = calloc((size_t)s->most, sizeof *s->sums);
    s->requests = calloc((size_t)s->most, sizeof *s->requests);
    if (!s->sums || !s->requests) {
        e = error_new(ERROR_MEMORY, "no memory for %d sums", s->most);
        goto fail;
    }
    if (pthread_create(&s->thread, NULL, help, s)) {
        e = error_new(ERROR_MEMORY, "cannot start the thread that sums gradients");
        goto fail;
    }
    s->has_thread = true;
    *self = s;
    return NULL;

fail:
    mpi_close(s);
    return e;
}

static void mpi_sum_begin(void *self, const struct sum *sums, int n)
{
    struct mpi *s = self;
    pthread_mutex_lock(&s->lock);
    if (s->given + n > s->most)
        BUG("%d sums were begun, %d more are too many of %d", s->given, n, s->most);
    for (int i = 0; i < n; i++)
        s->sums[s->given + i] = sums[i];
    s->given += n;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

static struct error *mpi_wait(void *self)
{
    struct mpi *s = self;
    pthread_mutex_lock(&s->lock);
    if (s->given > 0) {
        s->waiting = true;
        atomic_store(&s->hurry, true);
        while (!s->done)
            pthread_cond_wait(&s->wake, &s->lock);
    }
    struct error *e = s->failure;
    s->failure = NULL;
    s->given = 0;
    s->waiting = s->done = false;
    atomic_store(&s->hurry, false);
    pthread_mutex_unlock(&s->lock);
    return e;
}

const struct collectives collectives_mpi = {
    .name = "MPI",
    .device_kind = "cpu",
    .copies = true,    /* Open MPI's nonblocking sums do */
    .open = mpi_open,
    .sum_begin = mpi_sum_begin,
    .wait = mpi_wait,
    .close = mpi_close,
};
