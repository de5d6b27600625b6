/* memory.h - how much memory this process really uses. */
#ifndef GALLEY_BASE_MEMORY_H
#define GALLEY_BASE_MEMORY_H

#include <stddef.h>

/* Resident bytes that are not files (RssAnon and shared memory of /proc/self/status); 0 where the
 * system does not tell. */
size_t memory_resident_bytes(void);

/* What the machine can still give, or less where the process's control group may have less;
 * SIZE_MAX where nobody tells. */
size_t memory_available_bytes(void);

#endif
