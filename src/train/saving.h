/* saving.h - the callback that writes checkpoints. */
#ifndef GALLEY_TRAIN_SAVING_H
#define GALLEY_TRAIN_SAVING_H

#include "train/callback.h"
#include "train/checkpoint.h"
#include "train/snapshot.h"

struct saving_options {
    struct cadence when;
    int keep;                        /* newest checkpoints kept; 0: all */
    const char *run_folder;
    struct snapshot *snapshot;
    const struct tokenizer *tokenizer;
    const char *config_yaml;
    const struct history *history;
    uint64_t train_fingerprint, seed;
    int world_size;
    int64_t resumed_step;            /* the step the run began at: it needs no checkpoint again */
};

/* Rank 0. Everything in `options` is borrowed. */
MUST_USE struct error *saving_callback(struct callback *callback,
                                       const struct saving_options *options);

#endif
