/* memory.h - how much memory this process uses, and that what it uses no more goes back. */
#ifndef GALLEY_BASE_MEMORY_H
#define GALLEY_BASE_MEMORY_H

#include <stddef.h>

/* Blocks of 128 KiB and more get pages of their own, which go back to the system when they are
 * freed. glibc begins so, but raises that size to each such block that it sees freed, up to 32 MiB;
 * from then on the buffers of checkpoints, validations and samples share the heap with blocks that
 * stay, find their old places cut in two, and a run of weeks grows by a buffer now and then. A
 * training step allocates nothing, so the pages' faults cost it nothing. Before all threads. */
void memory_give_back_large_blocks(void);

/* Resident bytes that are not files (RssAnon and shared memory of /proc/self/status); 0 where the
 * system does not tell. */
size_t memory_resident_bytes(void);

/* What the machine can still give, or less where the process's control group may have less;
 * SIZE_MAX where nobody tells. */
size_t memory_available_bytes(void);

#endif
