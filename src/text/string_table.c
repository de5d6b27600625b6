/* string_table.c - open addressing with linear probing; the text of all strings in big blocks. */
#include "text/string_table.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { FIRST_SLOTS = 1024, BLOCK_BYTES = 1 << 18 };

struct block {
    struct block *next;
    size_t used, size;
    char text[];
};

struct entry {
    const char *text;
    uint32_t bytes;
    uint32_t hash;
};

struct string_table {
    struct entry *entries;
    int32_t count, capacity;
    int32_t *slots;         /* numbers + 1; 0 is free */
    uint32_t mask;
    struct block *blocks;   /* the first one is being filled */
};

struct error *string_table_create(struct string_table **out)
{
    struct string_table *t = calloc(1, sizeof *t);
    if (t)
        t->slots = calloc(FIRST_SLOTS, sizeof *t->slots);
    if (!t || !t->slots) {
        free(t);
        return error_new(ERROR_MEMORY, "no memory for a table of words");
    }
    t->mask = FIRST_SLOTS - 1;
    *out = t;
    return NULL;
}

void string_table_destroy(struct string_table *table)
{
    if (!table)
        return;
    while (table->blocks) {
        struct block *b = table->blocks;
        table->blocks = b->next;
        free(b);
    }
    free(table->entries);
    free(table->slots);
    free(table);
}

int32_t string_table_count(const struct string_table *table)
{
    return table->count;
}

/* The slot where the string is, or would be. */
static uint32_t find_slot(const struct string_table *t, const char *text, size_t bytes,
                          uint32_t hash)
{
    uint32_t slot = hash & t->mask;
    for (; t->slots[slot]; slot = (slot + 1) & t->mask) {
        const struct entry *e = &t->entries[t->slots[slot] - 1];
        if (e->hash == hash && e->bytes == bytes && !memcmp(e->text, text, bytes))
            break;
    }
    return slot;
}

int32_t string_table_find(const struct string_table *table, const char *text, size_t bytes)
{
    const uint32_t hash = (uint32_t)XXH3_64bits(text, bytes);
    return table->slots[find_slot(table, text, bytes, hash)] - 1;
}

static struct error *grow_slots(struct string_table *t)
{
    const uint32_t n = 2 * (t->mask + 1);
    int32_t *slots = calloc(n, sizeof *slots);
    if (!slots)
        return error_new(ERROR_MEMORY, "no memory for a table of %d words", t->count);
    for (int32_t i = 0; i < t->count; i++) {
        uint32_t slot = t->entries[i].hash & (n - 1);
        while (slots[slot])
            slot = (slot + 1) & (n - 1);
        slots[slot] = i + 1;
    }
    free(t->slots);
    t->slots = slots;
    t->mask = n - 1;
    return NULL;
}

static struct error *copy_text(struct string_table *t, const char *text, size_t bytes,
                               const char **copy)
{
    struct block *b = t->blocks;
    if (!b || b->size - b->used < bytes + 1) {
        const size_t size = bytes + 1 > BLOCK_BYTES ? bytes + 1 : BLOCK_BYTES;
        b = malloc(sizeof *b + size);
        if (!b)
            return error_new(ERROR_MEMORY, "no memory for a table of %d words", t->count);
        *b = (struct block){.next = t->blocks, .size = size};
        t->blocks = b;
    }
    char *to = b->text + b->used;
    memcpy(to, text, bytes);
    to[bytes] = '\0';
    b->used += bytes + 1;
    *copy = to;
    return NULL;
}

struct error *string_table_add(struct string_table *table, const char *text, size_t bytes,
                               int32_t *number)
{
    struct string_table *t = table;
    const uint32_t hash = (uint32_t)XXH3_64bits(text, bytes);
    uint32_t slot = find_slot(t, text, bytes, hash);
    if (t->slots[slot]) {
        *number = t->slots[slot] - 1;
        return NULL;
    }
    if (t->count == t->capacity) {
        const int32_t capacity = t->capacity > 0 ? 2 * t->capacity : FIRST_SLOTS / 2;
        struct entry *entries = realloc(t->entries, (size_t)capacity * sizeof *entries);
        if (!entries)
            return error_new(ERROR_MEMORY, "no memory for a table of %d words", capacity);
        t->entries = entries;
        t->capacity = capacity;
    }
    if (2 * ((uint32_t)t->count + 1) > t->mask) {
        TRY(grow_slots(t));
        slot = find_slot(t, text, bytes, hash);
    }
    struct entry *e = &t->entries[t->count];
    TRY(copy_text(t, text, bytes, &e->text));
    e->bytes = (uint32_t)bytes;
    e->hash = hash;
    *number = t->count++;
    t->slots[slot] = t->count;
    return NULL;
}

const char *string_table_get(const struct string_table *table, int32_t number, size_t *bytes)
{
    *bytes = table->entries[number].bytes;
    return table->entries[number].text;
}
