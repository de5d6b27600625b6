/*
 * source.c - text files as blocks of whole lines, checked to be text.
 *
 * A block is filled to block_bytes and cut after its last line feed; the rest, part of one line, is
 * carried to the next block. Where there is no line feed the block grows until there is one.
 */
#include "data/source.h"

#include "data/inputs.h"
#include "data/utf8.h"

#include <stdlib.h>
#include <string.h>

struct source {
    struct inputs inputs;
    size_t block_bytes;
    int64_t bytes_on_disk;     /* of all files */
    int64_t bytes_finished;    /* of the files before the current one */

    struct reader *reader;     /* of the current file; NULL before it is opened */
    struct file_facts facts;   /* of the last file opened */
    int file;
    int64_t offset;            /* of the next block in its file */
    int64_t line;              /* number of its first line */
    int64_t sequence;

    char *carry;               /* read, but part of the next block */
    size_t carry_bytes, carry_capacity;
};

struct error *source_open(struct source **out, const char *const *inputs, int input_count,
                          const char *name, size_t block_bytes)
{
    struct source *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory to read the %s data", name);
    struct error *e = inputs_expand(&s->inputs, inputs, input_count, name);
    if (e) {
        source_close(s);
        return e;
    }
    for (int i = 0; i < s->inputs.count; i++)
        s->bytes_on_disk += s->inputs.files[i].bytes;
    s->block_bytes = block_bytes ? block_bytes : 1;
    *out = s;
    return NULL;
}

void source_close(struct source *source)
{
    if (!source)
        return;
    reader_close(source->reader);
    inputs_release(&source->inputs);
    free(source->carry);
    free(source);
}

void source_block_release(struct source_block *block)
{
    free(block->text);
    *block = (struct source_block){0};
}

static struct error *reserve(char **buffer, size_t *capacity, size_t bytes, const char *path)
{
    if (bytes <= *capacity)
        return NULL;
    char *const grown = realloc(*buffer, bytes);
    if (!grown)
        return error_new(ERROR_MEMORY, "no memory for %zu bytes of one line of %s", bytes, path);
    *buffer = grown;
    *capacity = bytes;
    return NULL;
}

/* Fills `block` with whole lines, or with the end of the file, whose last line may lack its LF. The
 * start of the line after them becomes the carry. */
static struct error *fill(struct source *s, struct source_block *block)
{
    const char *const path = s->inputs.files[s->file].path;
    size_t used = s->carry_bytes;
    size_t want = s->block_bytes > used ? s->block_bytes : 2 * used;
    TRY(reserve(&block->text, &block->capacity, want, path));
    if (used)
        memcpy(block->text, s->carry, used);
    s->carry_bytes = 0;

    for (;;) {
        size_t got;
        TRY(reader_read(s->reader, block->text + used, want - used, &got));
        const char *const last = memrchr(block->text + used, '\n', got);
        used += got;
        if (used < want) {    /* the end of the file */
            block->bytes = used;
            return NULL;
        }
        if (last) {
            block->bytes = (size_t)(last + 1 - block->text);
            break;
        }
        want *= 2;
        TRY(reserve(&block->text, &block->capacity, want, path));
    }
    const size_t rest = used - block->bytes;
    TRY(reserve(&s->carry, &s->carry_capacity, rest, path));
    if (rest)
        memcpy(s->carry, block->text + block->bytes, rest);
    s->carry_bytes = rest;
    return NULL;
}

/* Checks that the block is text, and words what is not. */
static struct error *check(const struct source *s, const struct source_block *block)
{
    const size_t valid = utf8_valid_prefix(block->text, block->bytes);
    if (valid == block->bytes)
        return NULL;
    const char *const before = valid ? memrchr(block->text, '\n', valid) : NULL;
    const size_t line_start = before ? (size_t)(before + 1 - block->text) : 0;
    const char *const path = s->inputs.files[s->file].path;
    const long long line = block->first_line + count_line_feeds(block->text, valid);
    const long long byte = (long long)(valid - line_start) + 1;
    const unsigned found = (unsigned char)block->text[valid];
    if (found == 0)
        return error_new(ERROR_INPUT, "%s, line %lld, byte %lld: a NUL byte, so this is a binary "
                         "file; expected UTF-8 text", path, line, byte);
    return error_new(ERROR_INPUT, "%s, line %lld, byte %lld: invalid UTF-8 (byte 0x%02X); expected "
                     "UTF-8 text, to which iconv can convert other encodings", path, line, byte,
                     found);
}

static struct error *open_file(struct source *s)
{
    TRY(reader_open(&s->reader, s->inputs.files[s->file].path));
    s->facts = *reader_facts(s->reader);
    s->offset = 0;
    s->line = 1;
    return NULL;
}

static void close_file(struct source *s)
{
    s->bytes_finished += s->facts.bytes;
    reader_close(s->reader);
    s->reader = NULL;
    s->file++;
}

struct error *source_read(struct source *source, struct source_block *block)
{
    struct source *const s = source;
    block->bytes = 0;
    while (s->file < s->inputs.count) {
        if (!s->reader)
            TRY(open_file(s));
        TRY(fill(s, block));
        if (block->bytes)
            break;
        if (s->offset == 0)
            return error_new(ERROR_INPUT, "%s %s, expected text", s->inputs.files[s->file].path,
                             s->facts.bytes ? "holds nothing when unpacked" : "is empty");
        close_file(s);
    }
    if (!block->bytes)
        return NULL;

    block->sequence = s->sequence++;
    block->file = s->file;
    block->offset = s->offset;
    block->first_line = s->line;
    block->line_feeds = count_line_feeds(block->text, block->bytes);
    TRY(check(s, block));
    s->offset += (int64_t)block->bytes;
    s->line += block->line_feeds;
    return NULL;
}

int source_files(const struct source *source)
{
    return source->inputs.count;
}

const char *source_path(const struct source *source, int file)
{
    return source->inputs.files[file].path;
}

const struct file_facts *source_facts(const struct source *source)
{
    return &source->facts;
}

double source_progress(const struct source *source)
{
    const int64_t now = source->reader ? reader_consumed(source->reader) : 0;
    const double share = (double)(source->bytes_finished + now) / (double)source->bytes_on_disk;
    return share < 1 ? share : 1;    /* a file may have grown since */
}
