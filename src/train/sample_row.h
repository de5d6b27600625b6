/*
 * sample_row.h - a generated text as a JSON object: a row of samples.jsonl, a line of
 * `galley generate --json`.
 */
#ifndef GALLEY_TRAIN_SAMPLE_ROW_H
#define GALLEY_TRAIN_SAMPLE_ROW_H

#include "generate/generate.h"

#include <stdint.h>

struct sample_row {
    int64_t step;                    /* optimizer steps the model has done; -1: not known, left out */
    double epoch;                    /* NaN: not known, left out */
    const struct sampler *sampler;
    int64_t row;                     /* which of several texts of one prompt */
    int max_length;
    const char *prompt;              /* NULL: ids were given */
    const struct generated *written;
    bool ids;                        /* also the tokens */
};

/* {"step", "epoch", "sampler", the numbers it uses, "row", "max_length", "log_probability" of a
 * beam, "prompt", "text", and with ids "token_ids" and "padding_mask", of max_length numbers each}
 * on one line; for the caller to free. */
MUST_USE struct error *sample_row_json(const struct sample_row *row, char **json);

#endif
