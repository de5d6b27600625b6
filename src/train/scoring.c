/*
 * scoring.c - examples in rounds: read, cut into windows, sorted by length, computed in batches by
 * all ranks, added up, and told of in order. A round bounds what is kept in memory.
 */
#include "train/scoring.h"

#include "base/clock.h"
#include "base/log.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUND_BATCHES = 64,
    LENGTH_STEP = 8,        /* rows are as long as a multiple of it */
    LEAST_TOKENS = 1024,    /* a batch of fewer is not worth its own pass over the weights */
};

static const double report_every_s = 10;

/* A row: it reads ids[from] to ids[last - 1] and scores ids[next] to ids[last]. */
struct window {
    const int32_t *ids;
    int from, next, last;
    int64_t place;    /* of the first score in those of the round */
};

struct list {
    size_t count, capacity;
};

struct scorer {
    const struct scoring_options *options;
    bool zero_is_padding;
    double told_s;            /* when progress was last told */

    /* Of a round. */
    struct example *examples;
    struct list example_list;
    struct window *windows;
    struct list window_list;
    int64_t first;            /* number of its first example */
    int64_t scores;           /* tokens to be scored */
    double *results;          /* (2, scores): losses, correct; a rank's own, then everybody's */
    size_t results_capacity;

    /* Of a batch, (B * T) each. */
    int32_t *tokens, *places, *targets;
    uint8_t *key_mask, *correct;
    float *losses;
};

/* Room for one more item. */
static struct error *grow(void **items, struct list *list, size_t item_bytes)
{
    if (list->count < list->capacity)
        return NULL;
    const size_t capacity = list->capacity ? 2 * list->capacity : 1024;
    void *larger = realloc(*items, capacity * item_bytes);
    if (!larger)
        return error_new(ERROR_MEMORY, "no memory for %zu examples", capacity);
    *items = larger;
    list->capacity = capacity;
    return NULL;
}

/* ---- a round ---- */

static int scored_tokens(const struct example_sequence *s)
{
    return s->count > s->first ? s->count - s->first : 0;
}

/* The windows of a sequence; without `rolling` there is one. */
static struct error *add_windows(struct scorer *s, const struct example_sequence *sequence,
                                 bool rolling)
{
    const int T = s->options->T;
    for (int next = sequence->first, last; next < sequence->count; next = last + 1) {
        const int most = !rolling ? INT_MAX : next == sequence->first ? T : s->options->stride;
        last = sequence->count - next <= most ? sequence->count - 1 : next + most - 1;
        void *items = s->windows;
        TRY(grow(&items, &s->window_list, sizeof *s->windows));
        s->windows = items;
        s->windows[s->window_list.count++] = (struct window){
            .ids = sequence->ids, .from = last > T ? last - T : 0, .next = next, .last = last,
            .place = s->scores,
        };
        s->scores += last - next + 1;
    }
    return NULL;
}

static struct error *add_example(struct scorer *s, int64_t index, int64_t *tokens)
{
    const struct scoring_options *o = s->options;
    void *items = s->examples;
    TRY(grow(&items, &s->example_list, sizeof *s->examples));
    s->examples = items;
    struct example *example = &s->examples[s->example_list.count];
    TRY(examples_read(o->examples, index, example));
    s->example_list.count++;
    for (int i = 0; i < example->count; i++) {
        const struct example_sequence *sequence = &example->sequences[i];
        const bool rolling = examples_kind(o->examples) == EXAMPLES_TEXT;
        if (!rolling && scored_tokens(sequence) > o->T) {
            char where[512];
            examples_where(o->examples, index, where, sizeof where);
            return error_new(ERROR_INPUT, "%s: %d tokens have to be scored at once; the "
                             "context has %d",
                             where, scored_tokens(sequence), o->T);
        }
        TRY(add_windows(s, sequence, rolling));
        *tokens += sequence->count;
    }
    return NULL;
}

static void clear_round(struct scorer *s)
{
    for (size_t i = 0; i < s->example_list.count; i++)
        example_release(&s->examples[i]);
    s->first += (int64_t)s->example_list.count;
    s->example_list.count = s->window_list.count = 0;
    s->scores = 0;
}

static struct error *read_round(struct scorer *s)
{
    const struct scoring_options *o = s->options;
    const int64_t most = (int64_t)ROUND_BATCHES * o->B * o->T, count = examples_count(o->examples);
    int64_t tokens = 0;
    for (int64_t i = s->first; i < count && tokens < most; i++)
        TRY(add_example(s, i, &tokens));
    const size_t need = 2 * (size_t)s->scores;
    if (need > INT_MAX)
        return error_new(ERROR_INPUT, "an example of more than %d tokens cannot be scored",
                         INT_MAX / 2);
    if (need > s->results_capacity) {
        free(s->results);
        s->results = malloc(need * sizeof *s->results);
        s->results_capacity = s->results ? need : 0;
        if (!s->results)
            return error_new(ERROR_MEMORY, "no memory for %zu scores", need);
    }
    for (size_t i = 0; i < need; i++)
        s->results[i] = 0;
    return NULL;
}

/* ---- batches ---- */

static int window_length(const struct window *w)
{
    return w->last - w->from;
}

/* The longest first; no two are equal, so that every rank has the same order. */
static int compare_windows(const void *a, const void *b)
{
    const struct window *x = a, *y = b;
    const int difference = window_length(y) - window_length(x);
    return difference ? difference : x->place < y->place ? -1 : 1;
}

/* Row `b` of T tokens: what it reads, and what it is asked. */
static void fill_row(struct scorer *s, const struct window *w, int b, int T, int *questions)
{
    int32_t *tokens = s->tokens + (size_t)b * (size_t)T;
    uint8_t *mask = s->key_mask + (size_t)b * (size_t)T;
    for (int t = 0; t < T; t++) {
        tokens[t] = t < window_length(w) ? w->ids[w->from + t] : 0;
        mask[t] = t < window_length(w) && !(s->zero_is_padding && tokens[t] == 0);
    }
    for (int k = w->next; k <= w->last; k++, ++*questions) {
        s->places[*questions] = b * T + (k - 1 - w->from);
        s->targets[*questions] = w->ids[k];
    }
}

static struct error *compute_batch(struct scorer *s, const struct window *windows, int rows, int T)
{
    int questions = 0;
    for (int b = 0; b < rows; b++)
        fill_row(s, &windows[b], b, T, &questions);
    TRY(model_score(s->options->model, &(struct batch){
        .B = rows, .T = T, .rows = rows, .tokens = s->tokens, .key_mask = s->key_mask,
    }, &(struct model_questions){
        .losses = s->losses, .correct = s->correct, .places = s->places, .targets = s->targets,
        .count = questions,
    }));
    int i = 0;
    for (int b = 0; b < rows; b++)
        for (int64_t k = 0; k <= windows[b].last - windows[b].next; k++, i++) {
            s->results[windows[b].place + k] = (double)s->losses[i];
            s->results[s->scores + windows[b].place + k] = s->correct[i];
        }
    return NULL;
}

static void report_progress(struct scorer *s, size_t windows_done)
{
    if (!s->options->show_progress || clock_now_s() - s->told_s < report_every_s)
        return;
    s->told_s = clock_now_s();
    const double share = (double)windows_done / (double)s->window_list.count;
    const double done = (double)s->first + share * (double)s->example_list.count;
    const double count = (double)examples_count(s->options->examples);
    log_info("scored about %.0f %% of %.0f examples", 100 * done / count, count);
}

/*
 * How many of the windows, the longest first, make a batch of T tokens a row: as many as there is
 * room for, but none that would be padding to an eighth or more, where the batch is large enough
 * without it. With batches that are filled up a third of 300 last words' batches was padding.
 */
static size_t batch_rows(const struct scorer *s, const struct window *windows, size_t count, int T)
{
    const size_t room = (size_t)(s->options->B * (int64_t)s->options->T / T);
    size_t rows = 0;
    while (rows < count && rows < room &&
           ((int64_t)rows * T < LEAST_TOKENS || 8 * window_length(&windows[rows]) > 7 * T))
        rows++;
    return rows;
}

/* This rank's share of the round's batches. */
static struct error *compute_round(struct scorer *s)
{
    const struct scoring_options *o = s->options;
    const int world_size = comm_world_size(o->comm), rank = comm_rank(o->comm);
    const size_t count = s->window_list.count;
    if (count > 0)
        qsort(s->windows, count, sizeof *s->windows, compare_windows);
    int batch = 0;
    for (size_t first = 0; first < count; batch++) {
        const int length = window_length(&s->windows[first]);
        const int rounded = (length + LENGTH_STEP - 1) / LENGTH_STEP * LENGTH_STEP;
        const int T = rounded < o->T ? rounded : o->T;
        const size_t rows = batch_rows(s, &s->windows[first], count - first, T);
        if (batch % world_size == rank)
            TRY(compute_batch(s, &s->windows[first], (int)rows, T));
        first += rows;
        report_progress(s, first);
    }
    return NULL;
}

/* ---- all rounds ---- */

static struct error *tell_example(const struct scorer *s, size_t i, int64_t *place)
{
    const struct example *example = &s->examples[i];
    struct sequence_scores *scores = calloc((size_t)example->count, sizeof *scores);
    if (!scores)
        return error_new(ERROR_MEMORY, "no memory for %d scores", example->count);
    for (int k = 0; k < example->count; k++) {
        const struct example_sequence *sequence = &example->sequences[k];
        scores[k] = (struct sequence_scores){
            .losses = s->results + *place, .correct = s->results + s->scores + *place,
            .count = scored_tokens(sequence), .cut = sequence->count - 1 > s->options->T,
        };
        *place += scores[k].count;
    }
    struct error *e = s->options->scored(s->options->self, s->first + (int64_t)i, example, scores);
    free(scores);
    return e;
}

static struct error *score_round(struct scorer *s)
{
    /* What is wrong with an example is wrong on every rank: they agree, and one tells. */
    TRY(comm_agree(s->options->comm, read_round(s)));
    TRY(compute_round(s));
    if (s->scores > 0)
        TRY(comm_sum(s->options->comm, s->results, (int)(2 * s->scores)));
    int64_t place = 0;
    for (size_t i = 0; i < s->example_list.count; i++)
        TRY(tell_example(s, i, &place));
    clear_round(s);
    return NULL;
}

static struct error *create_buffers(struct scorer *s)
{
    const size_t N = (size_t)s->options->B * (size_t)s->options->T;
    s->tokens = malloc(N * sizeof *s->tokens);
    s->places = malloc(N * sizeof *s->places);
    s->targets = malloc(N * sizeof *s->targets);
    s->losses = malloc(N * sizeof *s->losses);
    s->key_mask = malloc(N);
    s->correct = malloc(N);
    return s->tokens && s->places && s->targets && s->losses && s->key_mask && s->correct
               ? NULL
               : error_new(ERROR_MEMORY, "no memory for a batch of %zu tokens", N);
}

struct error *score_examples(const struct scoring_options *options)
{
    struct scorer s = {
        .options = options,
        .zero_is_padding = model_spec(options->model)->family == MODEL_MINI_GPT,
        .told_s = clock_now_s(),
    };
    const int64_t count = examples_count(options->examples);
    struct error *e = create_buffers(&s);
    while (!e && s.first < count)
        e = score_round(&s);
    clear_round(&s);
    free(s.examples);
    free(s.windows);
    free(s.results);
    free(s.tokens);
    free(s.places);
    free(s.targets);
    free(s.losses);
    free(s.key_mask);
    free(s.correct);
    return e;
}
