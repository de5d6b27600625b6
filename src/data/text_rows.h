/* text_rows.h - the texts of a dataset as samples: a line, or the field of a JSON object, a row. */
#ifndef GALLEY_DATA_TEXT_ROWS_H
#define GALLEY_DATA_TEXT_ROWS_H

#include "data/dataset.h"
#include "data/rows.h"
#include "data/samples.h"
#include "text/tokenizer.h"

#include <stdbool.h>

struct text_rows {
    const struct dataset *dataset;         /* borrowed, as is the tokenizer */
    const struct tokenizer *tokenizer;
    enum text_format format;               /* see rows.h */
    bool add_start, add_end;    /* of TEXT_CAUSAL_LM; no end where the tokenizer has no end token */
};

/* Borrows `rows`. Opening a reader fails where the vocabulary lacks the start token. A reader
 * allocates nothing more, unless its encoder meets a word longer than any before. */
struct samples text_rows_samples(const struct text_rows *rows);

#endif
