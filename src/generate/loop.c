/* loop.c - memory, the decoder and stop tokens of a generation. */
#include "generate/loop.h"

#include <stdlib.h>
#include <string.h>

static void lay_out_all(struct loop *loop, loop_lay_out *lay_out, void *search, struct arena *arena)
{
    loop->feed = arena_take(arena, (size_t)loop->width * sizeof *loop->feed);
    if (lay_out)
        lay_out(search, loop, arena);
}

struct error *loop_begin(struct loop *loop, const struct generation *g, int branches,
                         int64_t candidates, loop_lay_out *lay_out, void *search)
{
    const struct model_spec *spec = model_spec(g->model);
    if (g->length > spec->positions)
        return error_new(ERROR_USAGE, "a text of %d tokens is longer than the model's %d positions",
                         g->length, spec->positions);
    TRY(sampler_check(g->sampler));

    *loop = (struct loop){.g = g, .branches = branches, .first = g->length};
    loop->ids = g->ids > 0 && g->ids < spec->V ? g->ids : spec->V;
    loop->width = g->rows * branches;
    for (int r = 0; r < g->rows; r++) {
        if (g->prompt_lengths[r] < 1 || g->prompt_lengths[r] > g->length)
            BUG("a prompt of %d tokens in a row of %d", g->prompt_lengths[r], g->length);
        if (g->prompt_lengths[r] < loop->first)
            loop->first = g->prompt_lengths[r];
    }

    struct arena arena = {0};
    lay_out_all(loop, lay_out, search, &arena);
    loop->memory = aligned_alloc(ARENA_ALIGNMENT, arena.used);
    if (!loop->memory)
        return error_new(ERROR_MEMORY, "no memory to generate %d rows (%zu bytes)", loop->width,
                         arena.used);
    memset(loop->memory, 0, arena.used);
    arena = (struct arena){.base = loop->memory, .capacity = arena.used};
    lay_out_all(loop, lay_out, search, &arena);

    struct error *e = decoder_create(&loop->decoder, g->model, loop->width, g->length, candidates);
    if (e) {
        loop_end(loop);
        return error_context(e, "preparing to generate %d rows", loop->width);
    }
    return NULL;
}

void loop_end(struct loop *loop)
{
    decoder_destroy(loop->decoder);
    free(loop->memory);
}

struct error *loop_advance(struct loop *loop)
{
    return decoder_append(loop->decoder, loop->feed);
}

struct error *loop_advance_tokens(struct loop *loop, const int32_t *tokens, int position)
{
    for (int r = 0; r < loop->width; r++)
        loop->feed[r] = tokens[(int64_t)r * loop->g->length + position - 1];
    return loop_advance(loop);
}

/* A model that diverged gives NaN; choosing by it would print nonsense as if it were text. */
struct error *loop_not_finite(int position)
{
    return error_new(ERROR_INPUT, "the model's output for position %d is not finite: its weights "
                     "are damaged, or its training diverged", position);
}

struct error *loop_check(const int32_t *chosen, int count, int each, int position)
{
    for (int i = 0; i < count; i++)
        if (chosen[(int64_t)i * each] == NOT_FINITE)
            return loop_not_finite(position);
    return NULL;
}

struct error *loop_largest(struct loop *loop, int position, int k, int count, const int32_t *rows,
                           const float *scores, const int32_t **chosen, const float **values)
{
    TRY(decoder_largest(loop->decoder, &(struct decoder_largest){
        .ids = loop->ids, .temperature = (float)loop->g->sampler->temperature, .k = k,
        .count = count, .rows = rows, .scores = scores}, chosen, values));
    return loop_check(*chosen, count, k, position);
}

bool loop_stops(const struct loop *loop, int32_t token)
{
    for (int i = 0; i < loop->g->stop_count; i++)
        if (loop->g->stop_ids[i] == token)
            return true;
    return false;
}

int loop_row_end(const struct loop *loop, const int32_t *row, int prompt_length, int filled)
{
    for (int i = prompt_length; i < filled; i++)
        if (loop_stops(loop, row[i]))
            return i + 1;
    return loop->g->length;
}
