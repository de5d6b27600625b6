/*
 * tell.h - what a run says while it runs, without ever waiting long for whoever reads it.
 *
 * A pipe or a terminal takes some kilobytes that nobody reads, and then a write to it stands still:
 * so a run would, with all its ranks, for want of a reader of its lines. Readers do stop: a paused
 * terminal, a full disk behind tee, and mpirun once it was told to end, just when there is little
 * time to save. So what is not taken within a second is dropped, and how much was is told when the
 * reader is back.
 *
 * The state of the two streams is one of the few globals.
 */
#ifndef GALLEY_BASE_TELL_H
#define GALLEY_BASE_TELL_H

#include "base/error.h"

#include <stdio.h>

/* A text of whole lines, or what a terminal is to draw, to stdout or stderr: written at once, and
 * not mixed with another thread's. Any other stream (of a test) is printed to as it is. */
void tell(FILE *out, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
