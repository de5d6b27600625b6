/*
 * loop.h - what all ways to fill rows share: memory, the decoder, stop tokens; for src/generate
 * only.
 *
 * The logits that follow position i - 1 decide what stands at position i. A row of the generation
 * is `branches` rows of the decoder: 1 where tokens are drawn, beams or candidates in the searches.
 * Branch b of row r is decoder row r * branches + b.
 */
#ifndef GALLEY_GENERATE_LOOP_H
#define GALLEY_GENERATE_LOOP_H

#include "base/arena.h"
#include "generate/generate.h"

struct loop {
    const struct generation *g;
    struct decoder *decoder;
    int V, ids;              /* of a row of logits; those that may be chosen */
    int branches, width;     /* rows of the decoder: rows * branches */
    int first;               /* first position that is generated in any row */
    int32_t *feed;           /* (width): what the decoder gets next */
    float *probabilities;    /* (branches, ids) */
    int *order;              /* (ids): scratch of the sampler */
    void *memory;
};

/* Takes what a search needs beside the loop; called twice, to measure and to place. May be NULL. */
typedef void loop_lay_out(void *search, const struct loop *loop, struct arena *arena);

/* All memory, zeroed, and the decoder. */
MUST_USE struct error *loop_begin(struct loop *loop, const struct generation *g, int branches,
                                  loop_lay_out *lay_out, void *search);
void loop_end(struct loop *loop);

/* Appends `feed`, which stands at position - 1: the logits of `position`, (width, V). They are
 * checked from the first generated position on. */
MUST_USE struct error *loop_advance(struct loop *loop, int position, const float **logits);
/* The same of column position - 1 of tokens (width, length). */
MUST_USE struct error *loop_advance_tokens(struct loop *loop, const int32_t *tokens, int position,
                                           const float **logits);

/* Whether a token ends a row. */
bool loop_stops(const struct loop *loop, int32_t token);
/* The end of a row: behind its first generated stop token among the positions below `filled`; the
 * length if there is none. */
int loop_row_end(const struct loop *loop, const int32_t *row, int prompt_length, int filled);

#endif
