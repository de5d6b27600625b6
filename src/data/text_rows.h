/*
 * text_rows.h - lines of text as samples: one line a row, as KerasHub's mini-GPT example makes it.
 *
 * labels = the first T ids of the line, padded with 0; tokens = the start token and the first T-1
 * labels; targets = labels; loss_mask and key_mask = tokens != 0; metric_mask = targets != 0.
 */
#ifndef GALLEY_DATA_TEXT_ROWS_H
#define GALLEY_DATA_TEXT_ROWS_H

#include "data/dataset.h"
#include "data/samples.h"
#include "text/tokenizer.h"

/* Both borrowed. */
struct text_rows {
    const struct dataset *dataset;
    const struct tokenizer *tokenizer;
};

/* Borrows `rows`. Opening a reader fails where the vocabulary has no start token. A reader allocates
 * nothing more, unless its encoder meets a word longer than any before. */
struct samples text_rows_samples(const struct text_rows *rows);

#endif
