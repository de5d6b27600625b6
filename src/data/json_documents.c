/*
 * json_documents.c - the documents of a JSON file.
 *
 * The raw text stands in a buffer from the next object on. An object that is cut off by the end of
 * the buffer is read again after more has come, and the buffer doubles where it is full: so an
 * object is read less than three times its length, whatever that is.
 */
#include "data/json_documents.h"

#include "data/json_field.h"
#include "data/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct json_documents {
    struct reader *reader;
    const char *path, *field;
    enum json_layout layout;

    char *raw;
    size_t at, end, capacity;    /* what is not yet read is raw[at..end) */
    bool all_read;               /* the file has nothing more */
    bool may_be_empty;
    bool began, in_list, list_ended;
    bool wants_comma;            /* in a list, before the next object */
    int64_t line;                /* of raw[at], from 1 */
    int64_t column;              /* bytes of that line before raw[at] */
    int64_t objects;
};

static bool ends_in(const char *text, size_t bytes, const char *suffix)
{
    const size_t n = strlen(suffix);
    return bytes > n && !memcmp(text + bytes - n, suffix, n);
}

enum json_layout json_layout_of(const char *path)
{
    size_t bytes = strlen(path);
    if (ends_in(path, bytes, ".gz"))
        bytes -= 3;
    else if (ends_in(path, bytes, ".zst"))
        bytes -= 4;
    if (ends_in(path, bytes, ".jsonl") || ends_in(path, bytes, ".ndjson"))
        return JSON_LINES;
    return ends_in(path, bytes, ".json") ? JSON_VALUES : JSON_NONE;
}

struct error *json_documents_create(struct json_documents **out, struct reader *reader,
                                    const char *path, const char *field, enum json_layout layout,
                                    size_t piece_bytes, bool may_be_empty)
{
    struct json_documents *j = calloc(1, sizeof *j);
    char *raw = malloc(piece_bytes);
    if (!j || !raw) {
        free(j);
        free(raw);
        return error_new(ERROR_MEMORY, "no memory to read %s (%zu bytes)", path, piece_bytes);
    }
    *j = (struct json_documents){
        .reader = reader, .path = path, .field = field, .layout = layout, .raw = raw,
        .capacity = piece_bytes, .may_be_empty = may_be_empty, .line = 1,
    };
    *out = j;
    return NULL;
}

void json_documents_destroy(struct json_documents *documents)
{
    if (!documents)
        return;
    free(documents->raw);
    free(documents);
}

int64_t json_documents_line(const struct json_documents *documents)
{
    return documents->line;
}

/* ---- The buffer ---- */

/* Goes on by so many bytes, keeping count of lines. */
static void advance(struct json_documents *j, size_t bytes)
{
    const char *const from = j->raw + j->at;
    const char *const feed = bytes ? memrchr(from, '\n', bytes) : NULL;
    j->at += bytes;
    if (!feed) {
        j->column += (int64_t)bytes;
        return;
    }
    j->line += count_line_feeds(from, bytes);
    j->column = j->raw + j->at - (feed + 1);
}

/* More of the file behind what is not yet read. */
static struct error *read_more(struct json_documents *j)
{
    size_t got;
    memmove(j->raw, j->raw + j->at, j->end - j->at);
    j->end -= j->at;
    j->at = 0;
    if (j->end == j->capacity) {
        char *const grown = realloc(j->raw, 2 * j->capacity);
        if (!grown)
            return error_new(ERROR_MEMORY, "no memory for an object of more than %zu bytes in %s, "
                             "line %lld", j->capacity, j->path, (long long)j->line);
        j->raw = grown;
        j->capacity *= 2;
    }
    TRY(reader_read(j->reader, j->raw + j->end, j->capacity - j->end, &got));
    j->all_read = got < j->capacity - j->end;
    j->end += got;
    return NULL;
}

/* The error for what stands `bytes` behind raw[at]. */
static struct error *wrong(struct json_documents *j, size_t bytes, const char *expected)
{
    advance(j, bytes);
    const long long line = j->line, byte = j->column + 1;
    if (j->at == j->end)
        return error_new(ERROR_INPUT, "%s, line %lld, byte %lld: the file ends, "
                         "expected %s as JSON",
                         j->path, line, byte, expected);
    const unsigned char found = (unsigned char)j->raw[j->at];
    char shown[8];
    snprintf(shown, sizeof shown, found > 0x20 && found < 0x7F ? "'%c'" : "0x%02X", found);
    return error_new(ERROR_INPUT, "%s, line %lld, byte %lld: %s where JSON must have %s", j->path,
                     line, byte, shown, expected);
}

/* ---- Objects ---- */

/* The first byte that is not white space, or -1 at the end of the file. */
static struct error *next_byte(struct json_documents *j, int *byte)
{
    for (;;) {
        size_t n = j->at;
        while (n < j->end && (j->raw[n] == ' ' || j->raw[n] == '\t' || j->raw[n] == '\n' ||
                              j->raw[n] == '\r'))
            n++;
        advance(j, n - j->at);
        if (j->at < j->end) {
            *byte = (unsigned char)j->raw[j->at];
            return NULL;
        }
        *byte = -1;
        if (j->all_read)
            return NULL;
        TRY(read_more(j));
    }
}

/* Past brackets and commas to the next object; *more is false where there is none. */
static struct error *find_object(struct json_documents *j, bool *more)
{
    int byte;
    TRY(next_byte(j, &byte));
    if (!j->began && byte == '[' && j->layout == JSON_VALUES) {
        j->in_list = true;
        advance(j, 1);
        TRY(next_byte(j, &byte));
    }
    *more = byte >= 0;
    if (j->in_list && !j->list_ended) {
        if (byte == ']' && (j->wants_comma || !j->began)) {
            j->list_ended = true;
            advance(j, 1);
            TRY(next_byte(j, &byte));
        } else if (j->wants_comma) {
            if (byte != ',')
                return wrong(j, 0, "a comma or the end of the list");
            advance(j, 1);
            TRY(next_byte(j, &byte));
        }
    }
    j->began = true;
    *more = byte >= 0;
    if (j->list_ended && *more)
        return wrong(j, 0, "nothing after the list");
    if (j->in_list && !j->list_ended && !*more)
        return wrong(j, 0, "the end of the list");
    return NULL;
}

static struct error *check_found(const struct json_documents *j, const struct json_record *record)
{
    char names[256];
    const char *const text = j->raw + j->at;
    const size_t valid = utf8_valid_prefix(text, record->bytes);
    if (valid < record->bytes)
        return error_new(ERROR_INPUT, "%s, line %lld: invalid UTF-8 (byte 0x%02X); expected UTF-8 "
                         "text, to which iconv can convert other encodings", j->path,
                         (long long)(j->line + count_line_feeds(text, valid)),
                         (unsigned)(unsigned char)text[valid]);
    if (record->found)
        return NULL;
    json_list_fields(text, record->bytes, names, sizeof names);
    return error_new(ERROR_INPUT, "%s, line %lld: no field \"%s\"; the object has %s; name the one "
                     "that holds the text (data.field, --field)", j->path, (long long)j->line,
                     j->field, *names ? names : "none");
}

/* Appends the document of the object at raw[at]. */
static struct error *read_object(struct json_documents *j, char **text, size_t *capacity,
                                 size_t *bytes)
{
    struct json_record record;
    for (;;) {
        /* An object of JSON lines ends with its line, so that a mistake stays in it. */
        const char *const feed = j->layout == JSON_LINES
                               ? memchr(j->raw + j->at, '\n', j->end - j->at) : NULL;
        const size_t room = (feed ? (size_t)(feed - j->raw) : j->end) - j->at;
        const size_t need = *bytes + room + 1;
        if (need > *capacity) {
            char *const grown = realloc(*text, need);
            if (!grown)
                return error_new(ERROR_MEMORY, "no memory for a document of %s (%zu bytes)",
                                 j->path, need);
            *text = grown;
            *capacity = need;
        }
        const enum json_outcome outcome =
            json_read_field(j->raw + j->at, room, j->field, *text + *bytes, &record);
        if (outcome == JSON_WRONG)
            return wrong(j, record.bytes, record.expected);
        if (outcome == JSON_WHOLE)
            break;
        if (feed || j->all_read)
            return wrong(j, room, feed ? "the rest of the line's object" : "the rest of an object");
        TRY(read_more(j));
    }
    TRY(check_found(j, &record));
    advance(j, record.bytes);
    *bytes += record.text_bytes;
    (*text)[(*bytes)++] = '\0';
    j->objects++;
    j->wants_comma = j->in_list;
    return NULL;
}

/* Nothing but white space may stand between an object of JSON lines and the end of its line. */
static struct error *end_line(struct json_documents *j)
{
    for (;;) {
        size_t n = j->at;
        while (n < j->end && (j->raw[n] == ' ' || j->raw[n] == '\t' || j->raw[n] == '\r'))
            n++;
        advance(j, n - j->at);
        if (j->at < j->end)
            return j->raw[j->at] == '\n' ? NULL : wrong(j, 0, "the end of the line");
        if (j->all_read)
            return NULL;
        TRY(read_more(j));
    }
}

struct error *json_documents_read(struct json_documents *documents, char **text, size_t *capacity,
                                  size_t *bytes)
{
    struct json_documents *const j = documents;
    *bytes = 0;
    while (*bytes <= j->capacity / 2) {    /* so that it grows no longer than about what is read */
        bool more;
        TRY(find_object(j, &more));
        if (!more)
            break;
        TRY(read_object(j, text, capacity, bytes));
        if (j->layout == JSON_LINES)
            TRY(end_line(j));
    }
    if (!*bytes && !j->objects && !j->may_be_empty)
        return error_new(ERROR_INPUT, "%s has no object, expected objects with a field \"%s\"",
                         j->path, j->field);
    return NULL;
}
