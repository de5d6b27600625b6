/* generate.c - fills rows of tokens, position after position, each row by draws of its own. */
#include "generate/generate.h"

#include "generate/loop.h"
#include "generate/search.h"

/* What stands at `position` of the rows that are not in their prompt any more; how many have
 * stopped so far. */
static int fill_position(struct loop *loop, const float *logits, int32_t *tokens, int position,
                         int *ends)
{
    const struct generation *g = loop->g;
    int stopped = 0;
    for (int r = 0; r < g->rows; r++) {
        int32_t *const row = tokens + (int64_t)r * g->length;
        if (position >= g->prompt_lengths[r]) {
            sampler_distribution(g->sampler, logits + (int64_t)r * loop->V, loop->ids,
                                 loop->probabilities, loop->order);
            row[position] = sampler_draw(g->sampler, loop->probabilities, loop->ids,
                                         g->first_row + r, position);
            if (ends[r] == g->length && loop_stops(loop, row[position]))
                ends[r] = position + 1;
        }
        stopped += ends[r] < g->length;
        if (g->on_token)
            g->on_token(g->self, r, position, row[position]);
    }
    return stopped;
}

static void lay_out(void *search, const struct loop *loop, struct arena *arena)
{
    int **ends = search;
    *ends = arena_take(arena, (size_t)loop->g->rows * sizeof **ends);
}

static struct error *draw(const struct generation *g, int32_t *tokens, int *ends_out)
{
    struct loop loop;
    int *ends;
    struct error *e = NULL;
    TRY(loop_begin(&loop, g, 1, lay_out, &ends));
    for (int r = 0; r < g->rows; r++)
        ends[r] = g->length;
    int stopped = 0;
    for (int position = 1; !e && position < g->length && stopped < g->rows; position++) {
        const float *logits;
        e = loop_advance_tokens(&loop, tokens, position, &logits);
        if (!e && position >= loop.first)
            stopped = fill_position(&loop, logits, tokens, position, ends);
    }
    for (int r = 0; !e && ends_out && r < g->rows; r++)
        ends_out[r] = ends[r];
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
