/*
 * device_cpu.c - the CPU as a device: kernels run when called, on OpenMP threads.
 *
 * Memory comes straight from mmap with huge pages asked for, and is touched at once: page faults on
 * fresh activations cost a mini-GPT step a third of its time otherwise (measured 140-300 ms of
 * 800).
 */
#include "device/backend.h"

#include "base/clock.h"

#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The cores this process may run on, shared evenly with the other ranks of the node. A launcher
 * that binds each rank to cores of its own (mpirun does for one or two ranks) leaves nothing to
 * share. */
static int threads_of_rank(const struct device_options *options)
{
    cpu_set_t allowed;
    const int node_cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int cores = node_cores;
    if (!sched_getaffinity(0, sizeof allowed, &allowed))
        cores = CPU_COUNT(&allowed);
    const int local_size = options->local_size > 0 ? options->local_size : 1;
    const int share = node_cores / local_size;
    const int threads = share < cores ? share : cores;
    return threads > 0 ? threads : 1;
}

static struct error *cpu_open(void **self, int *threads, char *description, size_t bytes,
                              const struct device_options *options)
{
    *threads = options->threads > 0 ? options->threads : threads_of_rank(options);
    omp_set_dynamic(0);
    omp_set_num_threads(*threads);
    *self = NULL;
    snprintf(description, bytes, "cpu, %d thread%s", *threads, *threads == 1 ? "" : "s");
    return NULL;
}

static void cpu_close(void *self)
{
    (void)self;
}

static struct error *cpu_allocate(void *self, void **out, size_t bytes, const char *purpose)
{
    (void)self;
    const size_t mapped = bytes > 0 ? bytes : 1;
    void *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return error_errno(ERROR_MEMORY, "no memory for %s (%zu bytes)", purpose, bytes);
    madvise(memory, mapped, MADV_HUGEPAGE);    /* a wish; without it only slower */

    /* Touched in parallel, so that on a machine with several memory nodes pages spread over
     * them. */
    const long chunk = 1 << 21;
    const long chunks = (long)((mapped + (size_t)chunk - 1) / (size_t)chunk);
#pragma omp parallel for schedule(static)
    for (long i = 0; i < chunks; i++) {
        const size_t start = (size_t)i * (size_t)chunk;
        const size_t rest = mapped - start;
        memset((char *)memory + start, 0, rest < (size_t)chunk ? rest : (size_t)chunk);
    }
    *out = memory;
    return NULL;
}

static void cpu_release(void *self, void *memory, size_t bytes)
{
    (void)self;
    munmap(memory, bytes > 0 ? bytes : 1);
}

static void cpu_copy(struct device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    memcpy(to, from, bytes);
}

static void cpu_zero(struct device *device, void *memory, size_t bytes)
{
    (void)device;
    memset(memory, 0, bytes);
}

static struct error *cpu_fetch(void *self, void *host, const void *from, size_t bytes)
{
    (void)self;
    memcpy(host, from, bytes);
    return NULL;
}

static void cpu_copy_rows_in(struct device *device, void *to, const void *host,
                             const struct device_rows *rows)
{
    (void)device;
    for (size_t i = 0; i < rows->count; i++)
        memcpy((char *)to + i * rows->stride, (const char *)host + i * rows->bytes, rows->bytes);
}

static struct error *cpu_fetch_rows(void *self, void *host, const void *from,
                                    const struct device_rows *rows)
{
    (void)self;
    for (size_t i = 0; i < rows->count; i++)
        memcpy((char *)host + i * rows->bytes, (const char *)from + i * rows->stride, rows->bytes);
    return NULL;
}

static struct error *cpu_synchronize(void *self)
{
    (void)self;
    return NULL;
}

/* Work is done when it is called: an event is the time of its recording. */
struct cpu_event {
    double recorded_s;
};

static struct error *cpu_event_create(struct device *device, void **out,
                                      enum device_event_kind kind)
{
    (void)device;
    (void)kind;
    struct cpu_event *event = calloc(1, sizeof *event);
    if (!event)
        return error_new(ERROR_MEMORY, "no memory for an event (%zu bytes)", sizeof *event);
    *out = event;
    return NULL;
}

static void cpu_event_record(struct device *device, void *event, enum device_stream stream)
{
    (void)device;
    (void)stream;
    ((struct cpu_event *)event)->recorded_s = clock_now_s();
}

static void cpu_event_wait(struct device *device, void *event, enum device_stream stream)
{
    (void)device;
    (void)event;
    (void)stream;
}

static bool cpu_event_done(struct device *device, void *event)
{
    (void)device;
    (void)event;
    return true;
}

static double cpu_event_seconds(void *from, void *to)
{
    return ((struct cpu_event *)to)->recorded_s - ((struct cpu_event *)from)->recorded_s;
}

const struct backend backend_cpu = {
    .kind = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .allocate = cpu_allocate,
    .release = cpu_release,
    .allocate_host = cpu_allocate,
    .release_host = cpu_release,
    .copy_in = cpu_copy,
    .copy_out = cpu_copy,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .upload = cpu_copy,
    .fetch = cpu_fetch,
    .copy_rows_in = cpu_copy_rows_in,
    .fetch_rows = cpu_fetch_rows,
    .synchronize = cpu_synchronize,
    .memory_is_host = true,
    .event_create = cpu_event_create,
    .event_destroy = free,
    .event_record = cpu_event_record,
    .event_wait = cpu_event_wait,
    .event_done = cpu_event_done,
    .event_seconds = cpu_event_seconds,
};
