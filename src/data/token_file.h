/*
 * token_file.h - a file of tokens of any format people have, read at any place.
 *
 * Recognised by content: our own shards (formats/shard_file.h); .bin of llm.c and modded-nanogpt
 * (256 int32 with a magic number, then uint16 or uint32); Megatron's .bin with its .idx beside it
 * (either may be named); and nanoGPT's .bin, bare uint16 without a header.
 *
 * Immutable once open; any thread may read, each with a scratch of its own. A file that changes or
 * shrinks while it is used, a damaged shard, and a token that the vocabulary does not have are
 * errors that name the file.
 */
#ifndef GALLEY_DATA_TOKEN_FILE_H
#define GALLEY_DATA_TOKEN_FILE_H

#include "base/error.h"
#include "formats/shard_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct token_file;

/* Whether a file holds tokens and not text. Bare uint16 is only taken for tokens if its name ends
 * in .bin and its content cannot be text. */
MUST_USE struct error *token_file_is_one(const char *path, bool *tokens);

/* Tokens must be under `vocabulary_size`: a shard knows its largest, of other files places all over
 * are looked at, and the rest as it is read. A file of no known format is taken for bare uint16. */
MUST_USE struct error *token_file_open(struct token_file **out, const char *path,
                                       int64_t vocabulary_size);
/* NULL is fine. */
void token_file_close(struct token_file *file);

const char *token_file_path(const struct token_file *file);
const char *token_file_format(const struct token_file *file);    /* "llm.c, uint16" */
int64_t token_file_tokens(const struct token_file *file);
/* Of one of our shards; else NULL. */
struct shard *token_file_shard(const struct token_file *file);
/* Hash of its length, its header and samples of its content; of a shard: of all of it. */
MUST_USE struct error *token_file_fingerprint(const struct token_file *file, uint64_t *fingerprint);

/* Bytes that reading `count` tokens at a time needs. */
size_t token_file_scratch_bytes(int64_t count);
MUST_USE struct error *token_file_read(const struct token_file *file, int64_t first, int64_t count,
                                       int32_t *tokens, void *scratch);

#endif
