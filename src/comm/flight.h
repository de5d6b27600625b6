/*
 * flight.h - what a rank did last, in a file that outlives it.
 *
 * A ring of lines of equal length, mapped into memory: writing one costs a microsecond, and what
 * was written is in the file even if the process is killed or stopped in the next instruction.
 * `sort FILE` puts the lines in order, for each begins with its number:
 *
 *     0000000421     12.345 step 40   collective 97   begins to wait: gradients
 *
 * One thread at a time.
 */
#ifndef GALLEY_COMM_FLIGHT_H
#define GALLEY_COMM_FLIGHT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct flight;

enum { FLIGHT_LINE_BYTES = 128, FLIGHT_LINES = 1024 };

/* A new record; an older file of that name is replaced. */
MUST_USE struct error *flight_open(struct flight **out, const char *path);
void flight_close(struct flight *flight);
/* One line; what does not fit is cut off. NULL is fine: no record is kept. */
void flight_add(struct flight *flight, const char *format, ...) PRINTF_LIKE(2, 3);

/* The last line of another rank's record, without its number, into `line`; false if there is
 * none. */
bool flight_last(const char *path, char *line, size_t bytes);

#endif
