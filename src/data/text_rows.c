/* text_rows.c - texts as samples: one text a row. */
#include "data/text_rows.h"

#include <stdlib.h>
#include <string.h>

struct text_reader {
    const struct dataset *dataset;
    struct encoder *encoder;
    char *scratch;
    int32_t start_id, end_id;    /* -1: the samples have none */
    int32_t *packed;             /* (T + 1), of TEXT_CAUSAL_LM */
    int T;
};

static void close_reader(void *self)
{
    struct text_reader *const r = self;
    if (!r)
        return;
    encoder_destroy(r->encoder);
    free(r->scratch);
    free(r->packed);
    free(r);
}

/* ---- Opening ---- */

static struct error *find_ends(struct text_reader *r, const struct text_rows *rows)
{
    const struct tokenizer *const t = rows->tokenizer;
    const bool example = rows->format == TEXT_MINI_GPT;
    r->start_id = example || rows->add_start ? tokenizer_start_id(t) : -1;
    r->end_id = !example && rows->add_end ? tokenizer_end_id(t) : -1;
    if ((example || rows->add_start) && r->start_id < 0)
        return error_new(ERROR_INPUT, "the vocabulary has no start token %s, with which every sample "
                         "begins", tokenizer_start_name(t));
    if (example && r->start_id == tokenizer_pad_id(t))
        return error_new(ERROR_INPUT, "the start token %s has the id %d, which stands for padding; the "
                         "vocabulary must have another entry first (galley vocab --end-token-last)",
                         tokenizer_start_name(t), (int)r->start_id);
    return NULL;
}

static struct error *allocate(struct text_reader *r, const struct text_rows *rows)
{
    const size_t scratch_bytes = dataset_scratch_bytes(r->dataset);
    const size_t packed_bytes = ((size_t)r->T + 1) * sizeof *r->packed;
    r->scratch = malloc(scratch_bytes);
    r->packed = malloc(packed_bytes);
    if (!r->scratch || !r->packed)
        return error_new(ERROR_MEMORY, "no memory for the longest text of the %s data (%zu bytes)",
                         dataset_name(r->dataset), scratch_bytes + packed_bytes);
    return encoder_create(&r->encoder, rows->tokenizer);
}

static struct error *open_reader(void **out, const void *self, int T)
{
    const struct text_rows *const rows = self;
    struct text_reader *r = calloc(1, sizeof *r);
    if (!r)
        return error_new(ERROR_MEMORY, "no memory to tokenize the %s data",
                         dataset_name(rows->dataset));
    r->dataset = rows->dataset;
    r->T = T;
    struct error *e = find_ends(r, rows);
    if (!e)
        e = allocate(r, rows);
    if (e) {
        close_reader(r);
        return e;
    }
    *out = r;
    return NULL;
}

/* ---- Reading ---- */

/* The first ids of a sample, at most `capacity`. */
static struct error *encode(struct text_reader *r, int64_t sample, int32_t *ids, int capacity,
                            int *count)
{
    const char *text;
    size_t bytes;
    TRY(dataset_sample(r->dataset, sample, r->scratch, &text, &bytes));
    return encoder_encode(r->encoder, text, bytes, ids, capacity, count);
}

static struct error *read_mini_gpt(void *self, int64_t sample, const struct row *row)
{
    struct text_reader *const r = self;
    int count = 0;
    TRY(encode(r, sample, row->targets, r->T, &count));

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

static struct error *read_causal_lm(void *self, int64_t sample, const struct row *row)
{
    struct text_reader *const r = self;
    const int starts = r->start_id >= 0, ends = r->end_id >= 0;
    int count = 0;
    TRY(encode(r, sample, r->packed + starts, r->T + 1 - starts - ends, &count));
    if (starts)
        r->packed[0] = r->start_id;
    count += starts;
    if (ends)
        r->packed[count++] = r->end_id;

    const size_t T = (size_t)r->T, packed = (size_t)count;
    memset(r->packed + packed, 0, (T + 1 - packed) * sizeof *r->packed);
    memcpy(row->tokens, r->packed, T * sizeof *row->tokens);
    memcpy(row->targets, r->packed + 1, T * sizeof *row->targets);
    for (size_t t = 0; t < T; t++) {
        row->key_mask[t] = t < packed;
        row->loss_mask[t] = row->metric_mask[t] = t + 1 < packed;
    }
    return NULL;
}

struct samples text_rows_samples(const struct text_rows *rows)
{
    static const struct samples_operations mini_gpt = {
        .open_reader = open_reader, .read = read_mini_gpt, .close_reader = close_reader,
    };
    static const struct samples_operations causal_lm = {
        .open_reader = open_reader, .read = read_causal_lm, .close_reader = close_reader,
    };
    return (struct samples){
        .operations = rows->format == TEXT_CAUSAL_LM ? &causal_lm : &mini_gpt, .self = rows,
        .name = dataset_name(rows->dataset), .count = dataset_samples(rows->dataset), .block = 1,
    };
}
