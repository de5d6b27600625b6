/*
 * contrastive.c - fills rows with tokens that are probable and unlike what was said before.
 *
 * The k most probable tokens are tried, each on a branch of its own; the one with the largest
 *     (1 - alpha) * probability - alpha * (largest cosine between its hidden state and those before)
 * stays, and all branches continue from it. Source: Su et al. 2022, "A Contrastive Framework for
 * Neural Text Generation", section 4.2; hidden states are what the head reads, as in KerasHub.
 */
#include "generate/loop.h"
#include "generate/search.h"

#include <math.h>
#include <string.h>

struct contrast {
    int C;
    float *chances;           /* (width): the candidates' probabilities */
    int32_t *best;            /* (rows): the decoder's row that a row goes on from */
    int *from;                /* (width): the same of its branches */
    float *hidden;            /* (rows, length, C) of the positions so far */
    float *norms;             /* (rows, length) */
};

static void lay_out(void *search, const struct loop *loop, struct arena *arena)
{
    struct contrast *s = search;
    const size_t cells = (size_t)loop->g->rows * (size_t)loop->g->length;
    s->C = model_spec(loop->g->model)->C;
    s->chances = arena_take(arena, (size_t)loop->width * sizeof *s->chances);
    s->best = arena_take(arena, (size_t)loop->g->rows * sizeof *s->best);
    s->from = arena_take(arena, (size_t)loop->width * sizeof *s->from);
    s->hidden = arena_take(arena, cells * (size_t)s->C * sizeof *s->hidden);
    s->norms = arena_take(arena, cells * sizeof *s->norms);
}

static float dot(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return (float)sum;
}

/* Keeps the hidden state that row r goes on from, at one position. */
static struct error *keep(struct contrast *s, const struct loop *loop, int r, int position,
                          const float *hidden)
{
    const int64_t at = (int64_t)r * loop->g->length + position;
    const float *state = hidden + (int64_t)s->best[r] * s->C;
    memcpy(s->hidden + at * s->C, state, (size_t)s->C * sizeof *state);
    s->norms[at] = sqrtf(dot(state, state, s->C));
    return isfinite(s->norms[at]) ? NULL : loop_not_finite(position + 1);
}

/* The largest cosine between a state and those of row r before `position`. */
static float likeness(const struct contrast *s, const struct loop *loop, int r, int position,
                      const float *state)
{
    const int64_t start = (int64_t)r * loop->g->length;
    const float norm = sqrtf(dot(state, state, s->C));
    float largest = -1;
    for (int i = 0; i < position; i++) {
        const float *before = s->hidden + (start + i) * s->C;
        const float cosine = dot(before, state, s->C) / (s->norms[start + i] * norm);
        if (cosine > largest)
            largest = cosine;
    }
    return largest;
}

/* Puts all rows' candidates for `position` into the feed; a prompt's own token is the only
 * candidate. */
static struct error *propose(struct loop *loop, struct contrast *s, const int32_t *tokens,
                             int position)
{
    const struct generation *g = loop->g;
    const int k = loop->branches;
    const int32_t *candidates;
    const float *chances;
    TRY(loop_largest(loop, position, k, g->rows, s->best, NULL, &candidates, &chances));
    for (int b = 0; b < loop->width; b++) {
        const int r = b / k;
        const bool free = position >= g->prompt_lengths[r];
        loop->feed[b] = free ? candidates[b] : tokens[(int64_t)r * g->length + position];
        s->chances[b] = chances[b];
    }
    return NULL;
}

/* Which of row r's branches scores best: its decoder row. */
static int choose(const struct loop *loop, const struct contrast *s, const float *hidden, int r,
                  int position)
{
    const float alpha = (float)loop->g->sampler->alpha;
    const int first = r * loop->branches;
    int best = first;
    float best_score = -INFINITY;
    for (int b = first; b < first + loop->branches; b++) {
        const float score =
            (1 - alpha) * s->chances[b] -
            alpha * likeness(s, loop, r, position, hidden + (int64_t)b * s->C);
        if (score > best_score) {
            best_score = score;
            best = b;
        }
    }
    return best;
}

/* One position of every row. */
static struct error *step(struct loop *loop, struct contrast *s, int32_t *tokens, int position)
{
    const struct generation *g = loop->g;
    const float *hidden;
    TRY(propose(loop, s, tokens, position));
    TRY(loop_advance(loop));
    TRY(decoder_hidden(loop->decoder, &hidden));
    for (int r = 0; r < g->rows; r++) {
        const int best = choose(loop, s, hidden, r, position);
        tokens[(int64_t)r * g->length + position] = loop->feed[best];
        s->best[r] = best;
        TRY(keep(s, loop, r, position, hidden));
        for (int b = 0; b < loop->branches; b++)
            s->from[r * loop->branches + b] = best;
        if (g->on_token)
            g->on_token(g->self, r, position, loop->feed[best]);
    }
    return position + 1 < g->length ? decoder_reorder(loop->decoder, s->from) : NULL;
}

/* The prompts' common part: all branches get the same tokens. */
static struct error *read_prompts(struct loop *loop, struct contrast *s, const int32_t *tokens)
{
    const struct generation *g = loop->g;
    for (int r = 0; r < g->rows; r++)
        s->best[r] = r * loop->branches;
    for (int position = 1; position <= loop->first; position++) {
        for (int b = 0; b < loop->width; b++)
            loop->feed[b] = tokens[(int64_t)(b / loop->branches) * g->length + position - 1];
        TRY(loop_advance(loop));
        const float *hidden;
        TRY(decoder_hidden(loop->decoder, &hidden));
        for (int r = 0; r < g->rows; r++)
            TRY(keep(s, loop, r, position - 1, hidden));
    }
    return NULL;
}

static bool all_stopped(const struct loop *loop, const int32_t *tokens, int filled)
{
    const struct generation *g = loop->g;
    for (int r = 0; r < g->rows; r++)
        if (loop_row_end(loop, tokens + (int64_t)r * g->length, g->prompt_lengths[r], filled) >
            filled)
            return false;
    return g->stop_count > 0;
}

struct error *search_contrastive(const struct generation *g, int32_t *tokens, int *ends)
{
    struct loop loop;
    struct contrast s;
    const int V = model_spec(g->model)->V, ids = g->ids > 0 && g->ids < V ? g->ids : V;
    if (g->sampler->k > ids)
        return error_new(ERROR_USAGE, "contrastive's k is %d; there are only %d tokens to choose "
                         "from", g->sampler->k, ids);
    const int k = g->sampler->k;
    TRY(loop_begin(&loop, g, k, (int64_t)g->rows * k, lay_out, &s));
    struct error *e = loop.first < g->length ? read_prompts(&loop, &s, tokens) : NULL;
    int position = loop.first;
    for (; !e && position < g->length && !all_stopped(&loop, tokens, position); position++)
        e = step(&loop, &s, tokens, position);
    for (int r = 0; !e && ends && r < g->rows; r++)
        ends[r] = loop_row_end(&loop, tokens + (int64_t)r * g->length, g->prompt_lengths[r],
                               position);
    loop_end(&loop);
    return e;
}
