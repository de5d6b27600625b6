/* pipe_feed.c - a pipe that rank 0 reads, as the feed of all ranks. */
#include "train/pipe_feed.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

/* What rank 0 sends: a header, the number of ids of each sample, and the ids. */
struct header {
    struct pipe_take take;
    int64_t failed;
};

struct pipe_feed {
    struct pipe_feed_options options;
    struct pipe_windows *windows;        /* rank 0 only */
    bool began;                          /* the run has a step, now or before */
    struct text_shape shape;
    struct document_tokens documents;

    void *message;                       /* one block: */
    struct header *header;
    int32_t *counts, *ids;               /* (G), (G, T + 1) */
    size_t message_bytes;

    void *memory;
    struct row rows;                     /* (B, T) */
    int64_t step, reads;                 /* begun, in all of the run; of this step */
};

static void lay_out_message(struct pipe_feed *f, struct arena *arena)
{
    const size_t G = (size_t)f->options.windows.global_batch;
    const size_t places = (size_t)f->options.windows.samples.T + 1;
    f->header = arena_take(arena, sizeof *f->header);
    f->counts = arena_take(arena, G * sizeof *f->counts);
    f->ids = arena_take(arena, G * places * sizeof *f->ids);
}

static void lay_out_rows(struct pipe_feed *f, struct arena *arena)
{
    const size_t n = (size_t)f->options.micro_batch * (size_t)f->options.windows.samples.T;
    f->rows = rows_take(arena, n, f->options.mask_documents, f->options.restart_positions);
}

size_t pipe_feed_bytes(const struct pipe_feed_options *options)
{
    struct pipe_feed f = {.options = *options};
    struct arena plan = {0};
    lay_out_message(&f, &plan);
    lay_out_rows(&f, &plan);
    return plan.used + pipe_windows_bytes(&options->windows);
}

static struct error *allocate(struct pipe_feed *f)
{
    struct arena message = {0}, rows = {0};
    lay_out_message(f, &message);
    lay_out_rows(f, &rows);
    f->message_bytes = message.used;
    f->message = aligned_alloc(ARENA_ALIGNMENT, message.used);
    f->memory = aligned_alloc(ARENA_ALIGNMENT, rows.used);
    if (!f->message || !f->memory)
        return error_new(ERROR_MEMORY, "no memory for a global batch (%zu bytes)",
                         message.used + rows.used);
    memset(f->message, 0, message.used);    /* resident from the start */
    memset(f->memory, 0, rows.used);
    lay_out_message(f, &(struct arena){.base = f->message, .capacity = message.used});
    lay_out_rows(f, &(struct arena){.base = f->memory, .capacity = rows.used});
    return NULL;
}

/* Bytes come, if slowly: nobody shall take this rank for stuck. */
static void hear(void *self)
{
    const struct pipe_feed *const f = self;
    comm_begin_phase(f->options.comm, COMM_DATA);
}

struct error *pipe_feed_open(struct pipe_feed **out, const struct pipe_feed_options *options,
                             const struct pipe_position *from)
{
    const struct pipe_samples_options *const samples = &options->windows.samples;
    struct pipe_feed *f = calloc(1, sizeof *f);
    if (!f)
        return error_new(ERROR_MEMORY, "no memory for the pipe's feed (%zu bytes)", sizeof *f);
    f->options = *options;
    f->options.windows.hear = hear;
    f->options.windows.hear_self = f;
    f->documents = document_tokens_of(samples->tokenizer);
    f->step = options->first_step - 1;
    f->began = from->window > 0 || from->taken > 0;
    struct error *e = text_shape_of(&f->shape, samples->tokenizer, samples->format,
                                    samples->add_start, samples->add_end, samples->T);
    if (!e)
        e = allocate(f);
    if (!e && comm_rank(options->comm) == 0)
        e = pipe_windows_open(&f->windows, &f->options.windows, from);
    if (e) {
        pipe_feed_close(f);
        return e;
    }
    *out = f;
    return NULL;
}

void pipe_feed_close(struct pipe_feed *feed)
{
    if (!feed)
        return;
    pipe_windows_close(feed->windows);
    free(feed->message);
    free(feed->memory);
    free(feed);
}

/* ---- a step ---- */

/* Rank 0's part, before it sends. */
static struct error *take(struct pipe_feed *f, bool stop)
{
    struct pipe_take *const t = &f->header->take;
    if (stop) {
        *t = (struct pipe_take){.stopped = true};
        return NULL;
    }
    TRY(pipe_windows_take(f->windows, f->ids, f->counts, t));
    if (t->rows == 0 && !t->stopped && !f->began)
        return error_new(ERROR_INPUT, "the stream of training data ended without one sample of at "
                         "least %lld bytes, or one global batch where data.drop_last is set",
                         (long long)f->options.windows.samples.min_bytes);
    return NULL;
}

static struct error *begin_step(void *self, bool stop, struct feed_news *news)
{
    struct pipe_feed *const f = self;
    struct comm *const comm = f->options.comm;
    const double start_s = clock_now_s();
    struct error *e = f->windows ? take(f, stop) : NULL;
    f->header->failed = e != NULL;
    struct error *const sent = comm_broadcast(comm, f->message, f->message_bytes);
    if (sent) {
        error_destroy(e);
        return sent;
    }
    if (f->header->failed)
        return comm_agree(comm, e);

    const struct pipe_take *const t = &f->header->take;
    f->step++;
    f->reads = 0;
    f->began = true;
    news->last = t->last;
    news->step = t->stopped                                ? FEED_STOPPED
               : t->rows == 0                              ? FEED_NOTHING
               : t->rows == f->options.windows.global_batch ? FEED_WHOLE
                                                           : FEED_SHORT;
    news->waited_s = clock_now_s() - start_s;
    return NULL;
}

static void fill_row(const struct pipe_feed *f, int64_t sample, const struct row *row)
{
    const int T = f->options.windows.samples.T;
    const int32_t *const ids = f->ids + sample * (T + 1);
    if (sample >= f->header->take.rows) {
        row_fill_padding(row, T);
    } else if (f->header->take.windows) {
        window_fill_row(&f->documents, ids, T, row);
    } else {
        text_fill_row(&f->shape, ids, f->counts[sample], row);
    }
}

/* Texts are whole documents, and have no marks of any. */
static struct error *read_batch(void *self, struct batch *batch, double *waited_s)
{
    struct pipe_feed *const f = self;
    const struct pipe_feed_options *const o = &f->options;
    const int B = o->micro_batch, T = o->windows.samples.T;
    const int64_t share = o->windows.global_batch / comm_world_size(o->comm);
    const int64_t first = comm_rank(o->comm) * share + f->reads * B;
    const int64_t left = f->header->take.rows - first;
    const bool windows = f->header->take.windows;
    for (int b = 0; b < B; b++) {
        const struct row row = rows_at(&f->rows, b, T);
        fill_row(f, first + b, &row);
    }
    f->reads++;
    *waited_s = 0;
    *batch = (struct batch){
        .B = B, .T = T, .rows = left <= 0 ? 0 : left < B ? (int)left : B,
        .step = f->step, .first_sample = first,
        .tokens = f->rows.tokens, .targets = f->rows.targets,
        .key_mask = windows ? NULL : f->rows.key_mask,
        .loss_mask = f->rows.loss_mask, .metric_mask = f->rows.metric_mask,
        .first_key = windows ? f->rows.first_key : NULL,
        .positions = windows ? f->rows.positions : NULL,
    };
    return NULL;
}

struct feed pipe_feed_feed(struct pipe_feed *feed)
{
    return (struct feed){.self = feed, .begin_step = begin_step, .read = read_batch};
}

struct pipe_position pipe_feed_position(const struct pipe_feed *feed)
{
    return pipe_windows_position(feed->windows);
}
