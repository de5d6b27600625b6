/* shard_format.h - what writing and reading of shards agree on; for src/formats/shard_*.c only. */
#ifndef GALLEY_FORMATS_SHARD_FORMAT_H
#define GALLEY_FORMATS_SHARD_FORMAT_H

#include "formats/shard_file.h"

enum { SHARD_FORMAT = 1 };

#define SHARD_TOKENS "/tokens"
#define SHARD_DOCUMENTS "/documents"
/* An extent of the manifest: the array and the number of its chunk. */
#define SHARD_EXTENT "%s:%lld"

/* The numbers kept as attributes of the file. */
struct shard_number {
    const char *name;
    size_t offset;    /* of an int64_t in struct shard_facts */
};
extern const struct shard_number shard_numbers[];
extern const int shard_number_count;

/* Elements of a chunk. */
static inline int64_t shard_chunk_tokens(const struct shard_facts *facts)
{
    return SHARD_CHUNK_BYTES / facts->width;
}
enum { SHARD_CHUNK_DOCUMENTS = SHARD_CHUNK_BYTES / 8 };

#endif
