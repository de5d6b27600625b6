/*
 * sample_row.h - a generated text as a JSON object: a row of samples.jsonl, a line of
 * `galley generate --json`.
 */
#ifndef GALLEY_TRAIN_SAMPLE_ROW_H
#define GALLEY_TRAIN_SAMPLE_ROW_H

#include "generate/sampler.h"

#include <stdint.h>

struct sample_row {
    int64_t step;                    /* optimizer steps the model has done */
    double epoch;                    /* NaN: not known, left out */
    const struct sampler *sampler;
    int64_t row;                     /* which of several texts of one prompt */
    int max_length;
    const char *prompt, *text;
    double log_probability;          /* beam only */
};

/* {"step", "epoch", "sampler", the numbers it uses, "row", "max_length", "prompt", "text"} on one
 * line; for the caller to free. */
MUST_USE struct error *sample_row_json(const struct sample_row *row, char **json);

#endif
