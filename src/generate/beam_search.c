/*
 * beam_search.c - fills rows with their most probable texts, several at a time.
 *
 * After each step the beams that live on are gathered into the other of two buffers of tokens, and
 * the decoder's cache moves likewise. A beam that has stopped goes on like any other, as KerasHub's
 * do; the search ends when every beam of every row has stopped.
 */
#include "generate/beam.h"
#include "generate/loop.h"
#include "generate/search.h"

#include <string.h>

struct beams {
    struct beam *list, *next;     /* (width), (beams) */
    int *from;                    /* (width) */
    float *scores;                /* (width): the list's, for the device */
    int32_t *tokens, *gathered;   /* (width, length) */
};

static void lay_out(void *search, const struct loop *loop, struct arena *arena)
{
    struct beams *s = search;
    const size_t width = (size_t)loop->width, cells = width * (size_t)loop->g->length;
    s->list = arena_take(arena, width * sizeof *s->list);
    s->next = arena_take(arena, (size_t)loop->branches * sizeof *s->next);
    s->from = arena_take(arena, width * sizeof *s->from);
    s->scores = arena_take(arena, width * sizeof *s->scores);
    s->tokens = arena_take(arena, cells * sizeof *s->tokens);
    s->gathered = arena_take(arena, cells * sizeof *s->gathered);
}

/* Chooses the beams of row r that live on, of k candidates of each beam, and writes their tokens up
 * to `position`. */
static void choose_row(struct loop *loop, struct beams *s, const int32_t *chosen,
                       const float *scores, int k, int r, int position)
{
    const struct generation *g = loop->g;
    const int beams = loop->branches, first = r * beams;
    beam_step(chosen + (int64_t)first * k, scores + (int64_t)first * k, beams, k, s->next);

    for (int b = 0; b < beams; b++) {
        const int parent = first + s->next[b].from;
        int32_t *tokens = s->gathered + (int64_t)(first + b) * g->length;
        /* The whole row, since the rest of a longer prompt stands behind `position`. */
        memcpy(tokens, s->tokens + (int64_t)parent * g->length,
               (size_t)g->length * sizeof *tokens);
        if (position >= g->prompt_lengths[r])
            tokens[position] = s->next[b].token;
        s->from[first + b] = parent;
        s->list[first + b] = s->next[b];
    }
}

static struct error *choose(struct loop *loop, struct beams *s, int position)
{
    const int k = loop->branches < loop->ids ? loop->branches : loop->ids;
    const int32_t *chosen;
    const float *scores;
    for (int b = 0; b < loop->width; b++)
        s->scores[b] = s->list[b].score;
    TRY(loop_largest(loop, position, k, loop->width, NULL, s->scores, &chosen, &scores));
    for (int r = 0; r < loop->g->rows; r++)
        choose_row(loop, s, chosen, scores, k, r, position);
    return NULL;
}

static bool have_moved(const struct loop *loop, const struct beams *s)
{
    for (int r = 0; r < loop->width; r++)
        if (s->from[r] != r)
            return true;
    return false;
}

static int end_of(const struct loop *loop, const struct beams *s, int beam, int filled)
{
    return loop_row_end(loop, s->tokens + (int64_t)beam * loop->g->length,
                        loop->g->prompt_lengths[beam / loop->branches], filled);
}

static bool all_stopped(const struct loop *loop, const struct beams *s, int filled)
{
    for (int r = 0; r < loop->width; r++)
        if (end_of(loop, s, r, filled) > filled)
            return false;
    return loop->g->stop_count > 0;
}

/* `*filled`: the positions that were filled. */
static struct error *search(struct loop *loop, struct beams *s, const int32_t *prompts, int *filled)
{
    const struct generation *g = loop->g;
    const size_t row_bytes = (size_t)g->length * sizeof *prompts;
    for (int r = 0; r < loop->width; r++)
        memcpy(s->tokens + (int64_t)r * g->length,
               prompts + (int64_t)(r / loop->branches) * g->length, row_bytes);
    for (int r = 0; r < g->rows; r++)
        beam_start(s->list + r * loop->branches, loop->branches);

    *filled = g->length;
    for (int position = 1; position < g->length; position++) {
        if (position > loop->first && all_stopped(loop, s, position)) {
            *filled = position;
            return NULL;
        }
        TRY(loop_advance_tokens(loop, s->tokens, position));
        if (position < loop->first)
            continue;
        TRY(choose(loop, s, position));
        int32_t *const swap = s->tokens;
        s->tokens = s->gathered;
        s->gathered = swap;
        if (position + 1 < g->length && have_moved(loop, s))
            TRY(decoder_reorder(loop->decoder, s->from));
    }
    return NULL;
}

struct error *search_beams(const struct generation *g, const int32_t *prompts, bool all,
                           int32_t *tokens, double *scores, int *ends)
{
    struct loop loop;
    struct beams s;
    int filled;
    const int beams = g->sampler->beams;
    TRY(loop_begin(&loop, g, beams, (int64_t)g->rows * beams * beams, lay_out, &s));
    struct error *e = search(&loop, &s, prompts, &filled);
    const int step = all ? 1 : loop.branches;    /* the first beam of a row is the best */
    for (int b = 0, i = 0; !e && b < loop.width; b += step, i++) {
        memcpy(tokens + (int64_t)i * g->length, s.tokens + (int64_t)b * g->length,
               (size_t)g->length * sizeof *tokens);
        if (scores)
            scores[i] = (double)s.list[b].score;
        if (ends)
            ends[i] = end_of(&loop, &s, b, filled);
    }
    loop_end(&loop);
    return e;
}
