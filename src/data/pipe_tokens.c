/* pipe_tokens.c - tokens that come through a pipe as tokens. */
#include "data/pipe_tokens.h"

#include "data/token_header.h"

#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 1 << 14 };    /* tokens */

/* How to mend what is not whole. */
#define SEND_AGAIN "send all of it again from its beginning, and look at what ended the writer"

struct pipe_tokens {
    struct reader *reader;
    int64_t vocabulary_size;
    bool headers;
    int width;
    int64_t left;     /* of the file that is read */
    int64_t place;    /* tokens read, of all files */
    char raw[AT_ONCE * 4];
};

struct error *pipe_tokens_open(struct pipe_tokens **out, struct reader *reader,
                               int64_t vocabulary_size, bool headers)
{
    struct pipe_tokens *t = calloc(1, sizeof *t);
    if (!t) {
        reader_close(reader);
        return error_new(ERROR_MEMORY, "no memory to read tokens (%zu bytes)", sizeof *t);
    }
    *t = (struct pipe_tokens){.reader = reader, .vocabulary_size = vocabulary_size,
                              .headers = headers, .width = 2, .left = headers ? 0 : INT64_MAX};
    *out = t;
    return NULL;
}

void pipe_tokens_close(struct pipe_tokens *tokens)
{
    if (!tokens)
        return;
    reader_close(tokens->reader);
    free(tokens);
}

/* The next file's; nothing at the end of the stream. */
static struct error *read_header(struct pipe_tokens *t, bool *more)
{
    const char *const name = reader_name(t->reader);
    struct token_header header;
    size_t got;
    TRY(reader_read(t->reader, t->raw, TOKEN_HEADER_BYTES, &got));
    *more = got > 0;
    if (!got)
        return NULL;
    if (!token_header_is_one(t->raw, got))
        return error_new(ERROR_INPUT, "%s has no header behind token %lld, where the file of "
                         "tokens before ends; send whole files with headers, one after the other",
                         name, (long long)t->place);
    TRY(token_header_parse(&header, t->raw, got, name));
    t->width = header.width;
    t->left = header.tokens;
    return NULL;
}

/* Widens the tokens in `raw`. */
static struct error *take(struct pipe_tokens *t, int32_t *ids, int count)
{
    for (int i = 0; i < count; i++) {
        uint32_t id;
        if (t->width == 2) {
            uint16_t narrow;
            memcpy(&narrow, t->raw + 2 * i, sizeof narrow);
            id = narrow;
        } else {
            memcpy(&id, t->raw + 4 * i, sizeof id);
        }
        if ((int64_t)id >= t->vocabulary_size)
            return error_new(ERROR_INPUT, "%s holds token %u at place %lld; the vocabulary has "
                             "only %lld entries, so it was made with another tokenizer, or is not "
                             "of tokens; give that tokenizer as tokenizer.vocabulary, or "
                             "send other data",
                             reader_name(t->reader), id, (long long)(t->place + i),
                             (long long)t->vocabulary_size);
        ids[i] = (int32_t)id;
    }
    return NULL;
}

/* Some of a file, at least one. */
static struct error *read_part(struct pipe_tokens *t, int32_t *ids, int count, int *got)
{
    const int64_t most = count < AT_ONCE ? count : AT_ONCE;
    const size_t want = (size_t)(most < t->left ? most : t->left) * (size_t)t->width;
    size_t bytes;
    TRY(reader_read(t->reader, t->raw, want, &bytes));
    if (bytes < want && t->headers)
        return error_new(ERROR_INPUT, "%s is truncated: it ends at token %lld, expected %lld more; "
                         SEND_AGAIN, reader_name(t->reader),
                         (long long)t->place + (long long)bytes / t->width,
                         (long long)t->left - (long long)bytes / t->width);
    if (bytes % (size_t)t->width)
        return error_new(ERROR_INPUT, "%s ends within a token, at byte %lld; " SEND_AGAIN,
                         reader_name(t->reader), (long long)t->place * t->width + (long long)bytes);
    *got = (int)(bytes / (size_t)t->width);
    TRY(take(t, ids, *got));
    t->place += *got;
    if (t->headers)
        t->left -= *got;
    return NULL;
}

struct error *pipe_tokens_read(struct pipe_tokens *tokens, int32_t *ids, int count, int *got)
{
    struct pipe_tokens *const t = tokens;
    bool more = true;
    int n = 1;
    *got = 0;
    while (*got < count && more && n) {
        if (t->left == 0) {
            TRY(read_header(t, &more));
            continue;
        }
        TRY(read_part(t, ids + *got, count - *got, &n));
        *got += n;
    }
    return NULL;
}

int64_t pipe_tokens_hash(XXH3_state_t *hash, const int32_t *ids, int count)
{
    const size_t bytes = (size_t)count * sizeof *ids;
    XXH3_64bits_update(hash, ids, bytes);
    return (int64_t)bytes;
}

struct error *pipe_tokens_skip(struct pipe_tokens *tokens, XXH3_state_t *hash, int64_t bytes,
                               int64_t *skipped)
{
    enum { PART = 4096 };
    int32_t ids[PART];
    const int64_t left = bytes / (int64_t)sizeof *ids;
    int got;
    TRY(pipe_tokens_read(tokens, ids, left < PART ? (int)left : PART, &got));
    *skipped = pipe_tokens_hash(hash, ids, got);
    return NULL;
}

