/*
 * json_field.h - the text of one field of a JSON object.
 *
 * A strict reader of RFC 8259 that looks at every byte of a record once and keeps nothing but the
 * text asked for. Pure; any thread. No library does it: they build a tree of every record, and
 * those at hand cut a string off at \u0000 without a word.
 */
#ifndef GALLEY_DATA_JSON_FIELD_H
#define GALLEY_DATA_JSON_FIELD_H

#include <stdbool.h>
#include <stddef.h>

enum json_outcome {
    JSON_WHOLE,     /* a whole object */
    JSON_CUT,       /* fine so far, but the text ends within the object */
    JSON_WRONG,     /* not JSON, or not what the field may hold */
};

struct json_record {
    size_t bytes;            /* of the object; of what was read where it is cut or wrong */
    bool found;              /* the field is there */
    size_t text_bytes;       /* of its text */
    const char *expected;    /* JSON_WRONG: what should have stood at `bytes` */
};

/*
 * Reads the object that begins at text[0], which must be valid UTF-8 or is refused as JSON
 * somewhere. `out`, of at least `bytes` bytes, gets the text of `field`, a member of the object
 * itself: a string; the strings of a list, joined; or nothing where it is null. Of several members
 * of that name the last counts. The field "" is the object itself, as it is written. The text never
 * holds a NUL.
 */
enum json_outcome json_read_field(const char *text, size_t bytes, const char *field, char *out,
                                  struct json_record *record);

/* "id, title, document": the names of an object's members, as many as fit, null-terminated. */
void json_list_fields(const char *text, size_t bytes, char *out, size_t capacity);

#endif
