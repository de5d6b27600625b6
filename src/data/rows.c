/* rows.c - the rows of a batch: their memory, and what ids become in them. */
#include "data/rows.h"

#include <string.h>

struct row rows_take(struct arena *arena, size_t n, bool has_first_key, bool has_positions)
{
    return (struct row){
        .tokens = arena_take(arena, n * sizeof(int32_t)),
        .targets = arena_take(arena, n * sizeof(int32_t)),
        .key_mask = arena_take(arena, n),
        .loss_mask = arena_take(arena, n),
        .metric_mask = arena_take(arena, n),
        .first_key = has_first_key ? arena_take(arena, n * sizeof(int32_t)) : NULL,
        .positions = has_positions ? arena_take(arena, n * sizeof(int32_t)) : NULL,
    };
}

struct row rows_at(const struct row *rows, int b, int T)
{
    const size_t at = (size_t)b * (size_t)T;
    return (struct row){
        .tokens = rows->tokens + at,
        .targets = rows->targets + at,
        .key_mask = rows->key_mask + at,
        .loss_mask = rows->loss_mask + at,
        .metric_mask = rows->metric_mask + at,
        .first_key = rows->first_key ? rows->first_key + at : NULL,
        .positions = rows->positions ? rows->positions + at : NULL,
    };
}

void row_fill_padding(const struct row *row, int T)
{
    const size_t n = (size_t)T;
    memset(row->tokens, 0, n * sizeof *row->tokens);
    memset(row->targets, 0, n * sizeof *row->targets);
    memset(row->key_mask, 0, n);
    memset(row->loss_mask, 0, n);
    memset(row->metric_mask, 0, n);
    if (row->first_key)
        memset(row->first_key, 0, n * sizeof *row->first_key);
    if (row->positions)
        memset(row->positions, 0, n * sizeof *row->positions);
}

/* ---- texts ---- */

struct error *text_shape_of(struct text_shape *out, const struct tokenizer *tokenizer,
                            enum text_format format, bool add_start, bool add_end, int T)
{
    const bool example = format == TEXT_MINI_GPT;
    const int32_t start_id = tokenizer_start_id(tokenizer);
    if ((example || add_start) && start_id < 0)
        return error_new(ERROR_INPUT, "the vocabulary has no start token %s, with which every "
                         "sample begins", tokenizer_start_name(tokenizer));
    if (example && start_id == tokenizer_pad_id(tokenizer))
        return error_new(ERROR_INPUT, "the start token %s has the id %d, which stands for padding; "
                         "the vocabulary must have another entry first (galley vocab "
                         "--end-token-last)",
                         tokenizer_start_name(tokenizer), (int)start_id);
    *out = (struct text_shape){
        .format = format, .T = T, .start_id = example || add_start ? start_id : -1,
        .end_id = !example && add_end ? tokenizer_end_id(tokenizer) : -1,
    };
    return NULL;
}

struct error *text_encode(const struct text_shape *shape, struct encoder *encoder,
                          const char *text, size_t bytes, int32_t *ids, int *count)
{
    const struct text_shape *const s = shape;
    if (s->format == TEXT_MINI_GPT)    /* the row itself says where the start token is */
        return encoder_encode(encoder, text, bytes, ids, s->T, count);
    const int starts = s->start_id >= 0, ends = s->end_id >= 0;
    TRY(encoder_encode(encoder, text, bytes, ids + starts, s->T + 1 - starts - ends, count));
    if (starts)
        ids[0] = s->start_id;
    *count += starts;
    if (ends)
        ids[(*count)++] = s->end_id;
    return NULL;
}

/* The ids in `places` places, the rest 0. */
static void fill(int32_t *to, size_t places, const int32_t *ids, size_t count)
{
    const size_t n = count < places ? count : places;
    memcpy(to, ids, n * sizeof *to);
    memset(to + n, 0, (places - n) * sizeof *to);
}

static void fill_mini_gpt(const struct text_shape *s, const int32_t *ids, size_t count,
                          const struct row *row)
{
    const size_t T = (size_t)s->T;
    fill(row->targets, T, ids, count);
    row->tokens[0] = s->start_id;
    memcpy(row->tokens + 1, row->targets, (T - 1) * sizeof *row->tokens);
    for (size_t t = 0; t < T; t++) {
        row->key_mask[t] = row->loss_mask[t] = row->tokens[t] != 0;
        row->metric_mask[t] = row->targets[t] != 0;
    }
}

static void fill_causal_lm(const struct text_shape *s, const int32_t *ids, size_t count,
                           const struct row *row)
{
    const size_t T = (size_t)s->T;
    fill(row->tokens, T, ids, count);
    fill(row->targets, T, ids + 1, count ? count - 1 : 0);
    for (size_t t = 0; t < T; t++) {
        row->key_mask[t] = t < count;
        row->loss_mask[t] = row->metric_mask[t] = t + 1 < count;
    }
}

void text_fill_row(const struct text_shape *shape, const int32_t *ids, int count,
                   const struct row *row)
{
    if (shape->format == TEXT_MINI_GPT)
        fill_mini_gpt(shape, ids, (size_t)count, row);
    else
        fill_causal_lm(shape, ids, (size_t)count, row);
}

/* ---- windows ---- */

struct document_tokens document_tokens_of(const struct tokenizer *tokenizer)
{
    struct document_tokens d = {.end = -1, .start = -1};
    if (tokenizer) {
        d.end = tokenizer_end_id(tokenizer);
        d.start = d.end < 0 ? tokenizer_start_id(tokenizer) : -1;
    }
    return d;
}

/* Where each position's document begins in the row, and each position in its document. */
static void mark_documents(const struct document_tokens *d, const int32_t *window, int T,
                           const struct row *row)
{
    int32_t begin = 0;
    for (int32_t t = 0; t < T; t++) {
        if (t > 0 && ((d->end >= 0 && window[t - 1] == d->end) ||
                      (d->start >= 0 && window[t] == d->start)))
            begin = t;
        if (row->first_key)
            row->first_key[t] = begin;
        if (row->positions)
            row->positions[t] = t - begin;
    }
}

void window_fill_row(const struct document_tokens *documents, const int32_t *window, int T,
                     const struct row *row)
{
    const size_t n = (size_t)T;
    memcpy(row->tokens, window, n * sizeof *row->tokens);
    memcpy(row->targets, window + 1, n * sizeof *row->targets);
    memset(row->key_mask, 1, n);
    memset(row->loss_mask, 1, n);
    memset(row->metric_mask, 1, n);
    if (row->first_key || row->positions)
        mark_documents(documents, window, T, row);
}
