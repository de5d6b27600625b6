/* generate.c - fills rows of tokens, position after position, each row by draws of its own. */
#include "generate/generate.h"

#include "base/philox.h"
#include "generate/loop.h"
#include "generate/search.h"

struct draws {
    double *uniforms;      /* (rows) */
    int *ends;             /* (rows) */
};

static void lay_out(void *search, const struct loop *loop, struct arena *arena)
{
    struct draws *d = search;
    d->uniforms = arena_take(arena, (size_t)loop->g->rows * sizeof *d->uniforms);
    d->ends = arena_take(arena, (size_t)loop->g->rows * sizeof *d->ends);
}

/* An id for each row that is not in its prompt any more. */
static struct error *choose(struct loop *loop, struct draws *d, int position,
                            const int32_t **chosen)
{
    const struct generation *g = loop->g;
    struct decoder_draw how = {.ids = loop->ids, .temperature = (float)g->sampler->temperature,
                                 .uniforms = d->uniforms};
    sampler_cut(g->sampler, &how.most, &how.mass);
    for (int r = 0; r < g->rows; r++)
        d->uniforms[r] = position < g->prompt_lengths[r]
                             ? -1
                             : philox_uniform(g->sampler->seed, (uint64_t)(g->first_row + r),
                                              (uint64_t)position);
    TRY(decoder_draw(loop->decoder, &how, chosen));
    return loop_check(*chosen, g->rows, 1, position);
}

/* Writes what stands at `position` of those rows; how many have stopped so far. */
static int fill_position(struct loop *loop, struct draws *d, const int32_t *chosen, int32_t *tokens,
                         int position)
{
    const struct generation *g = loop->g;
    int stopped = 0;
    for (int r = 0; r < g->rows; r++) {
        int32_t *const row = tokens + (int64_t)r * g->length;
        if (position >= g->prompt_lengths[r]) {
            row[position] = chosen[r];
            if (d->ends[r] == g->length && loop_stops(loop, row[position]))
                d->ends[r] = position + 1;
        }
        stopped += d->ends[r] < g->length;
        if (g->on_token)
            g->on_token(g->self, r, position, row[position]);
    }
    return stopped;
}

static struct error *draw(const struct generation *g, int32_t *tokens, int *ends)
{
    struct loop loop;
    struct draws d;
    struct error *e = NULL;
    TRY(loop_begin(&loop, g, 1, 0, lay_out, &d));
    for (int r = 0; r < g->rows; r++)
        d.ends[r] = g->length;
    int stopped = 0;
    for (int position = 1; !e && position < g->length && stopped < g->rows; position++) {
        const int32_t *chosen;
        if ((e = loop_advance_tokens(&loop, tokens, position)) || position < loop.first)
            continue;
        if (!(e = choose(&loop, &d, position, &chosen)))
            stopped = fill_position(&loop, &d, chosen, tokens, position);
    }
    for (int r = 0; !e && ends && r < g->rows; r++)
        ends[r] = d.ends[r];
    loop_end(&loop);
    return e;
}

struct error *generate_tokens(const struct generation *generation, int32_t *tokens, int *ends,
                              double *scores)
{
    switch (generation->sampler->kind) {
    case SAMPLER_BEAM:
        return search_beams(generation, tokens, false, tokens, scores, ends);
    case SAMPLER_CONTRASTIVE:
        return search_contrastive(generation, tokens, ends);
    case SAMPLER_GREEDY:
    case SAMPLER_RANDOM:
    case SAMPLER_TOP_K:
    case SAMPLER_TOP_P:
        break;
    }
    return draw(generation, tokens, ends);
}

struct error *generate_beams(const struct generation *generation, const int32_t *prompts,
                             int32_t *tokens, int *ends, double *scores)
{
    if (generation->sampler->kind != SAMPLER_BEAM)
        BUG("all beams are wanted of %s", sampler_name(generation->sampler->kind));
    return search_beams(generation, prompts, true, tokens, scores, ends);
}
