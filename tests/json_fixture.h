/* json_fixture.h - JSON fixture files, read whole. */
#ifndef GALLEY_TESTS_JSON_FIXTURE_H
#define GALLEY_TESTS_JSON_FIXTURE_H

#include "testing.h"

#include <cjson/cJSON.h>

/* The file as JSON, for cJSON_Delete; fails the test where it cannot be read. */
static inline cJSON *json_fixture_open(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s cannot be opened", path);
    fseek(f, 0, SEEK_END);
    const long bytes = ftell(f);
    rewind(f);
    char *text = calloc((size_t)bytes + 1, 1);
    if (fread(text, 1, (size_t)bytes, f) != (size_t)bytes)
        fail_msg("%s cannot be read", path);
    fclose(f);
    cJSON *json = cJSON_Parse(text);
    if (!json)
        fail_msg("%s is no JSON", path);
    free(text);
    return json;
}

/* A number of an object; `otherwise` where it is absent. */
static inline double json_number(const cJSON *object, const char *key, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

static inline const char *json_string(const cJSON *object, const char *key)
{
    const char *text =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    if (!text)
        fail_msg("the fixture has no text \"%s\"", key);
    return text;
}

/* An array of numbers, nested or not, row by row into `out`; how many. Fails beyond `capacity`. */
static inline int json_numbers(const cJSON *array, double *out, int capacity)
{
    int n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, array)
    {
        if (cJSON_IsArray(item))
            n += json_numbers(item, out + n, capacity - n);
        else if (n < capacity)
            out[n++] = item->valuedouble;
        else
            fail_msg("more than %d numbers in a fixture", capacity);
    }
    return n;
}

#endif
