/*
 * packed_tokens.h - token files as samples: windows of one long sequence, across documents.
 *
 * All files in order are one sequence. Sample i of T tokens is its tokens i T to i T + T: the first
 * T are the row's tokens, the last T its targets; so each token but the first is a target exactly
 * once an epoch, and what is left over at the end (less than T + 1 tokens) is not used. All masks
 * are 1.
 *
 * Where asked for, attention stays inside documents (first_key) and positions begin at 0 in each. A
 * document begins behind an end token, or at a start token, whichever the tokenizer has.
 */
#ifndef GALLEY_DATA_PACKED_TOKENS_H
#define GALLEY_DATA_PACKED_TOKENS_H

#include "data/inputs.h"
#include "data/samples.h"
#include "data/token_file.h"
#include "text/tokenizer.h"

struct packed_tokens;

struct packed_tokens_options {
    const struct inputs *inputs;           /* files, all of tokens */
    const char *name;                      /* "training" */
    const struct tokenizer *tokenizer;     /* shards of another one are refused; NULL: any are taken */
    int64_t vocabulary_size;               /* of the model: tokens are below it */
    int T;
    bool mask_documents;
    bool restart_positions;
};

MUST_USE struct error *packed_tokens_open(struct packed_tokens **out,
                                          const struct packed_tokens_options *options);
/* NULL is fine. */
void packed_tokens_close(struct packed_tokens *tokens);

/* Borrowed from it. */
struct samples packed_tokens_samples(const struct packed_tokens *tokens);
uint64_t packed_tokens_fingerprint(const struct packed_tokens *tokens);
int64_t packed_tokens_count(const struct packed_tokens *tokens);

/* Where a sample begins: its file and the place in it, from 0. */
void packed_tokens_where(const struct packed_tokens *tokens, int64_t sample, const char **path,
                         int64_t *place);

#endif
