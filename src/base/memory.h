/* memory.h - how much memory this process really uses. */
#ifndef GALLEY_BASE_MEMORY_H
#define GALLEY_BASE_MEMORY_H

#include <stddef.h>

/* Resident bytes that are not files (RssAnon and shared memory of /proc/self/status); 0 where the
 * system does not tell. */
size_t memory_resident_bytes(void);

#endif
