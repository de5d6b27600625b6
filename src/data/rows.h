/*
 * rows.h - the rows of a batch: their memory, and what ids become in them.
 *
 * A row is a text, or a window of one long sequence of tokens. Texts come in two formats:
 *
 * As KerasHub's mini-GPT example makes it: labels = the first T ids of the text, padded with 0;
 * tokens = the start token and the first T-1 labels; targets = labels; loss_mask and key_mask =
 * tokens != 0; metric_mask = targets != 0. So 0 stands for padding and for nothing else.
 *
 * As KerasHub's CausalLMPreprocessor makes it: start token, ids, end token are packed into T+1
 * places, the ids cut so that both find room, the rest is 0. tokens = the first T; targets = the
 * last T; key_mask = which of the first T are packed; loss_mask and metric_mask (KerasHub's sample
 * weights) = which of the last T are. So 0 may be a token.
 *
 * Of a window of T+1 tokens the first T are the row's tokens, the last T its targets; all masks are
 * 1.
 *
 * Pure; any thread.
 */
#ifndef GALLEY_DATA_ROWS_H
#define GALLEY_DATA_ROWS_H

#include "base/arena.h"
#include "data/samples.h"
#include "text/tokenizer.h"

#include <stdbool.h>
#include <stdint.h>

/* The arrays of n elements of a batch's rows. */
struct row rows_take(struct arena *arena, size_t n, bool has_first_key, bool has_positions);
/* Row b of arrays of (B, T). */
struct row rows_at(const struct row *rows, int b, int T);
/* A row without a sample: token 0, masks 0. */
void row_fill_padding(const struct row *row, int T);

/* ---- texts ---- */

enum text_format { TEXT_MINI_GPT, TEXT_CAUSAL_LM };

struct text_shape {
    enum text_format format;
    int T;
    int32_t start_id, end_id;    /* -1: the samples have none */
};

/* `add_start` and `add_end` are of TEXT_CAUSAL_LM; there is no end where the tokenizer has no end
 * token. A vocabulary without the start token that samples begin with is an error. */
MUST_USE struct error *text_shape_of(struct text_shape *out, const struct tokenizer *tokenizer,
                                     enum text_format format, bool add_start, bool add_end, int T);
/* The ids of a text that its row needs, `*count` of them, in (T + 1) places. */
MUST_USE struct error *text_encode(const struct text_shape *shape, struct encoder *encoder,
                                   const char *text, size_t bytes, int32_t *ids, int *count);
void text_fill_row(const struct text_shape *shape, const int32_t *ids, int count,
                   const struct row *row);

/* ---- windows ---- */

/* The tokens that set documents apart: one behind each, or where there is none, one before. */
struct document_tokens {
    int32_t end, start;    /* -1: none */
};
/* Of no tokenizer: none. */
struct document_tokens document_tokens_of(const struct tokenizer *tokenizer);
/* `window` is (T + 1). Where the row has first_key and positions, they keep to the documents. */
void window_fill_row(const struct document_tokens *documents, const int32_t *window, int T,
                     const struct row *row);

#endif
