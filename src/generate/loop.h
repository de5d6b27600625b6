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
    int ids;                 /* how many of the model's may be chosen */
    int branches, width;     /* rows of the decoder: rows * branches */
    int first;               /* first position that is generated in any row */
    int32_t *feed;           /* (width): what the decoder gets next */
    void *memory;
};

/* Takes what a search needs beside the loop; called twice, to measure and to place. May be NULL. */
typedef void loop_lay_out(void *search, const struct loop *loop, struct arena *arena);

/* All memory, zeroed, and the decoder, with room for `candidates` of loop_largest. */
MUST_USE struct error *loop_begin(struct loop *loop, const struct generation *g, int branches,
                                  int64_t candidates, loop_lay_out *lay_out, void *search);
void loop_end(struct loop *loop);

/* Appends `feed`: the next position's logits are there to choose from. */
MUST_USE struct error *loop_advance(struct loop *loop);
/* The same of column position - 1 of tokens (width, length). */
MUST_USE struct error *loop_advance_tokens(struct loop *loop, const int32_t *tokens, int position);
/* The error of a model whose output for a position means nothing. */
MUST_USE struct error *loop_not_finite(int position);
/* That error where one of `count` choices for `position`, `each` apart, is NOT_FINITE. */
MUST_USE struct error *loop_check(const int32_t *chosen, int count, int each, int position);
/* decoder_largest, checked: k candidates for `position` of each of `count` rows. */
MUST_USE struct error *loop_largest(struct loop *loop, int position, int k, int count,
                                    const int32_t *rows, const float *scores,
                                    const int32_t **chosen, const float **values);

/* Whether a token ends a row. */
bool loop_stops(const struct loop *loop, int32_t token);
/* The end of a row: behind its first generated stop token among the positions below `filled`; the
 * length if there is none. */
int loop_row_end(const struct loop *loop, const int32_t *row, int prompt_length, int filled);

#endif
