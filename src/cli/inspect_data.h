/* inspect_data.h - what galley inspect shows of data: token files, and the batches of a run. */
#ifndef GALLEY_CLI_INSPECT_DATA_H
#define GALLEY_CLI_INSPECT_DATA_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct inspect_options {
    bool verify;                 /* check every byte */
    const char *vocabulary;      /* to show tokens as text; NULL: as numbers only */
    long long sample;            /* of a token file: this one; -1: none */
    long long length;            /* tokens of a sample; 0: 128 */
    long long batch;             /* of a run: this global batch, from 0; -1: none */
};

/* A token file of any format. */
MUST_USE struct error *inspect_tokens(const char *path, const struct inspect_options *options);
/* Whether a folder holds what galley tokenize makes; then all of it, a line a shard. */
bool inspect_is_shards(const char *folder);
MUST_USE struct error *inspect_shards(const char *folder, const struct inspect_options *options);
/* The samples of a global batch of a run, and where each came from. */
MUST_USE struct error *inspect_batch(const char *run_folder, const struct inspect_options *options);

#endif
