/*
 * json_documents.h - the documents of a JSON file: the text of one field of each of its objects.
 *
 * A file of JSON lines holds one object a line; any other JSON file one list of objects, or objects
 * one after the other. Memory is that of the longest object, however many there are.
 */
#ifndef GALLEY_DATA_JSON_DOCUMENTS_H
#define GALLEY_DATA_JSON_DOCUMENTS_H

#include "base/error.h"
#include "data/reader.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_layout { JSON_NONE, JSON_LINES, JSON_VALUES };

/* What a file's name says: .jsonl or .ndjson, .json, each perhaps with .gz or .zst behind it, or
 * neither. */
enum json_layout json_layout_of(const char *path);

struct json_documents;

/* Reads from `reader` in pieces of about `piece_bytes`; all are borrowed. */
MUST_USE struct error *json_documents_create(struct json_documents **out, struct reader *reader,
                                             const char *path, const char *field,
                                             enum json_layout layout, size_t piece_bytes,
                                             bool may_be_empty);
void json_documents_destroy(struct json_documents *documents);

/*
 * The next documents, each ended by a NUL, to `*text`, which grows as needed; about a piece of
 * them, `*bytes` is 0 after the last. Errors name file, line and byte, what is there and what is
 * expected.
 */
MUST_USE struct error *json_documents_read(struct json_documents *documents, char **text,
                                           size_t *capacity, size_t *bytes);
/* The line of the file, from 1, in which the next object begins. */
int64_t json_documents_line(const struct json_documents *documents);

#endif
