/* clock.h - the monotonic clock, in seconds. */
#ifndef GALLEY_BASE_CLOCK_H
#define GALLEY_BASE_CLOCK_H

/* Seconds since an arbitrary start; never goes back. */
double clock_now_s(void);

#endif
