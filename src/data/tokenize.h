/*
 * tokenize.h - text into tokens, piece by piece, and pieces into shards.
 *
 * Two stages. Each piece of the input (pieces.h) is turned into tokens by all threads of a process
 * and kept in files (piece_files.h); when all are there, the tokens of all pieces in order are one
 * sequence, which is cut into shards of equal size. Both stages can be shared by processes in any
 * way: a piece depends on nothing but its input, a shard on nothing but the counts and the pieces,
 * so the shards are the same byte for byte.
 *
 * Each document is its tokens and the end token behind them, or, where the tokenizer has none (as
 * WordPiece), the start token before them. Documents go to the validation part by their hash.
 */
#ifndef GALLEY_DATA_TOKENIZE_H
#define GALLEY_DATA_TOKENIZE_H

#include "data/piece_files.h"
#include "data/pieces.h"
#include "formats/shard_file.h"
#include "text/tokenizer.h"

#include <stdatomic.h>

struct tokenize_options {
    const struct inputs *inputs;
    const char *field;                    /* of JSON; NULL: "text" */
    bool whole_files;                     /* a text file is one document; else each line is */
    int64_t min_bytes;                    /* shorter documents are left out */
    double validation_share;              /* of documents, 0 to 1 */
    const struct tokenizer *tokenizer;
    int threads;
    const char *folder;                   /* of the pieces' files */
    atomic_llong *text_bytes;             /* counts up as text is read, for progress; or NULL */
};

/* Bytes of a token in files and shards. */
int tokenize_width(const struct tokenizer *tokenizer);
/* A hash of all that decides what the shards hold: tokenizer, options, and the inputs, of which
 * `inputs` is the inputs_hash. */
uint64_t tokenize_key(const struct tokenize_options *options, int64_t shard_tokens,
                      uint64_t inputs);

MUST_USE struct error *tokenize_piece(const struct tokenize_options *options,
                                      const struct piece *piece, int number,
                                      struct piece_summary *summary);

/* All pieces' summaries, in order, make the shards of one part. */
struct shard_plan {
    const struct piece_summary *summaries;
    int pieces;
    enum part part;
    int64_t tokens;          /* of the part */
    int64_t shard_tokens;    /* of every shard but the last */
    int64_t shards;
};
struct shard_plan shard_plan_of(const struct piece_summary *summaries, int pieces, enum part part,
                                int64_t shard_tokens);
/* "train-00012.h5": the name of a shard of a part. */
void shard_file_name(char *out, size_t bytes, enum part part, int64_t shard);
/* Writes shard number `shard` into `output`, unless it is there already. */
MUST_USE struct error *shard_assemble(const struct shard_plan *plan, int64_t shard,
                                      const struct tokenize_options *options, uint64_t key,
                                      const char *output);

#endif
