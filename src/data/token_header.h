/*
 * token_header.h - the header of .bin files of llm.c and modded-nanogpt: 256 int32, the first three
 * of which are a magic number, a version and the number of tokens.
 */
#ifndef GALLEY_DATA_TOKEN_HEADER_H
#define GALLEY_DATA_TOKEN_HEADER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOKEN_HEADER_BYTES = 1024 };

struct token_header {
    const char *format;    /* "llm.c, uint16" */
    int width;             /* bytes of a token */
    int64_t tokens;
};

/* Whether these first bytes of a file are such a header's; fewer may be given. */
bool token_header_is_one(const void *head, size_t bytes);
/* Of a header with a magic number that is known; `path` is for errors. */
MUST_USE struct error *token_header_parse(struct token_header *out, const void *head, size_t bytes,
                                          const char *path);

#endif
