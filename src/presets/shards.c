/* shards.c - cutting a list of tensors into files. */
#include "presets/shards.h"

#include <stdlib.h>
#include <string.h>

/* Whether two variables belong to one layer: PATH/vars/0 and PATH/vars/1. */
static bool same_layer(const char *a, const char *b)
{
    const size_t n = (size_t)(strrchr(a, '/') - a);
    return !strncmp(a, b, n + 1);
}

struct error *shards_plan(struct shards *out, const struct mapping *mapping, enum element_type type,
                          uint64_t shard_bytes, bool by_layer)
{
    int *first = calloc((size_t)mapping->n + 1, sizeof *first);
    if (!first)
        return error_new(ERROR_MEMORY, "no memory for the plan of %d tensors", mapping->n);
    uint64_t used = 0;
    int n = 1;
    for (int i = 0; i < mapping->n;) {
        uint64_t bytes = 0;
        int end = i;
        do
            bytes += (uint64_t)mapping->list[end++].tensor.count * element_bytes(type);
        while (by_layer && end < mapping->n &&
               same_layer(mapping->list[i].tensor.name, mapping->list[end].tensor.name));
        if (shard_bytes > 0 && used > 0 && used + bytes > shard_bytes) {
            first[n++] = i;
            used = 0;
        }
        used += bytes;
        i = end;
    }
    first[n] = mapping->n;
    *out = (struct shards){.first = first, .n = n};
    return NULL;
}

void shards_release(struct shards *shards)
{
    free(shards->first);
    *shards = (struct shards){0};
}
