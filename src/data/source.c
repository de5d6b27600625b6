/*
 * source.c - text files as blocks of whole records, checked to be text.
 *
 * A block of lines is filled to block_bytes and cut after its last line feed; the rest, part of one
 * line, is carried to the next block. Where there is no line feed the block grows until there is
 * one.
 */
#include "data/source.h"

#include "data/inputs.h"
#include "data/json_documents.h"
#include "data/utf8.h"

#include <stdlib.h>
#include <string.h>

struct source {
    struct inputs inputs;
    char *field;
    size_t block_bytes;
    bool whole_files;
    int64_t from, to;          /* of the only file; to 0: all of it */
    int64_t bytes_on_disk;     /* of all files */
    int64_t bytes_finished;    /* of the files before the current one */

    struct reader *reader;     /* of the current file; NULL before it is opened */
    struct reader *given;      /* the only one, not begun */
    struct json_documents *json;    /* what reads it, where it is JSON */
    struct file_facts facts;   /* of the last file opened */
    int file;
    int64_t offset;            /* of the next block in its file */
    int64_t line;              /* number of its first line */
    int64_t sequence;

    char *carry;               /* read, but part of the next block */
    size_t carry_bytes, carry_capacity;
};

static struct error *list_inputs(struct source *s, const struct source_options *options)
{
    if (!options->reader)
        return inputs_expand(&s->inputs, options->inputs, options->input_count, options->name);
    s->inputs.files = calloc(1, sizeof *s->inputs.files);
    char *const path = strdup(reader_name(options->reader));
    if (!s->inputs.files || !path) {
        free(path);
        return error_new(ERROR_MEMORY, "no memory to read the %s data", options->name);
    }
    s->inputs.files[0] = (struct input){.path = path};
    s->inputs.count = 1;
    return NULL;
}

struct error *source_open(struct source **out, const struct source_options *options)
{
    struct error *e;
    struct source *s = calloc(1, sizeof *s);
    if (!s) {
        reader_close(options->reader);
        return error_new(ERROR_MEMORY, "no memory to read the %s data", options->name);
    }
    s->given = options->reader;
    s->block_bytes = options->block_bytes ? options->block_bytes : 1;
    s->whole_files = options->whole_files;
    s->from = options->from;
    s->to = options->to;
    s->field = strdup(options->field ? options->field : "text");
    if (!s->field) {
        e = error_new(ERROR_MEMORY, "no memory to read the %s data", options->name);
        goto fail;
    }
    if ((e = list_inputs(s, options)))
        goto fail;
    for (int i = 0; i < s->inputs.count; i++)
        s->bytes_on_disk += s->inputs.files[i].bytes;
    *out = s;
    return NULL;

fail:
    source_close(s);
    return e;
}

void source_close(struct source *source)
{
    if (!source)
        return;
    json_documents_destroy(source->json);
    reader_close(source->reader);
    reader_close(source->given);
    inputs_release(&source->inputs);
    free(source->field);
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
        const char *const last = s->whole_files ? NULL : memrchr(block->text + used, '\n', got);
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

/* The first byte at or behind `at` with which a line begins; the end of the file if there is
 * none. */
static struct error *find_line(const char *path, int64_t at, int64_t *line)
{
    enum { PIECE = 1 << 16 };
    char piece[PIECE];
    const char *feed = NULL;
    size_t got = PIECE;
    *line = at ? at - 1 : 0;
    if (!at)
        return NULL;
    struct reader *reader;
    TRY(reader_open_range(&reader, path, at - 1, INT64_MAX));
    struct error *e = NULL;
    while (!e && !feed && got == PIECE) {
        e = reader_read(reader, piece, PIECE, &got);
        feed = e ? NULL : memchr(piece, '\n', got);
        *line += e ? 0 : feed ? feed + 1 - piece : (int64_t)got;
    }
    reader_close(reader);
    return e;
}

/* The file's reader: of all of it, or of the lines that begin in the range. */
static struct error *open_reader(struct source *s, const char *path)
{
    int64_t first, end;
    if (s->given) {
        s->reader = s->given;
        s->given = NULL;
        return NULL;
    }
    if (!s->to)
        return reader_open(&s->reader, path);
    TRY(find_line(path, s->from, &first));
    TRY(find_line(path, s->to, &end));
    return reader_open_range(&s->reader, path, first, end);
}

static struct error *open_file(struct source *s)
{
    const char *const path = s->inputs.files[s->file].path;
    const enum json_layout layout = json_layout_of(path);
    TRY(open_reader(s, path));
    if (layout != JSON_NONE)
        TRY(json_documents_create(&s->json, s->reader, path, s->field, layout, s->block_bytes,
                                  s->to > 0));
    s->facts = *reader_facts(s->reader);
    s->offset = 0;
    s->line = 1;
    return NULL;
}

static void close_file(struct source *s)
{
    s->bytes_finished += s->facts.bytes;
    json_documents_destroy(s->json);
    s->json = NULL;
    reader_close(s->reader);
    s->reader = NULL;
    s->file++;
}

static struct error *read_block(struct source *s, struct source_block *block)
{
    block->bytes = 0;
    while (s->file < s->inputs.count) {
        if (!s->reader)
            TRY(open_file(s));
        TRY(s->json ? json_documents_read(s->json, &block->text, &block->capacity, &block->bytes)
                    : fill(s, block));
        if (block->bytes)
            break;
        if (s->offset == 0 && !s->to)    /* of a text file; JSON has told */
            return error_new(ERROR_INPUT, "%s %s, expected text", s->inputs.files[s->file].path,
                             s->facts.bytes ? "holds nothing when unpacked" : "is empty");
        close_file(s);
    }
    if (!block->bytes)
        return NULL;

    block->sequence = s->sequence++;
    block->file = s->file;
    block->offset = s->offset;
    block->separator = s->json || s->whole_files ? '\0' : '\n';
    block->first_line = s->line;
    if (s->json) {
        s->line = json_documents_line(s->json);
    } else {
        TRY(check(s, block));
        s->line += count_line_feeds(block->text, block->bytes);
    }
    s->offset += (int64_t)block->bytes;
    return NULL;
}

struct error *source_read(struct source *source, struct source_block *block)
{
    struct error *e = read_block(source, block);
    if (e && source->from)
        return error_context(e, "in the lines from byte %lld on, counted from there",
                             (long long)source->from);
    return e;
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
