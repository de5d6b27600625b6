/*
 * progress.h - what a run tells of its steps: lines or a bar on standard output, rows in
 * metrics.jsonl.
 */
#ifndef GALLEY_TRAIN_PROGRESS_H
#define GALLEY_TRAIN_PROGRESS_H

#include "comm/comm.h"
#include "train/callback.h"
#include "train/run_folder.h"

#include <stdio.h>

/*
 * On every rank, for all compare their times. Every `log_every_steps` steps and at the end rank 0
 * gets a row and a line; times and waits in it are means over the steps since the last. Of several
 * ranks they also say which is the slowest (stragglers.h). Where somebody watches `out` on a
 * terminal, a bar with the time left is redrawn in place up to ten times a second. `folder` is
 * borrowed, and NULL but on rank 0.
 */
MUST_USE struct error *progress_callback(struct callback *callback, struct comm *comm,
                                         struct run_folder *folder, int64_t log_every_steps,
                                         FILE *out);

#endif
