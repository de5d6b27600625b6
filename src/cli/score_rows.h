/* score_rows.h - what `galley score` writes: a JSON object an example, and one that sums them
 * up. */
#ifndef GALLEY_CLI_SCORE_ROWS_H
#define GALLEY_CLI_SCORE_ROWS_H

#include "train/scoring.h"

#include <stdio.h>

/* All zero but for what is given. */
struct score_rows {
    enum example_kind kind;
    const struct tokenizer *tokenizer;    /* for the bytes of text; NULL: they are not counted */
    FILE *out;                            /* NULL: nothing is written (ranks but the first) */

    int64_t examples, tokens;             /* tokens: that were scored */
    int64_t bytes;                        /* that those tokens decode to */
    int64_t cut;
    double loss;                          /* summed: of lambada, of last words */
    double correct, correct_normalised;   /* tokens of texts, else examples */
};

/* A scored_example; `self` is the struct above. */
struct error *score_rows_add(void *self, int64_t index, const struct example *example,
                             const struct sequence_scores *scores);
void score_rows_print_summary(const struct score_rows *rows, FILE *out);

#endif
