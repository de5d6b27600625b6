/* shards.h - which tensors go into which file; for src/presets only. */
#ifndef GALLEY_PRESETS_SHARDS_H
#define GALLEY_PRESETS_SHARDS_H

#include "presets/mapping.h"

#include <stdbool.h>

/* File i holds the tensors first[i] to first[i + 1] - 1 of the mapping. */
struct shards {
    int *first;
    int n;
};

/* Fills files in order up to `shard_bytes` each (0: one file); what is larger has a file of its
 * own. `by_layer`: the variables of one Keras layer stay together. */
MUST_USE struct error *shards_plan(struct shards *out, const struct mapping *mapping,
                                   enum element_type type, uint64_t shard_bytes, bool by_layer);
void shards_release(struct shards *shards);

#endif
