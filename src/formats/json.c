/* json.c - limits and lookups over cJSON. */
#include "formats/json.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct error *json_read_text(const char *path, size_t most_bytes, char **text, size_t *bytes)
{
    struct stat status;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return error_errno(ERROR_INPUT, "cannot read %s", path);
    struct error *e = NULL;
    char *buffer = NULL;
    if (fstat(fileno(file), &status) || !S_ISREG(status.st_mode))
        e = error_new(ERROR_INPUT, "%s is not a file", path);
    else if ((uint64_t)status.st_size > most_bytes)
        e = error_new(ERROR_INPUT, "%s has %lld bytes; it must not have more than %zu", path,
                      (long long)status.st_size, most_bytes);
    else if (!(buffer = malloc((size_t)status.st_size + 1)))
        e = error_new(ERROR_MEMORY, "no memory for %s (%lld bytes)", path,
                      (long long)status.st_size);
    const size_t n = e ? 0 : fread(buffer, 1, (size_t)status.st_size, file);
    if (!e && ferror(file))
        e = error_errno(ERROR_IO, "cannot read %s", path);
    else if (!e && memchr(buffer, '\0', n))
        e = error_new(ERROR_INPUT, "%s is not text: it holds a zero byte", path);
    fclose(file);
    if (e) {
        free(buffer);
        return e;
    }
    buffer[n] = '\0';
    *text = buffer;
    *bytes = n;
    return NULL;
}

/* The deepest nesting of arrays and objects; what stands in strings does not count. */
static int depth_of(const char *text, size_t bytes)
{
    int depth = 0, deepest = 0;
    bool quoted = false;
    for (size_t i = 0; i < bytes; i++) {
        const char c = text[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            deepest = ++depth > deepest ? depth : deepest;
        else if (!quoted && (c == '}' || c == ']'))
            depth--;
    }
    return deepest;
}

struct error *json_parse(cJSON **out, const char *text, size_t bytes, const char *name)
{
    const int depth = depth_of(text, bytes);
    if (depth > JSON_MOST_DEPTH)
        return error_new(ERROR_INPUT, "%s is nested %d deep; at most %d levels are read", name,
                         depth, JSON_MOST_DEPTH);
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts(text, bytes, &end, 0);
    if (!json)
        return error_new(ERROR_INPUT, "%s is not JSON: it goes wrong at byte %lld", name,
                         (long long)(end ? end - text : 0));
    while (end < text + bytes && strchr(" \t\r\n", *end) && *end)
        end++;
    if (end < text + bytes) {
        cJSON_Delete(json);
        return error_new(ERROR_INPUT, "%s is not JSON: something follows it at byte %lld", name,
                         (long long)(end - text));
    }
    *out = json;
    return NULL;
}

struct error *json_open(cJSON **out, const char *path, size_t most_bytes)
{
    char *text;
    size_t bytes;
    TRY(json_read_text(path, most_bytes, &text, &bytes));
    struct error *e = json_parse(out, text, bytes, path);
    free(text);
    return e;
}

static struct error *missing(const cJSON *item, const char *key, const char *name, const char *kind)
{
    return error_new(ERROR_INPUT, "%s: \"%s\" is %s, expected %s", name, key,
                     item ? "of another kind" : "missing", kind);
}

struct error *json_get_object(const cJSON *object, const char *key, const char *name,
                              const cJSON **out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsObject(item))
        return missing(item, key, name, "an object");
    *out = item;
    return NULL;
}

struct error *json_get_text(const cJSON *object, const char *key, const char *name,
                            const char **out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsString(item))
        return missing(item, key, name, "a text");
    *out = item->valuestring;
    return NULL;
}

struct error *json_get_int(const cJSON *object, const char *key, const char *name, int64_t low,
                           int64_t high, int64_t *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item))
        return missing(item, key, name, "a whole number");
    const double value = item->valuedouble;
    if (!(value >= (double)low && value <= (double)high) || floor(value) < value)
        return error_new(ERROR_INPUT, "%s: \"%s\" is %g, expected a whole number from %lld to %lld",
                         name, key, value, (long long)low, (long long)high);
    *out = (int64_t)value;
    return NULL;
}

struct error *json_get_number_or(const cJSON *object, const char *key, const char *name,
                                 double otherwise, double *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (item && !cJSON_IsNull(item) && !cJSON_IsNumber(item))
        return missing(item, key, name, "a number");
    *out = cJSON_IsNumber(item) ? item->valuedouble : otherwise;
    return NULL;
}
