/* text_rows.c - lines of text as samples: one line a row. */
#include "data/text_rows.h"

#include <stdlib.h>
#include <string.h>

struct text_reader {
    const struct dataset *dataset;
    struct encoder *encoder;
    char *scratch;
    int32_t start_id;
    int T;
};

static void close_reader(void *self)
{
    struct text_reader *const r = self;
    if (!r)
        return;
    encoder_destroy(r->encoder);
    free(r->scratch);
    free(r);
}

static struct error *open_reader(void **out, const void *self, int T)
{
    const struct text_rows *const rows = self;
    const struct dataset *const dataset = rows->dataset;
    struct error *e;
    struct text_reader *r = calloc(1, sizeof *r);
    if (!r)
        return error_new(ERROR_MEMORY, "no memory to tokenize the %s data", dataset_name(dataset));
    r->dataset = dataset;
    r->start_id = tokenizer_start_id(rows->tokenizer);
    r->T = T;
    if (r->start_id < 0) {
        e = error_new(ERROR_INPUT, "the vocabulary has no start token %s, with which every sample "
                      "begins", tokenizer_start_name(rows->tokenizer));
        goto fail;
    }
    if (r->start_id == tokenizer_pad_id(rows->tokenizer)) {
        e = error_new(ERROR_INPUT, "the start token %s has the id %d, which stands for padding; the "
                      "vocabulary must have another entry first (galley vocab --end-token-last)",
                      tokenizer_start_name(rows->tokenizer), (int)r->start_id);
        goto fail;
    }
    r->scratch = malloc(dataset_scratch_bytes(dataset));
    if (!r->scratch) {
        e = error_new(ERROR_MEMORY, "no memory for the longest line of the %s data (%zu bytes)",
                      dataset_name(dataset), dataset_scratch_bytes(dataset));
        goto fail;
    }
    if ((e = encoder_create(&r->encoder, rows->tokenizer)))
        goto fail;
    *out = r;
    return NULL;

fail:
    close_reader(r);
    return e;
}

static struct error *read_sample(void *self, int64_t sample, const struct row *row)
{
    struct text_reader *const r = self;
    const char *text;
    size_t bytes;
    int count = 0;
    TRY(dataset_sample(r->dataset, sample, r->scratch, &text, &bytes));
    TRY(encoder_encode(r->encoder, text, bytes, row->targets, r->T, &count));

    const size_t T = (size_t)r->T, ids = (size_t)count;
    memset(row->targets + ids, 0, (T - ids) * sizeof *row->targets);
    row->tokens[0] = r->start_id;
    memcpy(row->tokens + 1, row->targets, (T - 1) * sizeof *row->tokens);
    for (size_t t = 0; t < T; t++) {
        row->key_mask[t] = row->loss_mask[t] = row->tokens[t] != 0;
        row->metric_mask[t] = row->targets[t] != 0;
    }
    return NULL;
}

struct samples text_rows_samples(const struct text_rows *rows)
{
    static const struct samples_operations operations = {
        .open_reader = open_reader, .read = read_sample, .close_reader = close_reader,
    };
    return (struct samples){
        .operations = &operations, .self = rows, .name = dataset_name(rows->dataset),
        .count = dataset_samples(rows->dataset), .block = 1,
    };
}
