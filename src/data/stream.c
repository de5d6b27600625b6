/*
 * stream.c - samples as prefetched micro-batches for one rank.
 *
 * Micro-batches are numbered from 0 at the place where the stream was opened. Threads claim the
 * next number each and fill slot number % slot_count, without the lock; the consumer takes them in
 * order of their numbers, whichever is ready first. A number may be claimed when its slot is free,
 * that is when the micro-batch slot_count before it was given back; so memory is bounded, and what
 * is read depends on nothing but the number.
 *
 * What the samples are is known to their sources alone (samples.h); each thread has a reader of
 * each.
 */
#include "data/stream.h"

#include "base/arena.h"
#include "base/clock.h"
#include "data/rows.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct slot {
    struct row rows;       /* its arrays, (B, T) */
    int64_t *samples;      /* (B) number of the one in each row, or -1 */
    int row_count;         /* rows with a sample; the others are padding */
    int64_t ready;         /* number of the micro-batch in it; -1: none, or being filled */
    struct error *error;   /* why there is none, if ready */
};

struct worker {
    struct stream *stream;
    void *readers[BLEND_SOURCES];
    pthread_t thread;
};

struct stream {
    /* Fixed while threads run. */
    struct stream_options options;
    const char *name;          /* of the data, for errors */
    int64_t samples;           /* of an epoch */
    bool has_padding, has_first_key, has_positions;
    int64_t steps_per_epoch;
    int64_t first_step;        /* of all epochs, counted from the start of epoch 0 */
    int64_t reads_per_step;
    int64_t rows_per_step;     /* of this rank */
    int64_t reads;             /* in all, INT64_MAX: without end */
    struct worker *workers;
    int worker_count;          /* threads running */
    struct slot *slots;
    int slot_count;
    void *memory;              /* of the slots' arrays */

    pthread_mutex_t mutex;     /* guards all below, and ready and error of the slots */
    pthread_cond_t filled, freed;
    int64_t claimed;           /* next number for a thread */
    bool stopping;

    /* The consumer's. */
    int64_t next;              /* number of the next read; guarded, for threads look at it */
    const struct slot *current;
    bool failed;
};

int64_t stream_steps_per_epoch(const struct stream_options *options)
{
    const int64_t samples = blend_samples(options->blend), G = options->global_batch;
    return options->drop_last ? samples / G : (samples + G - 1) / G;
}

/* ---- Filling: the threads ---- */

/* Where micro-batch `number` of this stream stands: its step of the run, and its first row's index
 * in the global batch. */
struct place {
    int64_t step, first_sample;
};

static struct place place_of(const struct stream *s, int64_t number)
{
    return (struct place){
        .step = s->first_step + number / s->reads_per_step,
        .first_sample = s->options.rank * s->rows_per_step +
                        number % s->reads_per_step * s->options.micro_batch,
    };
}

/* Rows from `b` on, at most BLEND_RANGE, from samples at `position` on. */
static struct error *fill_rows(const struct stream *s, struct worker *worker, struct slot *slot,
                               int b, int rows, int64_t epoch, int64_t position)
{
    struct blend_place places[BLEND_RANGE];
    const int64_t left = s->samples - position;
    const int live = left <= 0 ? 0 : left < rows ? (int)left : rows;
    blend_range(s->options.blend, epoch, position, live, places);
    for (int i = 0; i < rows; i++) {
        const struct row row = rows_at(&slot->rows, b + i, s->options.T);
        if (i >= live) {
            slot->samples[b + i] = -1;
            row_fill_padding(&row, s->options.T);
            continue;
        }
        const struct blend_place *const at = &places[i];
        slot->samples[b + i] = at->number;
        slot->row_count = b + i + 1;
        TRY(s->options.blend->sources[at->source].operations->read(worker->readers[at->source],
                                                                   at->sample, &row));
    }
    return NULL;
}

static struct error *fill_slot(const struct stream *s, struct worker *worker, struct slot *slot,
                               int64_t number)
{
    const struct stream_options *const o = &s->options;
    const struct place place = place_of(s, number);
    const int64_t epoch = place.step / s->steps_per_epoch;
    const int64_t first =
        place.step % s->steps_per_epoch * o->global_batch + place.first_sample;
    slot->row_count = 0;
    for (int b = 0; b < o->micro_batch; b += BLEND_RANGE) {
        const int left = o->micro_batch - b;
        TRY(fill_rows(s, worker, slot, b, left < BLEND_RANGE ? left : BLEND_RANGE, epoch,
                      first + b));
    }
    return NULL;
}

/* Waits for a free slot; false when the thread shall end. */
static bool claim(struct stream *s, int64_t *number)
{
    pthread_mutex_lock(&s->mutex);
    while (!s->stopping && s->claimed < s->reads && s->claimed >= s->next + s->slot_count)
        pthread_cond_wait(&s->freed, &s->mutex);
    const bool go = !s->stopping && s->claimed < s->reads;
    if (go)
        *number = s->claimed++;
    pthread_mutex_unlock(&s->mutex);
    return go;
}

static void *run_worker(void *argument)
{
    struct worker *const w = argument;
    struct stream *const s = w->stream;
    struct error *e = NULL;
    int64_t number;
    while (!e && claim(s, &number)) {
        struct slot *const slot = &s->slots[number % s->slot_count];
        e = fill_slot(s, w, slot, number);
        pthread_mutex_lock(&s->mutex);
        slot->error = e;
        slot->ready = number;
        pthread_cond_signal(&s->filled);
        pthread_mutex_unlock(&s->mutex);
    }
    return NULL;
}

/* ---- Opening ---- */

static struct error *check_options(const struct stream_options *o)
{
    if (o->T < 1 || o->global_batch < 1 || o->micro_batch < 1 || o->world_size < 1 ||
        o->rank < 0 || o->rank >= o->world_size || o->threads < 1 || o->epochs < 0)
        BUG("stream options out of range");
    if (o->global_batch % o->world_size || o->global_batch / o->world_size % o->micro_batch)
        return error_new(ERROR_USAGE, "a global batch of %d samples cannot be cut into %d ranks "
                         "and micro-batches of %d", o->global_batch, o->world_size, o->micro_batch);
    if (o->prefetch < 2)
        return error_new(ERROR_USAGE, "data.prefetch is %d, expected at least 2", o->prefetch);
    if (!stream_steps_per_epoch(o))
        return error_new(ERROR_USAGE, "the %s data has %lld samples, fewer than one global batch "
                         "of %d, and data.drop_last leaves out short ones",
                         o->blend->sources[0].name, (long long)blend_samples(o->blend),
                         o->global_batch);
    return NULL;
}

static struct slot place_slot(const struct stream *s, struct arena *arena)
{
    const size_t B = (size_t)s->options.micro_batch, n = B * (size_t)s->options.T;
    return (struct slot){
        .rows = rows_take(arena, n, s->has_first_key, s->has_positions),
        .samples = arena_take(arena, B * sizeof(int64_t)),
        .ready = -1,
    };
}

static void place_slots(struct stream *s, struct arena *arena)
{
    for (int i = 0; i < s->slot_count; i++)
        s->slots[i] = place_slot(s, arena);
}

static void find_columns(struct stream *s)
{
    const struct blend *const blend = s->options.blend;
    for (int k = 0; k < blend->count; k++) {
        s->has_padding |= blend->sources[k].has_padding;
        s->has_first_key |= blend->sources[k].has_first_key;
        s->has_positions |= blend->sources[k].has_positions;
    }
}

/* The consumer keeps one while `prefetch` are made ahead. */
static int slots_of(const struct stream_options *options)
{
    return options->prefetch + 1;
}

size_t stream_bytes(const struct stream_options *options)
{
    struct stream s = {.options = *options};
    struct arena plan = {0};
    find_columns(&s);
    for (int i = 0; i < slots_of(options); i++)
        (void)place_slot(&s, &plan);
    return plan.used;
}

static struct error *allocate_slots(struct stream *s)
{
    struct arena plan = {0};
    s->slot_count = slots_of(&s->options);
    s->slots = calloc((size_t)s->slot_count, sizeof *s->slots);
    if (!s->slots)
        return error_new(ERROR_MEMORY, "no memory for %d prefetched micro-batches", s->slot_count);
    place_slots(s, &plan);
    s->memory = aligned_alloc(ARENA_ALIGNMENT, plan.used);
    if (!s->memory)
        return error_new(ERROR_MEMORY, "no memory for %d prefetched micro-batches (%zu bytes)",
                         s->slot_count, plan.used);
    memset(s->memory, 0, plan.used);    /* resident from the start */
    place_slots(s, &(struct arena){.base = s->memory, .capacity = plan.used});
    return NULL;
}

static struct error *make_workers(struct stream *s)
{
    const int count = s->options.threads;
    const struct blend *const blend = s->options.blend;
    s->workers = calloc((size_t)count, sizeof *s->workers);
    if (!s->workers)
        return error_new(ERROR_MEMORY, "no memory for %d data threads", count);
    for (int i = 0; i < count; i++) {
        s->workers[i].stream = s;
        for (int k = 0; k < blend->count; k++)
            TRY(blend->sources[k].operations->open_reader(&s->workers[i].readers[k],
                                                          blend->sources[k].self, s->options.T));
    }
    return NULL;
}

static struct error *start_workers(struct stream *s)
{
    const int count = s->options.threads;

    /* Signals asked of the process are for the main thread, whose waiting they shall interrupt. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    while (!failed && s->worker_count < count) {
        struct worker *const w = &s->workers[s->worker_count];
        failed = pthread_create(&w->thread, NULL, run_worker, w);
        s->worker_count += !failed;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return error_new(ERROR_MEMORY, "cannot start data thread %d of %d: %s",
                         s->worker_count + 1, count, strerror(failed));
    return NULL;
}

struct error *stream_open(struct stream **out, const struct stream_options *options,
                          int64_t epoch, int64_t step)
{
    TRY(check_options(options));
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory for the stream of %s data",
                         options->blend->sources[0].name);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->filled, NULL);
    pthread_cond_init(&s->freed, NULL);
    s->options = *options;
    s->name = options->blend->sources[0].name;
    s->samples = blend_samples(options->blend);
    find_columns(s);
    s->steps_per_epoch = stream_steps_per_epoch(options);
    s->first_step = epoch * s->steps_per_epoch + step;
    s->rows_per_step = options->global_batch / options->world_size;
    s->reads_per_step = s->rows_per_step / options->micro_batch;
    const int64_t steps = options->epochs * s->steps_per_epoch - s->first_step;
    s->reads = options->epochs == 0 ? INT64_MAX : steps > 0 ? steps * s->reads_per_step : 0;

    struct error *e;
    if ((e = allocate_slots(s)) || (e = make_workers(s)) || (e = start_workers(s))) {
        stream_close(s);
        return e;
    }
    *out = s;
    return NULL;
}

void stream_close(struct stream *stream)
{
    struct stream *const s = stream;
    if (!s)
        return;
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_cond_broadcast(&s->freed);
    pthread_mutex_unlock(&s->mutex);
    for (int i = 0; i < s->worker_count; i++)
        pthread_join(s->workers[i].thread, NULL);

    for (int i = 0; s->workers && i < s->options.threads; i++)
        for (int k = 0; k < s->options.blend->count; k++)
            s->options.blend->sources[k].operations->close_reader(s->workers[i].readers[k]);
    for (int i = 0; s->slots && i < s->slot_count; i++)
        error_destroy(s->slots[i].error);
    pthread_cond_destroy(&s->freed);
    pthread_cond_destroy(&s->filled);
    pthread_mutex_destroy(&s->mutex);
    free(s->workers);
    free(s->slots);
    free(s->memory);
    free(s);
}

/* ---- Reading: the consumer ---- */

/* Gives the micro-batch read last back and waits for the next; NULL after the last one. */
static struct slot *next_slot(struct stream *s, double *waited_s)
{
    pthread_mutex_lock(&s->mutex);
    if (s->current) {
        s->next++;
        s->current = NULL;
        pthread_cond_signal(&s->freed);
    }
    struct slot *slot = NULL;
    if (s->next < s->reads) {
        slot = &s->slots[s->next % s->slot_count];
        if (slot->ready != s->next) {
            const double start_s = clock_now_s();
            while (slot->ready != s->next)
                pthread_cond_wait(&s->filled, &s->mutex);
            *waited_s = clock_now_s() - start_s;
        }
    }
    pthread_mutex_unlock(&s->mutex);
    return slot;
}

struct error *stream_read(struct stream *stream, struct batch *batch, double *waited_s)
{
    struct stream *const s = stream;
    *waited_s = 0;
    if (s->failed)
        return error_new(ERROR_INPUT, "the stream of %s data ended with an error before",
                         s->name);
    struct slot *const slot = next_slot(s, waited_s);
    if (!slot) {
        *batch = (struct batch){.B = s->options.micro_batch, .T = s->options.T, .rows = -1};
        return NULL;
    }
    if (slot->error) {
        struct error *const e = slot->error;    /* its thread has ended, the slot is ours */
        slot->error = NULL;
        s->failed = true;
        return error_context(e, "reading the %s data", s->name);
    }
    s->current = slot;
    const struct place place = place_of(s, s->next);
    *batch = (struct batch){
        .B = s->options.micro_batch,
        .T = s->options.T,
        .rows = slot->row_count,
        .step = place.step,
        .first_sample = place.first_sample,
        .samples = slot->samples,
        .tokens = slot->rows.tokens,
        .targets = slot->rows.targets,
        .key_mask = s->has_padding ? slot->rows.key_mask : NULL,
        .loss_mask = slot->rows.loss_mask,
        .metric_mask = slot->rows.metric_mask,
        .first_key = slot->rows.first_key,
        .positions = slot->rows.positions,
    };
    return NULL;
}

int64_t stream_sample(const struct stream *stream, int row)
{
    if (!stream->current || row < 0 || row >= stream->options.micro_batch)
        BUG("row %d of a micro-batch of %d", row, stream->options.micro_batch);
    return stream->current->samples[row];
}
