/*
 * watch.h - a thread of every rank that knows when ranks wait in vain, and for whom; for src/comm
 * only.
 *
 * The main thread says where it is (phase, step) and when it begins and ends to wait for other
 * ranks. While it waits too long, its watch asks the watches of all others, which answer whatever
 * their main threads do. Whoever does not answer is gone: killed, stopped, or cut off. Whoever
 * answers, but is in one phase for longer than that may last, is stuck. Then the lowest of the
 * others says so, once, and ends all ranks. A rank that is only slow, or writes samples while
 * others wait, is left in peace.
 *
 * A world of one rank has no watch; all functions then do nothing.
 */
#ifndef GALLEY_COMM_WATCH_H
#define GALLEY_COMM_WATCH_H

#include "comm/comm.h"

#include <mpi.h>

struct watch;

/* Where a rank runs; the same table on every rank. */
struct watch_place {
    char host[128];
    char device[128];
    long pid;
};

/* Collective. `places` (one a rank) is borrowed. Starts the thread. */
MUST_USE struct error *watch_create(struct watch **out, const struct watch_place *places);
/* Collective. NULL is fine. */
void watch_destroy(struct watch *watch);

void watch_set_deadlines(struct watch *watch, const struct comm_deadlines *deadlines);
/* Keeps FOLDER/flight/rank-NNNNN.log from now on, and finds the others' there. */
MUST_USE struct error *watch_record(struct watch *watch, const char *folder);
void watch_phase(struct watch *watch, enum comm_phase phase);
void watch_step(struct watch *watch, int64_t step);
/* `what` is a text that lives as long as the process. */
void watch_wait_begin(struct watch *watch, const char *what);
void watch_wait_end(struct watch *watch);

#endif
