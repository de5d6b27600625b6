/*
 * run_state.h - how far a run came, in one word in its folder, for whoever may have to start it
 * again: an exit code need not tell, as that of mpirun, which some versions end with 0 when they
 * lose a node.
 *
 *     RUNNING   it runs, or something ended it that left it no time for another word
 *     STOPPED   it was asked to, and saved
 *     FAILED    with an error that all its ranks agreed on
 *     DONE      there was nothing left to train; also after a start since then that was refused
 *
 * Local, rank 0 writes.
 */
#ifndef GALLEY_TRAIN_RUN_STATE_H
#define GALLEY_TRAIN_RUN_STATE_H

#include "base/error.h"

/* RUN_NEW: nobody wrote one yet. */
enum run_state { RUN_NEW, RUN_RUNNING, RUN_STOPPED, RUN_FAILED, RUN_DONE };

/* "running", as it is in the file. */
const char *run_state_name(enum run_state state);

/* FOLDER/state; the folder is there. In place, for a disk that is full has no room for a new
 * one. */
MUST_USE struct error *run_state_write(const char *run_folder, enum run_state state);
/* RUN_NEW also where there is no folder. */
MUST_USE struct error *run_state_read(const char *run_folder, enum run_state *state);

#endif
