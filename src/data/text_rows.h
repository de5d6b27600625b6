/*
 * text_rows.h - one line of text as one row of a batch, as KerasHub's mini-GPT example makes it.
 *
 * One for each thread. Nothing is allocated after text_rows_create, unless the encoder meets a word
 * longer than any before.
 */
#ifndef GALLEY_DATA_TEXT_ROWS_H
#define GALLEY_DATA_TEXT_ROWS_H

#include "base/error.h"
#include "data/dataset.h"
#include "text/tokenizer.h"

#include <stddef.h>
#include <stdint.h>

/* One row of the arrays of a batch: T elements each. */
struct row {
    int32_t *tokens, *targets;
    uint8_t *key_mask, *loss_mask, *metric_mask;
};

struct text_rows;

/* Borrows both. A vocabulary without a start token is an error. */
MUST_USE struct error *text_rows_create(struct text_rows **out, const struct dataset *dataset,
                                        const struct tokenizer *tokenizer, int T);
void text_rows_destroy(struct text_rows *rows);

/*
 * labels = the first T ids of the sample, padded with 0; tokens = the start token and the first T-1
 * labels; targets = labels; loss_mask and key_mask = tokens != 0; metric_mask = targets != 0.
 */
MUST_USE struct error *text_rows_fill(struct text_rows *rows, int64_t sample,
                                      const struct row *row);

#endif
