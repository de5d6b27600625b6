/* text_rows.c - the texts of a dataset as samples: one text a row. */
#include "data/text_rows.h"

#include <stdlib.h>

struct text_reader {
    const struct dataset *dataset;
    struct text_shape shape;
    struct encoder *encoder;
    char *scratch;
    int32_t *ids;    /* (T + 1) */
};

static void close_reader(void *self)
{
    struct text_reader *const r = self;
    if (!r)
        return;
    encoder_destroy(r->encoder);
    free(r->scratch);
    free(r->ids);
    free(r);
}

static struct error *allocate(struct text_reader *r, const struct text_rows *rows)
{
    const size_t scratch_bytes = dataset_scratch_bytes(r->dataset);
    const size_t id_bytes = ((size_t)r->shape.T + 1) * sizeof *r->ids;
    r->scratch = malloc(scratch_bytes);
    r->ids = malloc(id_bytes);
    if (!r->scratch || !r->ids)
        return error_new(ERROR_MEMORY, "no memory for the longest text of the %s data (%zu bytes)",
                         dataset_name(r->dataset), scratch_bytes + id_bytes);
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
    struct error *e = text_shape_of(&r->shape, rows->tokenizer, rows->format, rows->add_start,
                                    rows->add_end, T);
    if (!e)
        e = allocate(r, rows);
    if (e) {
        close_reader(r);
        return e;
    }
    *out = r;
    return NULL;
}

static struct error *read_sample(void *self, int64_t sample, const struct row *row)
{
    struct text_reader *const r = self;
    const char *text;
    size_t bytes;
    int count;
    TRY(dataset_sample(r->dataset, sample, r->scratch, &text, &bytes));
    TRY(text_encode(&r->shape, r->encoder, text, bytes, r->ids, &count));
    text_fill_row(&r->shape, r->ids, count, row);
    return NULL;
}

struct samples text_rows_samples(const struct text_rows *rows)
{
    static const struct samples_operations operations = {
        .open_reader = open_reader, .read = read_sample, .close_reader = close_reader,
    };
    return (struct samples){
        .operations = &operations, .self = rows, .name = dataset_name(rows->dataset),
        .count = dataset_samples(rows->dataset), .block = 1, .has_padding = true,
    };
}
