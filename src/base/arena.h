/*
 * arena.h - aligned regions taken one after the other from one block of memory.
 *
 * Everything the training loop needs is planned and allocated before step 0. The same code does
 * both: run once over an arena without memory (base NULL) it only measures, run again over a block
 * of that size it hands out pointers.
 *
 *     struct arena plan = {0};
 *     layout(model, &plan);                      every pointer is NULL, plan.used is the size
 *     device_allocate(device, &block, plan.used, "activations");
 *     struct arena arena = {.base = block, .capacity = plan.used};
 *     layout(model, &arena);                     every pointer is set
 */
#ifndef GALLEY_BASE_ARENA_H
#define GALLEY_BASE_ARENA_H

#include <stddef.h>

enum { ARENA_ALIGNMENT = 64 };    /* bytes: a cache line, an AVX-512 register */

struct arena {
    char *base;         /* NULL while planning */
    size_t used;        /* bytes taken, always a multiple of ARENA_ALIGNMENT */
    size_t capacity;    /* bytes at base */
};

/* `bytes` at the next aligned place; NULL while planning. Asking for more than was planned is a bug
 * of ours and aborts. */
void *arena_take(struct arena *arena, size_t bytes);

#endif
