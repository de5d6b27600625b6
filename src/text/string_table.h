/*
 * string_table.h - byte strings numbered in the order they were added, found by hash.
 *
 * Grows as needed; strings are copied and stay where they are. Not thread-safe while adding.
 */
#ifndef GALLEY_TEXT_STRING_TABLE_H
#define GALLEY_TEXT_STRING_TABLE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct string_table;

MUST_USE struct error *string_table_create(struct string_table **out);
void string_table_destroy(struct string_table *table);

int32_t string_table_count(const struct string_table *table);
/* The number of a string, or -1. */
int32_t string_table_find(const struct string_table *table, const char *text, size_t bytes);
/* The number of a string, added if it is new. */
MUST_USE struct error *string_table_add(struct string_table *table, const char *text, size_t bytes,
                                        int32_t *number);
/* The bytes of a string, null-terminated beyond `*bytes`; valid as long as the table. */
const char *string_table_get(const struct string_table *table, int32_t number, size_t *bytes);

#endif
