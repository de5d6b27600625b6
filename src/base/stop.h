/*
 * stop.h - the wish that the run should save and stop.
 *
 * It comes as a signal (USR1 and TERM, as batch systems send them, HUP, when the terminal goes, or
 * a first Ctrl-C), or from within, when time runs out. It is only a flag, one of the few globals:
 * whoever runs the steps looks at it, and all ranks agree on the step after which they stop.
 */
#ifndef GALLEY_BASE_STOP_H
#define GALLEY_BASE_STOP_H

#include <stdbool.h>

/* From now on USR1, TERM, INT and HUP (unless it was ignored) set the flag. A second INT ends the
 * process as it always did. */
void stop_catch_signals(void);

/* Sets the flag; `why` is a text that lives as long as the process. The first reason stays. */
void stop_ask(const char *why);
bool stop_asked(void);
/* "SIGUSR1", or what stop_ask was given; NULL: not asked. */
const char *stop_reason(void);

#endif
