/*
 * pipe_samples.c - the samples that come through a pipe.
 *
 * Windows are cut from the tokens of one record after the other, until T + 1 are there. The last of
 * these is the first of the next window, and of the record read last; so where a window begins is
 * said by where that record does, and how many of its tokens come before.
 */
#include "data/pipe_samples.h"

#include "base/log.h"
#include "data/pipe_tokens.h"
#include "data/source.h"
#include "data/token_header.h"
#include "data/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <xxhash.h>

/* Small, so that what a slow writer has sent is soon a sample. */
enum { BLOCK_BYTES = 1 << 13 };

struct pipe_samples {
    struct pipe_samples_options options;
    char *name;                     /* of the stream, for errors */
    bool windows;
    XXH3_state_t *hash;             /* of the first cursor.bytes of the stream */
    struct pipe_cursor cursor;      /* of the next sample, but for the hash */
    bool ended;                     /* there is no next one; it would begin at `end` */
    struct pipe_cursor end;
    bool differs;                   /* from the stream that the run was trained on */

    /* Of text. */
    struct source *source;
    struct source_block block;
    size_t block_used;              /* of its bytes, with the current record */
    size_t record_bytes;            /* of the current one, with its separator; hashed when left */
    struct encoder *encoder;
    struct text_shape shape;        /* where a text is a sample */
    struct document_tokens documents;
    char *line;                     /* without its CRs */
    size_t line_capacity;

    struct pipe_tokens *tokens;     /* what came as tokens */

    /* Of windows: tokens read and not used. */
    int32_t *held;
    size_t held_count, held_capacity, held_used;
    int64_t record_tokens;          /* of the current record */
};

bool pipe_is_one(const char *input)
{
    struct stat facts;
    return input[0] == '-' ? !input[1] || input[1] == '.'
                           : !stat(input, &facts) && S_ISFIFO(facts.st_mode);
}

/* ---- records of text ---- */

/* The current record is done with. */
static void leave_record(struct pipe_samples *p)
{
    if (p->record_bytes == 0)    /* as before the first, when there is no block either */
        return;
    XXH3_64bits_update(p->hash, p->block.text + p->block_used - p->record_bytes, p->record_bytes);
    p->cursor.bytes += (int64_t)p->record_bytes;
    p->record_bytes = 0;
}

static struct error *reserve(void **buffer, size_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity)
        return NULL;
    void *const grown = realloc(*buffer, count * size);
    if (!grown)
        return error_new(ERROR_MEMORY, "no memory for %zu bytes of a document", count * size);
    *buffer = grown;
    *capacity = count;
    return NULL;
}

/* A line without its CRs. */
static struct error *strip_returns(struct pipe_samples *p, const char **text, size_t *bytes)
{
    size_t kept = 0;
    if (p->block.separator != '\n' || !memchr(*text, '\r', *bytes))
        return NULL;
    TRY(reserve((void **)&p->line, &p->line_capacity, *bytes, 1));
    for (size_t i = 0; i < *bytes; i++)
        if ((*text)[i] != '\r')
            p->line[kept++] = (*text)[i];
    *text = p->line;
    *bytes = kept;
    return NULL;
}

/* What the block has up to the next separator, and with it, is the current record; how many bytes
 * come before the separator. */
static size_t take_record(struct pipe_samples *p)
{
    const char *const at = p->block.text + p->block_used;
    const size_t left = p->block.bytes - p->block_used;
    const char *const stop = memchr(at, p->block.separator, left);
    p->record_bytes = stop ? (size_t)(stop - at) + 1 : left;
    p->block_used += p->record_bytes;
    return p->record_bytes - (stop != NULL);
}

/* The next record that is long enough; `*text` is NULL at the end. Valid until the next. */
static struct error *next_record(struct pipe_samples *p, const char **text, size_t *bytes)
{
    for (;;) {
        leave_record(p);
        if (p->block_used == p->block.bytes) {
            TRY(source_read(p->source, &p->block));
            p->block_used = 0;
        }
        *text = NULL;
        if (!p->block.bytes)
            return NULL;
        *text = p->block.text + p->block_used;
        *bytes = take_record(p);
        TRY(strip_returns(p, text, bytes));
        if ((int64_t)*bytes >= p->options.min_bytes)
            return NULL;
    }
}

/* ---- windows ---- */

/* The tokens of the next document behind those held; `*more` is false at the end. */
static struct error *hold_document(struct pipe_samples *p, bool *more)
{
    const char *text;
    size_t bytes;
    int count;
    TRY(next_record(p, &text, &bytes));
    *more = text != NULL;
    p->record_tokens = 0;
    if (!text)
        return NULL;
    if (bytes > INT32_MAX - 2)
        return error_new(ERROR_INPUT, "%s has a document of %zu bytes; at most 2 GB can be one",
                         p->name, bytes);
    const bool starts = p->documents.start >= 0, ends = p->documents.end >= 0;
    TRY(reserve((void **)&p->held, &p->held_capacity, p->held_count + bytes + 2, sizeof *p->held));
    int32_t *const to = p->held + p->held_count;
    TRY(encoder_encode(p->encoder, text, bytes, to + starts, (int)bytes + 1, &count));
    if (starts)
        to[0] = p->documents.start;
    if (ends)
        to[count] = p->documents.end;
    p->record_tokens = count + starts + ends;
    p->held_count += (size_t)p->record_tokens;
    return NULL;
}

static struct error *hold_tokens(struct pipe_samples *p, bool *more)
{
    const size_t want = (size_t)p->options.T + 1 - (p->held_count - p->held_used);
    int got;
    TRY(reserve((void **)&p->held, &p->held_capacity, p->held_count + want, sizeof *p->held));
    TRY(pipe_tokens_read(p->tokens, p->held + p->held_count, (int)want, &got));
    p->held_count += (size_t)got;
    *more = got > 0;
    return NULL;
}

static struct error *read_window(struct pipe_samples *p, int32_t *ids, int *count)
{
    const size_t T = (size_t)p->options.T;
    const struct pipe_cursor here = pipe_samples_cursor(p);
    bool more = true;
    while (p->held_count - p->held_used < T + 1 && more) {
        if (p->held_used) {
            memmove(p->held, p->held + p->held_used, (p->held_count - p->held_used) * sizeof *p->held);
            p->held_count -= p->held_used;
            p->held_used = 0;
        }
        TRY(p->tokens ? hold_tokens(p, &more) : hold_document(p, &more));
    }
    *count = -1;
    if (p->held_count - p->held_used < T + 1) {
        p->ended = true;
        p->end = here;
        return NULL;
    }
    memcpy(ids, p->held + p->held_used, (T + 1) * sizeof *ids);
    *count = (int)T + 1;
    p->held_used += T;
    if (p->tokens)    /* what comes as tokens has no records: each is its own place */
        p->cursor.bytes += pipe_tokens_hash(p->hash, ids, (int)T);
    else
        p->cursor.tokens = p->record_tokens - (int64_t)(p->held_count - p->held_used);
    return NULL;
}

/* ---- opening ---- */

static struct error *no_memory(const char *path)
{
    return error_new(ERROR_MEMORY, "no memory to read %s", path);
}

/* Text has no NUL, and is UTF-8 but for a character that is cut at the end. */
static bool is_text(const char *head, size_t bytes)
{
    enum { CUT = 3 };
    return !memchr(head, '\0', bytes) && utf8_valid_prefix(head, bytes) + CUT >= bytes;
}

static struct error *open_text(struct pipe_samples *p, struct reader *reader)
{
    const struct pipe_samples_options *const o = &p->options;
    TRY(source_open(&p->source, &(struct source_options){
        .reader = reader, .field = o->field, .name = "training", .block_bytes = BLOCK_BYTES}));
    TRY(encoder_create(&p->encoder, o->tokenizer));
    p->documents = document_tokens_of(o->tokenizer);
    p->windows = o->kind == CORPUS_TOKENS;
    if (!p->windows)
        return text_shape_of(&p->shape, o->tokenizer, o->format, o->add_start, o->add_end, o->T);
    if (p->documents.end < 0 && p->documents.start < 0)
        return error_new(ERROR_INPUT, "the vocabulary has no token to set documents apart: neither "
                         "<|endoftext|> nor [BOS]");
    return NULL;
}

static struct error *open_stream(struct pipe_samples *p)
{
    const struct pipe_samples_options *const o = &p->options;
    struct reader *reader;
    char head[READER_PEEK_BYTES];
    size_t bytes;
    TRY(reader_open_pipe(&reader, o->path, o->wake_fd, o->heard));
    struct error *e = NULL;
    if (!(p->name = strdup(reader_name(reader))))
        e = no_memory(o->path);
    if (!e)
        e = reader_peek(reader, head, TOKEN_HEADER_BYTES, &bytes);
    if (e) {
        reader_close(reader);
        return e;
    }
    const bool headers = token_header_is_one(head, bytes);
    const char *const nul = memchr(head, '\0', bytes);
    if (!headers && o->kind == CORPUS_AUTO && nul) {
        reader_close(reader);
        return error_new(ERROR_INPUT, "%s holds a NUL byte at byte %td, so it is no text, expected "
                         "UTF-8 text or tokens with a header; bare tokens (uint16) want "
                         "data.kind=tokens",
                         p->name, nul - head + 1);
    }
    if (o->kind == CORPUS_LINES || (!headers && (o->kind == CORPUS_AUTO || is_text(head, bytes))))
        return open_text(p, reader);
    p->windows = true;
    return pipe_tokens_open(&p->tokens, reader, o->vocabulary_size, headers);
}

/* ---- going on ---- */

static struct error *too_short(const struct pipe_samples *p, const struct pipe_cursor *to)
{
    return error_new(ERROR_INPUT, "%s ends after %lld bytes (unpacked); the run has used %lld, and "
                     "goes on behind them only. Send the stream again from its beginning, or "
                     "start another run",
                     p->name, (long long)p->cursor.bytes, (long long)to->bytes);
}

struct error *pipe_samples_differ(struct pipe_samples *samples, int64_t bytes)
{
    const bool told = samples->differs;
    samples->differs = true;
    if (samples->options.allow_changed) {
        if (!told)
            log_warning("%s is not what the run was trained on: its first %lld bytes (unpacked) "
                        "differ. As run.allow_changed_data is set, the run goes on with what "
                        "comes behind them",
                        samples->name, (long long)bytes);
        return NULL;
    }
    return error_new(ERROR_INPUT, "%s is not what the run was trained on: its first %lld bytes "
                     "(unpacked) differ. Send the same stream again from its beginning, choose "
                     "another run.folder, or set run.allow_changed_data to go on behind as many "
                     "bytes of this one", samples->name,
                     (long long)bytes);
}

/* Reads what was used, as the cursor counts it. */
static struct error *skip_bytes(struct pipe_samples *p, const struct pipe_cursor *to, bool *same)
{
    while (p->cursor.bytes < to->bytes) {
        int64_t n;
        if (p->tokens) {
            TRY(pipe_tokens_skip(p->tokens, p->hash, to->bytes - p->cursor.bytes, &n));
        } else {
            TRY(source_read(p->source, &p->block));
            const int64_t left = to->bytes - p->cursor.bytes;
            n = (int64_t)p->block.bytes < left ? (int64_t)p->block.bytes : left;
            XXH3_64bits_update(p->hash, p->block.text, (size_t)n);
            p->block_used = (size_t)n;
        }
        if (n == 0)
            return too_short(p, to);
        p->cursor.bytes += n;
    }
    *same = XXH3_64bits_digest(p->hash) == to->hash;
    return *same ? NULL : pipe_samples_differ(p, to->bytes);
}

/* Of a stream that is not the same, the place may be within a record: that one is left out. */
static void finish_record(struct pipe_samples *p)
{
    if (p->tokens || p->block_used == 0 || p->block.text[p->block_used - 1] == p->block.separator)
        return;
    (void)take_record(p);
    leave_record(p);
}

static struct error *skip(struct pipe_samples *p, const struct pipe_cursor *to)
{
    bool more = true, same = true;
    TRY(skip_bytes(p, to, &same));
    if (!same)
        finish_record(p);
    if (!same || !p->windows || p->tokens)
        return NULL;
    if (to->tokens)
        TRY(hold_document(p, &more));
    if (p->record_tokens < to->tokens)
        return too_short(p, to);
    p->held_used = (size_t)to->tokens;
    p->cursor.tokens = to->tokens;
    return NULL;
}

struct error *pipe_samples_open(struct pipe_samples **out,
                                const struct pipe_samples_options *options,
                                const struct pipe_cursor *from)
{
    struct pipe_samples *p = calloc(1, sizeof *p);
    if (!p)
        return no_memory(options->path);
    p->options = *options;
    p->hash = XXH3_createState();
    struct error *e = p->hash ? NULL : no_memory(options->path);
    if (!e) {
        XXH3_64bits_reset(p->hash);
        e = open_stream(p);
    }
    if (!e && (from->bytes || from->tokens))
        e = skip(p, from);
    if (e) {
        pipe_samples_close(p);
        return e;
    }
    *out = p;
    return NULL;
}

void pipe_samples_close(struct pipe_samples *samples)
{
    if (!samples)
        return;
    pipe_tokens_close(samples->tokens);
    source_close(samples->source);
    source_block_release(&samples->block);
    encoder_destroy(samples->encoder);
    XXH3_freeState(samples->hash);
    free(samples->held);
    free(samples->line);
    free(samples->name);
    free(samples);
}

bool pipe_samples_are_windows(const struct pipe_samples *samples)
{
    return samples->windows;
}

struct error *pipe_samples_read(struct pipe_samples *samples, int32_t *ids, int *count)
{
    struct pipe_samples *const p = samples;
    const char *text;
    size_t bytes;
    if (p->windows)
        return read_window(p, ids, count);
    const struct pipe_cursor here = pipe_samples_cursor(p);
    *count = -1;
    TRY(next_record(p, &text, &bytes));
    if (!text) {    /* records that were too short came behind it, but no sample */
        p->ended = true;
        p->end = here;
        return NULL;
    }
    TRY(text_encode(&p->shape, p->encoder, text, bytes, ids, count));
    leave_record(p);
    return NULL;
}

struct pipe_cursor pipe_samples_cursor(const struct pipe_samples *samples)
{
    if (samples->ended)
        return samples->end;
    struct pipe_cursor cursor = samples->cursor;
    cursor.hash = XXH3_64bits_digest(samples->hash);
    return cursor;
}
