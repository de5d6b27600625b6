/* text_rows.c - one line of text as one row of a batch. */
#include "data/text_rows.h"

#include <stdlib.h>
#include <string.h>

struct text_rows {
    const struct dataset *dataset;
    struct encoder *encoder;
    char *scratch;
    int32_t start_id;
    int T;
};

struct error *text_rows_create(struct text_rows **out, const struct dataset *dataset,
                               const struct tokenizer *tokenizer, int T)
{
    struct error *e;
    struct text_rows *r = calloc(1, sizeof *r);
    if (!r)
        return error_new(ERROR_MEMORY, "no memory to tokenize the %s data", dataset_name(dataset));
    r->dataset = dataset;
    r->start_id = tokenizer_start_id(tokenizer);
    r->T = T;
    if (r->start_id < 0) {
        e = error_new(ERROR_INPUT, "the vocabulary has no start token [BOS], with which every "
                      "sample begins");
        goto fail;
    }
    r->scratch = malloc(dataset_scratch_bytes(dataset));
    if (!r->scratch) {
        e = error_new(ERROR_MEMORY, "no memory for the longest line of the %s data (%zu bytes)",
                      dataset_name(dataset), dataset_scratch_bytes(dataset));
        goto fail;
    }
    if ((e = encoder_create(&r->encoder, tokenizer)))
        goto fail;
    *out = r;
    return NULL;

fail:
    text_rows_destroy(r);
    return e;
}

void text_rows_destroy(struct text_rows *rows)
{
    if (!rows)
        return;
    encoder_destroy(rows->encoder);
    free(rows->scratch);
    free(rows);
}

struct error *text_rows_fill(struct text_rows *rows, int64_t sample, const struct row *row)
{
    const char *text;
    size_t bytes;
    int count = 0;
    TRY(dataset_sample(rows->dataset, sample, rows->scratch, &text, &bytes));
    TRY(encoder_encode(rows->encoder, text, bytes, row->targets, rows->T, &count));

    const size_t T = (size_t)rows->T, ids = (size_t)count;
    memset(row->targets + ids, 0, (T - ids) * sizeof *row->targets);
    row->tokens[0] = rows->start_id;
    memcpy(row->tokens + 1, row->targets, (T - 1) * sizeof *row->tokens);
    for (size_t t = 0; t < T; t++) {
        row->key_mask[t] = row->loss_mask[t] = row->tokens[t] != 0;
        row->metric_mask[t] = row->targets[t] != 0;
    }
    return NULL;
}
