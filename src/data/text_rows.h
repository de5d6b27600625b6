/*
 * text_rows.h - texts as samples: a line, or the field of a JSON object, a row. Two formats:
 *
 * As KerasHub's mini-GPT example makes it: labels = the first T ids of the text, padded with 0; tokens =
 * the start token and the first T-1 labels; targets = labels; loss_mask and key_mask = tokens != 0;
 * metric_mask = targets != 0. So 0 stands for padding and for nothing else.
 *
 * As KerasHub's CausalLMPreprocessor makes it: start token, ids, end token are packed into T+1 places,
 * the ids cut so that both find room, the rest is 0. tokens = the first T; targets = the last T;
 * key_mask = which of the first T are packed; loss_mask and metric_mask (KerasHub's sample weights) =
 * which of the last T are. So 0 may be a token.
 */
#ifndef GALLEY_DATA_TEXT_ROWS_H
#define GALLEY_DATA_TEXT_ROWS_H

#include "data/dataset.h"
#include "data/samples.h"
#include "text/tokenizer.h"

#include <stdbool.h>

enum text_format { TEXT_MINI_GPT, TEXT_CAUSAL_LM };

struct text_rows {
    const struct dataset *dataset;         /* borrowed, as is the tokenizer */
    const struct tokenizer *tokenizer;
    enum text_format format;
    bool add_start, add_end;    /* of TEXT_CAUSAL_LM; no end where the tokenizer has no end token */
};

/* Borrows `rows`. Opening a reader fails where the vocabulary lacks the start token. A reader allocates
 * nothing more, unless its encoder meets a word longer than any before. */
struct samples text_rows_samples(const struct text_rows *rows);

#endif
