/*
 * validation.h - the validation set's loss and perplexity, now and then.
 */
#ifndef GALLEY_TRAIN_VALIDATION_H
#define GALLEY_TRAIN_VALIDATION_H

#include "train/callback.h"
#include "train/evaluation.h"
#include "train/history.h"
#include "train/run_folder.h"

/*
 * Every rank: all share the work. Rank 0 prints a line and adds a row; `folder` is NULL on the
 * others. Every rank adds to `history`, so all know the best step. Everything in `options` and both
 * pointers are borrowed.
 */
MUST_USE struct error *validation_callback(struct callback *callback, const struct cadence *when,
                                           const struct evaluation_options *options,
                                           struct history *history, struct run_folder *folder);

#endif
