/* tally.h - how often each of many byte strings was met. */
#ifndef GALLEY_TEXT_TALLY_H
#define GALLEY_TEXT_TALLY_H

#include "text/string_table.h"

/* All zero at first; released with tally_release, after an error too. */
struct tally {
    struct string_table *strings;
    int64_t *counts;       /* by number */
    int32_t capacity;
};

MUST_USE struct error *tally_add(struct tally *tally, const char *text, size_t bytes,
                                 int64_t count);
void tally_release(struct tally *tally);
/* How many different strings there are. */
int32_t tally_count(const struct tally *tally);

/* A string taken out of a tally to be sorted. */
struct tallied {
    const char *text;
    size_t bytes;
    int64_t count;
    int32_t number;
};

/* For qsort: by the bytes of the text; the more frequent first, of equals the smaller text. */
int tallied_by_text(const void *x, const void *y);
int tallied_by_count(const void *x, const void *y);
/* The order of two texts by their bytes, as memcmp tells it. */
int compare_texts(const char *a, size_t a_bytes, const char *b, size_t b_bytes);

#endif
