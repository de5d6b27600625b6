/*
 * count_allocations.c - counts what Galley's own code allocates; linked into a copy of the program.
 *
 * The linker sends every malloc, calloc, realloc and aligned_alloc of the linked objects here
 * (--wrap); libraries keep theirs. At exit the count goes to the file that GALLEY_ALLOCATIONS
 * names, so that a test can compare a short run with a long one.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);

static atomic_long count;

void *__wrap_malloc(size_t bytes)
{
    count++;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
    count++;
    return __real_calloc(n, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    count++;
    return __real_realloc(memory, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    count++;
    return __real_aligned_alloc(alignment, bytes);
}

static void tell(void)
{
    const char *path = getenv("GALLEY_ALLOCATIONS");
    FILE *file = path ? fopen(path, "we") : NULL;
    if (!file)
        return;
    fprintf(file, "%ld\n", (long)count);
    fclose(file);
}

__attribute__((constructor)) static void tell_at_exit(void)
{
    atexit(tell);
}
