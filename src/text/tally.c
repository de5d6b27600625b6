/* tally.c - a table of strings with a count for each. */
#include "text/tally.h"

#include <stdlib.h>
#include <string.h>

struct error *tally_add(struct tally *tally, const char *text, size_t bytes, int64_t count)
{
    struct tally *t = tally;
    int32_t number;
    if (!t->strings)
        TRY(string_table_create(&t->strings));
    if (string_table_count(t->strings) == t->capacity) {
        const int32_t larger = t->capacity > 0 ? 2 * t->capacity : 4096;
        int64_t *more = realloc(t->counts, (size_t)larger * sizeof *more);
        if (!more)
            return error_new(ERROR_MEMORY, "no memory to count %d words", larger);
        memset(more + t->capacity, 0, (size_t)(larger - t->capacity) * sizeof *more);
        t->counts = more;
        t->capacity = larger;
    }
    TRY(string_table_add(t->strings, text, bytes, &number));
    t->counts[number] += count;
    return NULL;
}

void tally_release(struct tally *tally)
{
    string_table_destroy(tally->strings);
    free(tally->counts);
}

int32_t tally_count(const struct tally *tally)
{
    return tally->strings ? string_table_count(tally->strings) : 0;
}

int compare_texts(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    const int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

int tallied_by_text(const void *x, const void *y)
{
    const struct tallied *a = x, *b = y;
    return compare_texts(a->text, a->bytes, b->text, b->bytes);
}

int tallied_by_count(const void *x, const void *y)
{
    const struct tallied *a = x, *b = y;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return compare_texts(a->text, a->bytes, b->text, b->bytes);
}
