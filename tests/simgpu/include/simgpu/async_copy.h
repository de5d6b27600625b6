/*
 * async_copy.h - copies from global to shared memory that run behind the thread's back.
 *
 * Nothing is copied before the wait that must see it: until then the destination holds NaN bytes,
 * so that a missing wait shows as a wrong number.
 */
#ifndef SIMGPU_ASYNC_COPY_H
#define SIMGPU_ASYNC_COPY_H

#include <cstddef>

namespace simgpu {

/* Both sides aligned to `bytes`; zeros where not `valid` (global is not read then). */
void copy_async(void *shared, const void *global, size_t bytes, bool valid);
/* Closes a group: the copies since the last commit of this thread. */
void copy_async_commit();
/* Makes all groups but the `pending` latest happen. */
void copy_async_wait(int pending);

/* Begins a block: forgets what threads of the block before it have left under way. */
void copy_async_reset(size_t threads);

}    // namespace simgpu

#endif
