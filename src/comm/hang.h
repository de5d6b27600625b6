/*
 * hang.h - says which ranks others wait for in vain, and ends all; for src/comm only.
 */
#ifndef GALLEY_COMM_HANG_H
#define GALLEY_COMM_HANG_H

#include "comm/watch.h"

#include <stdbool.h>

/* Where a rank's main thread is, as watches tell each other. */
struct watch_state {
    int64_t step;          /* -1: before the first */
    int64_t collective;    /* waits begun so far; the same number is the same collective on all
                            * ranks */
    double since_s;        /* in this place */
    int32_t phase;         /* enum comm_phase */
    bool waiting, late;    /* for other ranks; for longer than the phase's deadline */
    char what[54];         /* of the wait */
};

enum hang_verdict { HANG_INNOCENT, HANG_SILENT, HANG_STUCK };

struct hang_rank {
    struct watch_state state;    /* its last answer */
    double answered_s;           /* when that came, by clock_now_s(); 0: never */
    enum hang_verdict verdict;
};

struct hang {
    int rank, world_size;              /* who asked */
    const struct watch_place *places;
    const struct hang_rank *ranks;     /* world_size; its own state too */
    const char *folder;                /* of the flight records; empty: none */
};

/* Prints the report, unless a lower rank that is well will do so, and ends all ranks. */
_Noreturn void hang_report(const struct hang *hang);

#endif
