/*
 * pipe_windows.c - the samples that come through a pipe, read ahead and shuffled.
 *
 * Window number w is in slot w % 2. The thread fills it while the consumer has w - 1, and waits at
 * w + 1 until the consumer leaves w - 1. A position in a window whose size is known keeps that
 * size: then what is left of it is the same even if the stream, which ended within it, is longer
 * the next time. Without shuffle a window is given out while it is filled; then a position keeps
 * the hash of what was taken.
 */
#include "data/pipe_windows.h"

#include "base/clock.h"
#include "data/order.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 2 };

static const double look_every_s = 0.1;    /* at stop_asked, while waiting */
static const double hear_every_s = 1;

struct window {
    int64_t number;             /* -1: none */
    int64_t size, filled;       /* samples it shall have, and has */
    bool whole;                 /* no more will come */
    struct pipe_cursor start, end;
    int32_t *ids, *counts;      /* (size, T + 1), (size) */
    uint64_t *hashes;           /* (size / G) the cursor's behind each global batch of it */
};

struct pipe_windows {
    struct pipe_windows_options options;
    struct pipe_position from;
    int64_t window_samples;
    int wake[2];                /* a pipe that ends the thread's waiting for bytes */
    atomic_llong heard;         /* bytes that came */
    pthread_t thread;
    bool started;

    pthread_mutex_t mutex;      /* guards all below; of a window's samples, those under `filled`
                                 * stay */
    pthread_cond_t filled, freed;
    struct window windows[SLOTS];
    bool are_windows;
    bool ended;                 /* the last window is whole */
    bool stopping;
    struct error *failure;
    int64_t number, taken;      /* of the window that is given out */

    struct pipe_position position;    /* the consumer's: behind the last take */
};

/* ---- the thread that fills ---- */

/* The slot of window `number`, once it is free; NULL when the thread shall end. */
static struct window *begin_window(struct pipe_windows *w, int64_t number,
                                   const struct pipe_cursor *start)
{
    struct window *window = NULL;
    pthread_mutex_lock(&w->mutex);
    while (!w->stopping && number >= w->number + SLOTS)
        pthread_cond_wait(&w->freed, &w->mutex);
    if (!w->stopping) {
        window = &w->windows[number % SLOTS];
        window->number = number;
        window->size = number == w->from.window && w->from.samples ? w->from.samples
                                                                   : w->window_samples;
        window->filled = 0;
        window->whole = false;
        window->start = *start;
    }
    pthread_mutex_unlock(&w->mutex);
    return window;
}

/* One sample more; or the window ends here. */
static bool advance_window(struct pipe_windows *w, struct window *window, bool more,
                           const struct pipe_samples *samples)
{
    pthread_mutex_lock(&w->mutex);
    window->filled += more;
    if (more && window->filled % w->options.global_batch == 0)
        window->hashes[window->filled / w->options.global_batch - 1] = pipe_samples_cursor(samples).hash;
    window->whole = !more || window->filled == window->size;
    if (window->whole)
        window->end = pipe_samples_cursor(samples);
    w->ended = !more;
    const bool go_on = !w->stopping;
    pthread_cond_signal(&w->filled);
    pthread_mutex_unlock(&w->mutex);
    return go_on;
}

/* How many samples of the window in which the run goes on must be as they were. */
static int64_t samples_had(const struct pipe_windows *w)
{
    return w->from.samples ? w->from.samples : w->from.taken;
}

/* They are: `filled` are there, which is all of them, or no more will be. */
static struct error *check_resumed(const struct pipe_windows *w, int64_t filled,
                                   struct pipe_samples *samples)
{
    const struct pipe_position *const from = &w->from;
    const int64_t had = samples_had(w);
    if (filled < had)
        return error_new(ERROR_INPUT, "the stream of training data ends %lld samples too early for "
                         "the run to go on; send all of it again from its beginning, or "
                         "start another run",
                         (long long)(had - filled));
    if (filled > had || !from->end_hash || pipe_samples_cursor(samples).hash == from->end_hash)
        return NULL;
    return pipe_samples_differ(samples, pipe_samples_cursor(samples).bytes);
}

static struct error *fill_windows(struct pipe_windows *w, struct pipe_samples *samples)
{
    const size_t places = (size_t)w->options.samples.T + 1;
    for (int64_t number = w->from.window; !w->ended; number++) {
        const struct pipe_cursor start = pipe_samples_cursor(samples);
        struct window *const window = begin_window(w, number, &start);
        if (!window)
            return NULL;
        while (!window->whole) {
            int count;
            TRY(pipe_samples_read(samples, window->ids + (size_t)window->filled * places, &count));
            const int64_t filled = window->filled + (count >= 0);
            if (count >= 0)
                window->counts[window->filled] = count;
            if (number == w->from.window && (count < 0 || filled == samples_had(w)))
                TRY(check_resumed(w, filled, samples));
            if (!advance_window(w, window, count >= 0, samples))
                return NULL;
        }
    }
    return NULL;
}

static void *run(void *self)
{
    struct pipe_windows *const w = self;
    struct pipe_samples_options options = w->options.samples;
    struct pipe_samples *samples = NULL;
    options.wake_fd = w->wake[0];
    options.heard = &w->heard;
    struct error *e = pipe_samples_open(&samples, &options, &w->from.start);
    if (!e) {
        pthread_mutex_lock(&w->mutex);
        w->are_windows = pipe_samples_are_windows(samples);
        pthread_mutex_unlock(&w->mutex);
        e = fill_windows(w, samples);
    }
    pthread_mutex_lock(&w->mutex);
    w->failure = e;
    pthread_cond_signal(&w->filled);
    pthread_mutex_unlock(&w->mutex);
    pipe_samples_close(samples);
    return NULL;
}

/* ---- opening ---- */

static int64_t window_samples(const struct pipe_windows_options *o)
{
    const int64_t G = o->global_batch;
    return (o->window + G - 1) / G * G;
}

size_t pipe_windows_bytes(const struct pipe_windows_options *options)
{
    const size_t n = (size_t)window_samples(options);
    return SLOTS * (n * ((size_t)options->samples.T + 2) * sizeof(int32_t) +
                    n / (size_t)options->global_batch * sizeof(uint64_t));
}

static struct error *no_memory(const struct pipe_windows_options *o)
{
    return error_new(ERROR_MEMORY, "no memory for the samples of a pipe (%zu bytes); lower "
                     "data.pipe_window", pipe_windows_bytes(o));
}

static struct error *allocate(struct pipe_windows *w)
{
    const size_t n = (size_t)w->window_samples, places = (size_t)w->options.samples.T + 1;
    for (int i = 0; i < SLOTS; i++) {
        struct window *const window = &w->windows[i];
        window->number = -1;
        window->ids = calloc(n * places, sizeof *window->ids);
        window->counts = calloc(n, sizeof *window->counts);
        window->hashes = calloc(n / (size_t)w->options.global_batch, sizeof *window->hashes);
        if (!window->ids || !window->counts || !window->hashes)
            return no_memory(&w->options);
    }
    return NULL;
}

static struct error *start(struct pipe_windows *w)
{
    if (pipe(w->wake))
        return error_errno(ERROR_IO, "cannot make a pipe");
    /* Signals asked of the process are for the main thread, whose waiting they shall interrupt. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->started = !failed;
    return failed ? error_new(ERROR_MEMORY, "cannot start the thread that reads the pipe: %s",
                              strerror(failed)) : NULL;
}

struct error *pipe_windows_open(struct pipe_windows **out,
                                const struct pipe_windows_options *options,
                                const struct pipe_position *from)
{
    struct pipe_windows *w = calloc(1, sizeof *w);
    if (!w)
        return no_memory(options);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->filled, NULL);
    pthread_cond_init(&w->freed, NULL);
    w->wake[0] = w->wake[1] = -1;
    w->options = *options;
    w->from = *from;
    w->number = from->window;
    w->taken = from->taken;
    w->position = *from;
    w->window_samples = window_samples(options);
    struct error *e = allocate(w);
    if (!e && (from->samples > w->window_samples || from->taken > w->window_samples))
        e = error_new(ERROR_INPUT, "the checkpoint's place in the stream, sample %lld of a window "
                      "of %lld, is damaged", (long long)from->taken, (long long)w->window_samples);
    if (!e)
        e = start(w);
    if (e) {
        pipe_windows_close(w);
        return e;
    }
    *out = w;
    return NULL;
}

void pipe_windows_close(struct pipe_windows *windows)
{
    struct pipe_windows *const w = windows;
    if (!w)
        return;
    if (w->started) {
        pthread_mutex_lock(&w->mutex);
        w->stopping = true;
        pthread_cond_signal(&w->freed);
        pthread_mutex_unlock(&w->mutex);
        (void)!write(w->wake[1], "", 1);
        pthread_join(w->thread, NULL);
    }
    for (int i = 0; i < 2; i++)
        if (w->wake[i] >= 0)
            close(w->wake[i]);
    for (int i = 0; i < SLOTS; i++) {
        free(w->windows[i].ids);
        free(w->windows[i].counts);
        free(w->windows[i].hashes);
    }
    error_destroy(w->failure);
    pthread_cond_destroy(&w->freed);
    pthread_cond_destroy(&w->filled);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

/* ---- giving out: the consumer ---- */

enum found { WAIT, END, BATCH };

static struct window *window_at(struct pipe_windows *w, int64_t number)
{
    struct window *const window = &w->windows[number % SLOTS];
    return window->number == number ? window : NULL;
}

/* A global batch that may be given out has at least so many samples. */
static int64_t least(const struct pipe_windows *w)
{
    return w->options.drop_last ? w->options.global_batch : 1;
}

/* Whether anything comes behind the next `rows` of a window. */
static enum found look_behind(struct pipe_windows *w, const struct window *window, int64_t rows)
{
    if (window->filled - w->taken - rows >= least(w))
        return BATCH;
    const struct window *const next = window_at(w, w->number + 1);
    if (next && next->filled >= least(w))
        return BATCH;
    return w->ended ? END : WAIT;
}

/* What the run had of a window is given out only when it is known to be the same. */
static bool is_resumed(const struct pipe_windows *w)
{
    return w->number == w->from.window && w->from.samples;
}

/* The samples of the next global batch, if it is known which and whether they are the last. Leaves
 * the window where it is used up. */
static enum found find_batch(struct pipe_windows *w, struct pipe_take *take)
{
    const int64_t G = w->options.global_batch;
    struct window *window;
    while ((window = window_at(w, w->number))) {
        const int64_t left = window->filled - w->taken;
        if (!window->whole && (w->options.shuffle || left < G || is_resumed(w)))
            return WAIT;
        if (left >= least(w)) {
            take->rows = (int)(left < G ? left : G);
            const enum found behind = look_behind(w, window, take->rows);
            take->last = behind == END;
            return behind == WAIT ? WAIT : BATCH;
        }
        w->number++;
        w->taken = 0;
        pthread_cond_signal(&w->freed);
    }
    return w->ended ? END : WAIT;
}

/* A while, or until something changed. */
static void wait_a_while(struct pipe_windows *w)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(1e9 * look_every_s);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_cond_timedwait(&w->filled, &w->mutex, &until);
}

/* How long nothing has come, by the consumer's clock. */
struct silence {
    long long heard;
    double since_s, told_s;
};

/* An error where nothing has come for too long. */
static struct error *listen_to(struct pipe_windows *w, struct silence *silence)
{
    const struct pipe_windows_options *const o = &w->options;
    const long long heard = w->heard;
    const double now_s = clock_now_s();
    if (heard != silence->heard) {
        silence->heard = heard;
        silence->since_s = now_s;
        if (o->hear && now_s >= silence->told_s + hear_every_s) {
            silence->told_s = now_s;
            o->hear(o->hear_self);
        }
    }
    if (o->silence_s <= 0 || now_s < silence->since_s + o->silence_s)
        return NULL;
    const bool standard_input = o->samples.path[0] == '-';
    return error_new(ERROR_IO, "%s%s has sent nothing for %.0f s, after %lld bytes, and the run "
                     "waits for it; look at what writes into it, and start the same command again "
                     "with the stream from its beginning. If it pauses for so long at times, raise "
                     "deadline.data",
                     standard_input ? "standard input" : "", o->samples.path + standard_input,
                     o->silence_s, heard);
}

/* Until find_batch knows; what it knows in spite of a failure is still given out. */
static struct error *wait_for_batch(struct pipe_windows *w, struct pipe_take *take,
                                    enum found *found)
{
    const double start_s = clock_now_s();
    struct silence silence = {.heard = w->heard, .since_s = start_s, .told_s = start_s};
    while ((*found = find_batch(w, take)) == WAIT && !w->failure) {
        if (w->options.stop_asked && w->options.stop_asked()) {
            take->stopped = true;
            return NULL;
        }
        TRY(listen_to(w, &silence));
        wait_a_while(w);
    }
    if (*found != WAIT)
        return NULL;
    struct error *const e = w->failure;
    w->failure = NULL;
    return e;
}

/* Copies the batch's samples, which stay where they are until the window is left. */
static void copy_batch(const struct pipe_windows *w, const struct window *window, int64_t samples,
                       int rows, int32_t *ids, int32_t *counts)
{
    const size_t places = (size_t)w->options.samples.T + 1;
    const struct order order = {.seed = w->options.seed, .shuffle = w->options.shuffle,
                                .samples = samples};
    for (int b = 0; b < rows; b++) {
        const int64_t at = order_sample(&order, window->number, w->taken + b);
        memcpy(ids + (size_t)b * places, window->ids + (size_t)at * places, places * sizeof *ids);
        counts[b] = window->counts[at];
    }
}

static struct pipe_position position_in(const struct pipe_windows *w, const struct window *window)
{
    const int64_t taken = w->taken;
    if (window->whole && taken == window->filled)
        return (struct pipe_position){.start = window->end, .window = window->number + 1};
    return (struct pipe_position){
        .start = window->start, .window = window->number, .taken = taken,
        .samples = window->whole ? window->filled : 0,
        .end_hash = window->whole ? window->end.hash
                                  : window->hashes[taken / w->options.global_batch - 1]};
}

struct error *pipe_windows_take(struct pipe_windows *windows, int32_t *ids, int32_t *counts,
                                struct pipe_take *take)
{
    struct pipe_windows *const w = windows;
    enum found found;
    const double start_s = clock_now_s();
    *take = (struct pipe_take){.rows = 0};
    pthread_mutex_lock(&w->mutex);
    struct error *e = wait_for_batch(w, take, &found);
    take->windows = w->are_windows;
    struct window *const window = window_at(w, w->number);
    /* To shuffle, a window is whole; else it may still be filled behind what is taken. */
    const int64_t samples = window ? window->filled : 0;
    pthread_mutex_unlock(&w->mutex);
    take->waited_s = clock_now_s() - start_s;
    if (e || found != BATCH) {
        take->rows = 0;
        return e;
    }
    copy_batch(w, window, samples, take->rows, ids, counts);
    pthread_mutex_lock(&w->mutex);
    w->taken += take->rows;
    w->position = position_in(w, window);
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

struct pipe_position pipe_windows_position(const struct pipe_windows *windows)
{
    return windows->position;
}
