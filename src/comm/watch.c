/*
 * watch.c - who waits for whom, asked of the ranks' watches over a communicator of their own.
 *
 *     waited D/2      ask all others where they are, again every D/8
 *     waited D        a rank that did not answer for D/2 is gone; one that answered from a phase it has
 *                     been in for longer than the phase's deadline is stuck
 *
 * with D the deadline for an answer. The lowest rank that is neither reports; the others hold still
 * for some seconds, and end by themselves if it did not end them.
 */
#include "comm/watch.h"

#include "base/clock.h"
#include "base/log.h"
#include "comm/flight.h"
#include "comm/hang.h"
#include "comm/mpi_error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TAG_ASK = 1, TAG_ANSWER = 2, LOOK_MS = 100 };

struct watch {
    int rank, world_size;
    MPI_Comm world;
    const struct watch_place *places;
    char folder[3800];                /* of the flight records; empty: none */

    pthread_t thread;
    pthread_mutex_t lock;             /* of what follows */
    struct comm_deadlines deadlines;
    struct watch_state mine;
    double changed_s;                 /* when `mine` began */
    struct flight *flight;
    bool quit;

    /* The thread's alone. */
    struct hang_rank *ranks;          /* what is known of each */
    struct watch_state *answers;      /* on their way to each */
    MPI_Request *asking, *answering;
    double asked_s, asking_since_s;   /* 0: nobody is being asked */
    char nothing;                     /* what an ASK carries */
};

static double phase_deadline(const struct comm_deadlines *d, enum comm_phase phase)
{
    switch (phase) {
    case COMM_INIT:
        return d->init_s;
    case COMM_DATA:
        return d->data_s + d->answer_s;    /* who reads a pipe that is silent tells so first, and
                                            * better */
    case COMM_STEP:
        return d->step_s;
    case COMM_VALIDATION:
    case COMM_SAMPLING:
        return d->validation_s;
    case COMM_SAVE:
    case COMM_END:
        return d->save_s;
    }
    return d->step_s;
}

const char *comm_phase_name(enum comm_phase phase)
{
    static const char *const names[] = {
        [COMM_INIT] = "init", [COMM_DATA] = "data", [COMM_STEP] = "step",
        [COMM_VALIDATION] = "validation",
        [COMM_SAMPLING] = "sampling", [COMM_SAVE] = "save", [COMM_END] = "end",
    };
    return names[phase];
}

static struct watch_state look_at_mine(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    struct watch_state state = w->mine;
    state.since_s = clock_now_s() - w->changed_s;
    state.late = state.since_s > phase_deadline(&w->deadlines, (enum comm_phase)state.phase);
    pthread_mutex_unlock(&w->lock);
    return state;
}

/* A message whose predecessor has not left yet is not sent: the rank at its end does not listen. */
static bool has_left(MPI_Request *request)
{
    int done = 1;
    if (*request != MPI_REQUEST_NULL)
        MPI_Test(request, &done, MPI_STATUS_IGNORE);
    return done;
}

static void answer(struct watch *w, int rank)
{
    if (!has_left(&w->answering[rank]))
        return;
    w->answers[rank] = look_at_mine(w);
    MPI_Isend(&w->answers[rank], (int)sizeof w->answers[rank], MPI_BYTE, rank, TAG_ANSWER, w->world,
              &w->answering[rank]);
}

static void read_messages(struct watch *w)
{
    for (;;) {
        MPI_Status status;
        int there = 0;
        if (MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, w->world, &there, &status) || !there)
            return;
        const int from = status.MPI_SOURCE;
        if (status.MPI_TAG == TAG_ASK) {
            char nothing;
            MPI_Recv(&nothing, 1, MPI_BYTE, from, TAG_ASK, w->world, MPI_STATUS_IGNORE);
            answer(w, from);
        } else {
            struct hang_rank *r = &w->ranks[from];
            MPI_Recv(&r->state, (int)sizeof r->state, MPI_BYTE, from, TAG_ANSWER, w->world,
                     MPI_STATUS_IGNORE);
            r->answered_s = clock_now_s();
        }
    }
}

static void ask(struct watch *w)
{
    for (int r = 0; r < w->world_size; r++)
        if (r != w->rank && has_left(&w->asking[r]))
            MPI_Isend(&w->nothing, 1, MPI_BYTE, r, TAG_ASK, w->world, &w->asking[r]);
    w->asked_s = clock_now_s();
    if (w->asking_since_s <= 0)
        w->asking_since_s = w->asked_s;
}

/* Who is gone or stuck, as far as this rank can tell. Returns how many are. */
static int judge(struct watch *w, double silence_s)
{
    const double now_s = clock_now_s();
    int guilty = 0;
    for (int r = 0; r < w->world_size; r++) {
        struct hang_rank *h = &w->ranks[r];
        const double heard_s =
            h->answered_s > w->asking_since_s ? h->answered_s : w->asking_since_s;
        h->verdict = HANG_INNOCENT;
        if (r == w->rank)
            continue;
        if (now_s - heard_s > silence_s)
            h->verdict = HANG_SILENT;
        else if (h->answered_s > w->asking_since_s && h->state.late && !h->state.waiting)
            h->verdict = HANG_STUCK;
        guilty += h->verdict != HANG_INNOCENT;
    }
    return guilty;
}

/* Everybody answers and waits, for longer than may be: in different collectives, or in one that
 * does not end. */
static bool all_wait_in_vain(const struct watch *w, const struct watch_state *mine)
{
    for (int r = 0; r < w->world_size; r++) {
        const struct hang_rank *h = &w->ranks[r];
        if (r != w->rank && (h->answered_s <= w->asking_since_s || !h->state.waiting ||
                             !h->state.late))
            return false;
    }
    return mine->late;
}

static void look(struct watch *w)
{
    const struct watch_state mine = look_at_mine(w);
    pthread_mutex_lock(&w->lock);
    const double deadline_s = w->deadlines.answer_s;
    pthread_mutex_unlock(&w->lock);
    if (!mine.waiting || mine.since_s < deadline_s / 2) {
        w->asking_since_s = 0;
        return;
    }
    const double now_s = clock_now_s(), again_s = deadline_s / 8;
    if (w->asking_since_s <= 0 || now_s - w->asked_s > again_s)
        ask(w);
    if (mine.since_s < deadline_s)
        return;
    w->ranks[w->rank].state = mine;
    if (judge(w, deadline_s / 2) > 0 || all_wait_in_vain(w, &mine))
        hang_report(&(struct hang){
            .rank = w->rank, .world_size = w->world_size, .places = w->places, .ranks = w->ranks,
            .folder = w->folder});
}

static void *keep_watch(void *self)
{
    struct watch *w = self;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        const bool quit = w->quit;
        pthread_mutex_unlock(&w->lock);
        if (quit)
            return NULL;
        read_messages(w);
        look(w);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
}

static struct error *allocate(struct watch *w)
{
    const size_t n = (size_t)w->world_size;
    w->ranks = calloc(n, sizeof *w->ranks);
    w->answers = calloc(n, sizeof *w->answers);
    w->asking = malloc(n * sizeof *w->asking);
    w->answering = malloc(n * sizeof *w->answering);
    if (!w->ranks || !w->answers || !w->asking || !w->answering)
        return error_new(ERROR_MEMORY, "no memory to watch %d ranks", w->world_size);
    for (size_t i = 0; i < n; i++)
        w->asking[i] = w->answering[i] = MPI_REQUEST_NULL;
    return NULL;
}

static void release(struct watch *w)
{
    flight_close(w->flight);
    pthread_mutex_destroy(&w->lock);
    free(w->ranks);
    free(w->answers);
    free(w->asking);
    free(w->answering);
    free(w);
}

struct error *watch_create(struct watch **out, const struct watch_place *places)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w)
        return error_new(ERROR_MEMORY, "no memory for the watch (%zu bytes)", sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    MPI_Comm_rank(MPI_COMM_WORLD, &w->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &w->world_size);
    w->places = places;
    w->deadlines = (struct comm_deadlines)COMM_DEADLINES;
    w->mine.step = -1;
    w->changed_s = clock_now_s();
    struct error *e = allocate(w);
    if (!e)
        e = mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &w->world), "MPI_Comm_dup");
    if (!e && pthread_create(&w->thread, NULL, keep_watch, w)) {
        MPI_Comm_free(&w->world);
        e = error_new(ERROR_MEMORY, "cannot start the thread that watches over the ranks");
    }
    if (e) {
        release(w);
        return e;
    }
    *out = w;
    return NULL;
}

void watch_destroy(struct watch *watch)
{
    if (!watch)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->quit = true;
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    for (int r = 0; r < watch->world_size; r++) {
        if (watch->asking[r] != MPI_REQUEST_NULL)
            MPI_Request_free(&watch->asking[r]);
        if (watch->answering[r] != MPI_REQUEST_NULL)
            MPI_Request_free(&watch->answering[r]);
    }
    MPI_Comm_free(&watch->world);
    release(watch);
}

void watch_set_deadlines(struct watch *watch, const struct comm_deadlines *deadlines)
{
    if (!watch)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->deadlines = *deadlines;
    pthread_mutex_unlock(&watch->lock);
}

struct error *watch_record(struct watch *watch, const char *folder)
{
    if (!watch)
        return NULL;
    char path[4096];
    struct flight *flight;
    snprintf(path, sizeof path, "%s/flight/rank-%05d.log", folder, watch->rank);
    TRY(flight_open(&flight, path));
    pthread_mutex_lock(&watch->lock);
    flight_close(watch->flight);    /* of the run before */
    watch->flight = flight;
    snprintf(watch->folder, sizeof watch->folder, "%s/flight", folder);
    pthread_mutex_unlock(&watch->lock);
    flight_add(flight, "rank %d, process %ld on %s, %s", watch->rank,
               watch->places[watch->rank].pid, watch->places[watch->rank].host,
               watch->places[watch->rank].device);
    return NULL;
}

/* With the lock held: the main thread is somewhere else now. */
static void note(struct watch *w, const char *doing, const char *what)
{
    w->changed_s = clock_now_s();
    flight_add(w->flight, "%s step %lld collective %lld %s%s",
               comm_phase_name((enum comm_phase)w->mine.phase), (long long)w->mine.step,
               (long long)w->mine.collective, doing, what);
}

void watch_phase(struct watch *watch, enum comm_phase phase)
{
    if (!watch)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->mine.phase = (int32_t)phase;
    note(watch, "begins", "");
    pthread_mutex_unlock(&watch->lock);
}

void watch_step(struct watch *watch, int64_t step)
{
    if (!watch)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->mine.phase = COMM_STEP;
    watch->mine.step = step;
    note(watch, "begins", "");
    pthread_mutex_unlock(&watch->lock);
}

void watch_wait_begin(struct watch *watch, const char *what)
{
    if (!watch)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->mine.collective++;
    watch->mine.waiting = true;
    snprintf(watch->mine.what, sizeof watch->mine.what, "%s", what);
    note(watch, "waits: ", what);
    pthread_mutex_unlock(&watch->lock);
}

void watch_wait_end(struct watch *watch)
{
    if (!watch)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->mine.waiting = false;
    note(watch, "done: ", watch->mine.what);
    pthread_mutex_unlock(&watch->lock);
}
