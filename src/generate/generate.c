/*
 * generate.c - fills rows of tokens, position after position.
 *
 * The logits that follow position i - 1 decide what stands at position i. Beams are rows of the
 * decoder: beam b of row r is its row r * beams + b. After each step the beams' tokens are gathered
 * into the other of two buffers, and the decoder's cache moves likewise.
 */
#include "generate/generate.h"

#include "base/arena.h"
#include "generate/beam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct loop {
    const struct generation *g;
    struct decoder *decoder;
    int V, ids;              /* of a row of logits; those that may be chosen */
    int beams;               /* 1 but for beam search */
    int width;               /* rows of the decoder: rows * beams */
    int first;               /* first position that is generated in any row */

    int32_t *feed;           /* (width): what the decoder gets next */
    float *probabilities;    /* (beams, ids) */
    int *order;              /* (ids) */

    /* Beam search only. */
    struct beam *list, *next;     /* (width), (beams) */
    int *from;                    /* (width) */
    int32_t *tokens, *gathered;   /* (width, length) */

    void *memory;
};

static void lay_out(struct loop *loop, struct arena *arena)
{
    const size_t width = (size_t)loop->width, ids = (size_t)loop->ids;
    loop->feed = arena_take(arena, width * sizeof *loop->feed);
    loop->probabilities = arena_take(arena, (size_t)loop->beams * ids * sizeof(float));
    loop->order = arena_take(arena, ids * sizeof *loop->order);
    if (loop->g->sampler->kind != SAMPLER_BEAM)
        return;
    const size_t cells = width * (size_t)loop->g->length;
    loop->list = arena_take(arena, width * sizeof *loop->list);
    loop->next = arena_take(arena, (size_t)loop->beams * sizeof *loop->next);
    loop->from = arena_take(arena, width * sizeof *loop->from);
    loop->tokens = arena_take(arena, cells * sizeof *loop->tokens);
    loop->gathered = arena_take(arena, cells * sizeof *loop->gathered);
}

static void loop_end(struct loop *loop)
{
    decoder_destroy(loop->decoder);
    free(loop->memory);
}

static struct error *loop_begin(struct loop *loop, const struct generation *g)
{
    const struct model_spec *spec = model_spec(g->model);
    if (g->length > spec->positions)
        return error_new(ERROR_USAGE, "a text of %d tokens is longer than the model's %d positions",
                         g->length, spec->positions);
    TRY(sampler_check(g->sampler));

    *loop = (struct loop){.g = g, .V = spec->V, .first = g->length};
    loop->ids = g->ids > 0 && g->ids < spec->V ? g->ids : spec->V;
    loop->beams = g->sampler->kind == SAMPLER_BEAM ? g->sampler->beams : 1;
    loop->width = g->rows * loop->beams;
    for (int r = 0; r < g->rows; r++) {
        if (g->prompt_lengths[r] < 1 || g->prompt_lengths[r] > g->length)
            BUG("a prompt of %d tokens in a row of %d", g->prompt_lengths[r], g->length);
        if (g->prompt_lengths[r] < loop->first)
            loop->first = g->prompt_lengths[r];
    }

    struct arena arena = {0};
    lay_out(loop, &arena);
    loop->memory = aligned_alloc(ARENA_ALIGNMENT, arena.used);
    if (!loop->memory)
        return error_new(ERROR_MEMORY, "no memory to generate %d rows (%zu bytes)", loop->width,
                         arena.used);
    memset(loop->memory, 0, arena.used);
    arena = (struct arena){.base = loop->memory, .capacity = arena.used};
    lay_out(loop, &arena);

    struct error *e = decoder_create(&loop->decoder, g->model, loop->width, g->length);
    if (e) {
        loop_end(loop);
        return error_context(e, "preparing to generate %d rows", loop->width);
    }
    return NULL;
}

/* A model that diverged gives NaN; choosing by it would print nonsense as if it were text. */
static struct error *check_logits(const struct loop *loop, const float *logits, int position)
{
    for (int64_t i = 0; i < (int64_t)loop->width * loop->V; i++)
        if (!isfinite(logits[i]))
            return error_new(ERROR_INPUT, "the model's output for position %d is not finite: its "
                             "weights are damaged, or its training diverged", position);
    return NULL;
}

/* Gives the decoder the tokens (width, length) of position - 1; the logits that follow. */
static struct error *advance(struct loop *loop, const int32_t *tokens, int position,
                             const float **logits)
{
    for (int r = 0; r < loop->width; r++)
        loop->feed[r] = tokens[(int64_t)r * loop->g->length + position - 1];
    TRY(decoder_append(loop->decoder, loop->feed, logits));
    return position < loop->first ? NULL : check_logits(loop, *logits, position);
}

static struct error *fill_rows(struct loop *loop, int32_t *tokens)
{
    const struct generation *g = loop->g;
    for (int position = 1; position < g->length; position++) {
        const float *logits;
        TRY(advance(loop, tokens, position, &logits));
        for (int r = 0; r < g->rows; r++) {
            if (position < g->prompt_lengths[r])
                continue;
            sampler_distribution(g->sampler, logits + (int64_t)r * loop->V, loop->ids,
                                 loop->probabilities, loop->order);
            tokens[(int64_t)r * g->length + position] =
                sampler_draw(g->sampler, loop->probabilities, loop->ids, g->first_row + r,
                             position);
        }
    }
    return NULL;
}

/* Chooses the beams of row r that live on, and writes their tokens up to `position`. */
static void choose_beams(struct loop *loop, const float *logits, int r, int position)
{
    const struct generation *g = loop->g;
    const int beams = loop->beams, first = r * beams;
    for (int b = 0; b < beams; b++)
        sampler_distribution(g->sampler, logits + (int64_t)(first + b) * loop->V, loop->ids,
                             loop->probabilities + (int64_t)b * loop->ids, loop->order);
    beam_step(loop->list + first, loop->probabilities, beams, loop->ids, loop->next);

    for (int b = 0; b < beams; b++) {
        const int parent = first + loop->next[b].from;
        const int32_t *old = loop->tokens + (int64_t)parent * g->length;
        int32_t *tokens = loop->gathered + (int64_t)(first + b) * g->length;
        /* The whole row, since the rest of a longer prompt stands behind `position`. */
        memcpy(tokens, old, (size_t)g->length * sizeof *tokens);
        if (position >= g->prompt_lengths[r])
            tokens[position] = loop->next[b].token;
        loop->from[first + b] = parent;
        loop->list[first + b] = loop->next[b];
    }
}

static bool beams_moved(const struct loop *loop)
{
    for (int r = 0; r < loop->width; r++)
        if (loop->from[r] != r)
            return true;
    return false;
}

static struct error *search_beams(struct loop *loop, const int32_t *prompts)
{
    const struct generation *g = loop->g;
    const size_t row_bytes = (size_t)g->length * sizeof *prompts;
    for (int r = 0; r < loop->width; r++)
        memcpy(loop->tokens + (int64_t)r * g->length,
               prompts + (int64_t)(r / loop->beams) * g->length, row_bytes);
    for (int r = 0; r < g->rows; r++)
        beam_start(loop->list + r * loop->beams, loop->beams);

    for (int position = 1; position < g->length; position++) {
        const float *logits;
        TRY(advance(loop, loop->tokens, position, &logits));
        if (position < loop->first)
            continue;
        for (int r = 0; r < g->rows; r++)
            choose_beams(loop, logits, r, position);
        int32_t *const swap = loop->tokens;
        loop->tokens = loop->gathered;
        loop->gathered = swap;
        if (position + 1 < g->length && beams_moved(loop))
            TRY(decoder_reorder(loop->decoder, loop->from));
    }
    return NULL;
}

struct error *generate_tokens(const struct generation *generation, int32_t *tokens, double *scores)
{
    const struct generation *g = generation;
    struct loop loop;
    TRY(loop_begin(&loop, g));
    struct error *e;
    if (g->sampler->kind != SAMPLER_BEAM) {
        e = fill_rows(&loop, tokens);
    } else {
        e = search_beams(&loop, tokens);
        for (int r = 0; !e && r < g->rows; r++) {    /* the first beam is the best */
            const int64_t best = (int64_t)r * loop.beams;
            memcpy(tokens + (int64_t)r * g->length, loop.tokens + best * g->length,
                   (size_t)g->length * sizeof *tokens);
            if (scores)
                scores[r] = (double)loop.list[best].score;
        }
    }
    loop_end(&loop);
    return e;
}

struct error *generate_beams(const struct generation *generation, const int32_t *prompts,
                             int32_t *tokens, double *scores)
{
    if (generation->sampler->kind != SAMPLER_BEAM)
        BUG("all beams are wanted of %s", sampler_name(generation->sampler->kind));
    struct loop loop;
    TRY(loop_begin(&loop, generation));
    struct error *e = search_beams(&loop, prompts);
    if (!e) {
        memcpy(tokens, loop.tokens,
               (size_t)loop.width * (size_t)generation->length * sizeof *tokens);
        for (int r = 0; r < loop.width; r++)
            scores[r] = (double)loop.list[r].score;
    }
    loop_end(&loop);
    return e;
}
