/* arena.c - aligned regions from one block. */
#include "base/arena.h"

#include "base/error.h"

void *arena_take(struct arena *arena, size_t bytes)
{
    const size_t rounded = (bytes + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    void *region = arena->base ? arena->base + arena->used : NULL;
    arena->used += rounded;
    if (arena->base && arena->used > arena->capacity)
        BUG("arena of %zu bytes overrun by a request for %zu", arena->capacity, bytes);
    return region;
}
