/*
 * saving.h - the callback that saves the run's state, now and then, at the end, and when asked to
 * stop.
 *
 * A save stops training for a copy of weights and moments to host memory; the file is written
 * behind its back (saver.h). If the one before is not written yet, training waits for it. At the
 * end, and when the run is to stop, it waits until its own is. A write that failed makes the run
 * stop; the state is then saved at that step, if it can be.
 */
#ifndef GALLEY_TRAIN_SAVING_H
#define GALLEY_TRAIN_SAVING_H

#include "train/callback.h"
#include "train/guard.h"
#include "train/pipe_feed.h"
#include "train/saver.h"
#include "train/snapshot.h"

struct saving_options {
    struct cadence when;
    bool stop_on_error;              /* a failed write ends the run; else it is told, and the next one
                                        is tried. The last one must succeed in any case. */
    bool loss_scaling;               /* the optimizer's */
    struct saver *saver;
    struct snapshot *snapshot;
    const struct tokenizer *tokenizer;
    const char *config_yaml;
    const struct history *history;
    const struct guard_counts *counts;
    uint64_t train_fingerprint, seed;
    const struct pipe_feed *pipe;    /* whose position is saved; NULL: the data is of files */
    int world_size;
    int64_t saved_step;              /* needs no checkpoint again: the step the run began at; -1:
                                      * none */
};

/* Rank 0. Everything in `options` is borrowed. */
MUST_USE struct error *saving_callback(struct callback *callback,
                                       const struct saving_options *options);

#endif
