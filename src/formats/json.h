/*
 * json.h - JSON files of presets, over cJSON, with limits and errors that name file and key.
 *
 * A text is parsed only after it was found to be no longer and no deeper nested than asked, so that
 * what lies in it costs neither memory nor stack.
 */
#ifndef GALLEY_FORMATS_JSON_H
#define GALLEY_FORMATS_JSON_H

#include "base/error.h"

#include <cjson/cJSON.h>
#include <stdint.h>

enum { JSON_MOST_DEPTH = 64 };

/* A whole file; `*text` is null-terminated, for the caller to free. Longer than `most_bytes`, or
 * with a zero byte in it, is an error. */
MUST_USE struct error *json_read_text(const char *path, size_t most_bytes, char **text,
                                      size_t *bytes);
/* `name` is what errors call the text. Release with cJSON_Delete. */
MUST_USE struct error *json_parse(cJSON **out, const char *text, size_t bytes, const char *name);
MUST_USE struct error *json_open(cJSON **out, const char *path, size_t most_bytes);

/* Members of an object that must be there and of the kind; `name` as above. */
MUST_USE struct error *json_get_object(const cJSON *object, const char *key, const char *name,
                                       const cJSON **out);
MUST_USE struct error *json_get_text(const cJSON *object, const char *key, const char *name,
                                     const char **out);
MUST_USE struct error *json_get_int(const cJSON *object, const char *key, const char *name,
                                    int64_t low, int64_t high, int64_t *out);
/* A member that may be absent or null: then `otherwise`. */
MUST_USE struct error *json_get_number_or(const cJSON *object, const char *key, const char *name,
                                          double otherwise, double *out);

#endif
