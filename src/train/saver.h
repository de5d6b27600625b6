/*
 * saver.h - writes checkpoints on a thread of its own, one at a time, while training goes on.
 *
 * saver_begin() hands over a checkpoint whose big arrays are a snapshot that nobody changes until
 * saver_wait() or a saver_check() that says so; all else is copied. The thread fetches the snapshot
 * from the device, writes the file, flushes it, reads it back from disk and checks every byte, and
 * only then gives it its name and lets older ones go; then it prints a line. HDF5 belongs to that
 * thread meanwhile.
 *
 *     IDLE -- saver_begin --> WRITING -- written or failed --> OVER -- saver_wait, saver_check --> IDLE
 */
#ifndef GALLEY_TRAIN_SAVER_H
#define GALLEY_TRAIN_SAVER_H

#include "train/checkpoint.h"
#include "train/snapshot.h"

#include <stdbool.h>

struct saver;

/* `run_folder` is borrowed; `keep` as in checkpoint_prune. Starts the thread. */
MUST_USE struct error *saver_create(struct saver **out, const char *run_folder, int keep);
/* Waits for a write that goes on; what came of it is dropped. NULL is fine. */
void saver_destroy(struct saver *saver);

/* The saver must be idle. The checkpoint's arrays are those of `snapshot`; NULL: they are
 * there already. `stall_s` is what the snapshot cost training, for the line that is printed. */
MUST_USE struct error *saver_begin(struct saver *saver, const struct checkpoint *checkpoint,
                                   const struct snapshot *snapshot, double stall_s);
/* Waits until no write goes on; the error of the one that ended. Idle after it. */
MUST_USE struct error *saver_wait(struct saver *saver);
/* The same without waiting: NULL, and the saver maybe still writing, if none has failed. */
MUST_USE struct error *saver_check(struct saver *saver);

/* The step of the last checkpoint that was written; -1: none yet. */
int64_t saver_last_step(struct saver *saver);
/* How long the last write took, s; 0: there was none yet. */
double saver_last_write_s(struct saver *saver);

#endif
