/* terminal.h - whether a person watches an output. */
#ifndef GALLEY_BASE_TERMINAL_H
#define GALLEY_BASE_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

/*
 * True where `out` is a terminal that somebody may be looking at. mpirun gives its ranks a
 * pseudo-terminal for standard output even when its own goes to a file; so the parent process must
 * have a terminal there, too.
 */
bool terminal_watched(FILE *out);

#endif
