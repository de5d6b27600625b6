/* pipe_tokens.h - tokens that come through a pipe as tokens: with headers (token_header.h), or
 * bare. */
#ifndef GALLEY_DATA_PIPE_TOKENS_H
#define GALLEY_DATA_PIPE_TOKENS_H

#include "data/reader.h"

#include <stdbool.h>

#include <xxhash.h>

struct pipe_tokens;

/* The reader is its own from now on, also where opening fails. With headers, a file follows the
 * other, each with its own; without, all are uint16. Tokens must be under `vocabulary_size`. */
MUST_USE struct error *pipe_tokens_open(struct pipe_tokens **out, struct reader *reader,
                                        int64_t vocabulary_size, bool headers);
void pipe_tokens_close(struct pipe_tokens *tokens);

/* The next tokens; `*got` is less than `count` only at the end. */
MUST_USE struct error *pipe_tokens_read(struct pipe_tokens *tokens, int32_t *ids, int count,
                                        int *got);

/* Adds tokens that were read to a hash of all so far, and says how many bytes that were. Headers
 * are not counted, and every token as 4 bytes, so that it does not matter how the stream is cut
 * into files. */
int64_t pipe_tokens_hash(XXH3_state_t *hash, const int32_t *ids, int count);
/* Reads and hashes up to `bytes` of that kind; `*skipped` is 0 at the end. */
MUST_USE struct error *pipe_tokens_skip(struct pipe_tokens *tokens, XXH3_state_t *hash,
                                        int64_t bytes, int64_t *skipped);

#endif
