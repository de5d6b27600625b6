/*
 * run_folder.h - the folder of a run: one owner, its configuration, its logs.
 *
 *   config.yaml      the effective configuration
 *   metrics.jsonl    a row per logged step and per validation
 *   samples.jsonl    a row per generated text
 *   state            running, stopped, failed or done (run_state.h)
 *   checkpoints/     step-00001234.h5
 *   cache/           unpacked text and sample index of the data
 *   flight/          what every rank did last, and the report of a hang
 *   .lock            held while a run uses the folder; says who
 *
 * Local: rank 0 alone opens and writes. The lock is the kernel's (flock), so it goes with the
 * process however that ends.
 */
#ifndef GALLEY_TRAIN_RUN_FOLDER_H
#define GALLEY_TRAIN_RUN_FOLDER_H

#include "base/error.h"

#include <stdint.h>

struct run_folder;

/* Makes a folder and its parents, where they are not there yet. */
MUST_USE struct error *run_folder_make(const char *path);

/* Makes the folder (and its parents) where it is not there, takes the lock, removes what a killed
 * run left half-written. A folder in use names the holder's host and process. */
MUST_USE struct error *run_folder_open(struct run_folder **out, const char *path);
void run_folder_close(struct run_folder *folder);

/* Writes config.yaml, whole or not at all. */
MUST_USE struct error *run_folder_write_config(struct run_folder *folder, const char *yaml);

/* Opens both logs for appending and first drops the rows of steps after `step`, so that after a
 * resume they are those of an uninterrupted run; step -1 drops all. */
MUST_USE struct error *run_folder_start_logs(struct run_folder *folder, int64_t step);
/* Appends one JSON object (without line feed) as a row, and hands it to the system at once. Rows
 * come from the midst of what all ranks do together: so the first that cannot be written is
 * latched, those after it are dropped, and run_folder_check tells. */
void run_folder_add_metrics(struct run_folder *folder, const char *json);
void run_folder_add_sample(struct run_folder *folder, const char *json);
/* Why a row could not be written; told once. */
MUST_USE struct error *run_folder_check(struct run_folder *folder);

#endif
