/*
 * fault_calls.h - a library in front of libc that lets chosen file operations fail.
 *
 * It counts the calls that change files whose path holds a certain word (write, pwrite, ftruncate,
 * fsync, rename, close), over all libraries of the process, and lets one of them, or all from one
 * on, fail. Tests link it and call fault_arm(); a whole program gets it by LD_PRELOAD, armed by
 * FAULT_PATH, FAULT_KIND (ENOSPC, EIO, short), FAULT_AT (1: the first call) and FAULT_FOREVER.
 */
#ifndef GALLEY_TESTS_FAULT_CALLS_H
#define GALLEY_TESTS_FAULT_CALLS_H

#include <stdbool.h>

enum fault_kind {
    FAULT_NONE,      /* only counts */
    FAULT_ENOSPC,
    FAULT_EIO,
    FAULT_SHORT,     /* a write of half the bytes; of other calls: EIO */
};

/* Call number `at` (from 1) on a path that holds `word` fails so; with `forever` all after it too.
 * Begins to count anew. */
void fault_arm(const char *word, enum fault_kind kind, int at, bool forever);
/* Counted so far. */
int fault_calls(void);
/* What failed first: "pwrite", or NULL. */
const char *fault_failed(void);

#endif
