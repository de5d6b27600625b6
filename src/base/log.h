/*
 * log.h - what the program tells about its doings, on standard error.
 *
 * Results (generated text, evaluation, training lines) go to standard output and not through here.
 * The log sink is one of the few globals: log_open() sets it once, before threads start.
 */
#ifndef GALLEY_BASE_LOG_H
#define GALLEY_BASE_LOG_H

#include "base/error.h"

/* Who speaks: `rank` prefixes warnings of ranks other than 0, and only rank 0 prints the rest. */
void log_open(int rank);

/* One line each; thread-safe. State the exact cause; "device %s", not "device=%s". */
void log_warning(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
