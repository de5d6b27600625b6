/* kernel_bench.c - a bench to try the kernels of any device on. */
#include "kernel_bench.h"

#include "test_device.h"

#include <time.h>

/* Tiny, odd, aligned and large ones; heads of all the sizes that kernels treat apart. */
static const struct kernel_limits shapes[] = {
    {.N = 1, .T = 1, .C = 1, .F = 1, .NH = 1, .HS = 1, .V = 5},
    {.N = 1 * 3, .T = 3, .C = 201, .F = 77, .NH = 2, .HS = 35, .V = 334},    /* few rows */
    {.N = 3 * 7, .T = 7, .C = 10, .F = 9, .NH = 3, .HS = 3, .V = 17},
    {.N = 2 * 33, .T = 33, .C = 40, .F = 31, .NH = 4, .HS = 10, .V = 200},
    {.N = 2 * 72, .T = 72, .C = 64, .F = 128, .NH = 1, .HS = 64, .V = 256},
    {.N = 97, .T = 97, .C = 128, .F = 40, .NH = 1, .HS = 128, .V = 64},
    {.N = 5 * 128, .T = 128, .C = 256, .F = 128, .NH = 3, .HS = 85, .V = 999},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

struct bench_memory {
    struct bench_memory *next;
    void *host, *device;    /* one of them */
};

struct bench_options bench_arguments(int argc, char **argv)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct bench_options o = {.device = test_device(argc > 1 ? argv[1] : "cpu"),
                              .seed = (uint64_t)now.tv_nsec * 1000003u + (uint64_t)now.tv_sec};
    char *end = NULL;
    if (argc > 2)
        o.seed = strtoull(argv[2], &end, 10);
    if (argc > 3 || (end && *end)) {
        fprintf(stderr, "usage: %s [cpu|cuda [SEED]]\n", argv[0]);
        exit(2);
    }
    printf("repeat with: %s %s %llu\n", argv[0], o.device, (unsigned long long)o.seed);
    return o;
}

static void release(struct bench *b)
{
    while (b->memory) {
        struct bench_memory *m = b->memory;
        b->memory = m->next;
        free(m->host);
        device_release(b->device, m->device);
        free(m);
    }
}

static double bound_of(enum dtype act, bool tf32)
{
    if (act == DTYPE_F32)
        return tf32 ? 1e-3 : 1e-5;
    return act == DTYPE_BF16 ? 1e-2 : 2e-3;
}

/* What is tried, on a device of these options. */
struct trial {
    struct device_options device;
    const struct kernel_limits *shapes;
    int shape_count;
    void (*check)(struct bench *b);
};

static void run_precision(const struct bench_options *options, enum dtype act,
                          const struct trial *trial)
{
    struct bench b = {
        .act = act, .bound = bound_of(act, trial->device.tf32), .random = options->seed};
    assert_ok(device_open(&b.device, &trial->device));
    struct error *e = kernels_for(&b.k, b.device, act);
    if (e && act != DTYPE_F32) {
        print_message("no %s: %s\n", dtype_name(act), error_message(e));
        error_destroy(e);
        device_close(b.device);
        return;
    }
    assert_ok(e);
    print_message("%s%s on %s\n", b.k->name, trial->device.tune ? ", tuned," : "",
                  device_description(b.device));
    for (int i = 0; i < trial->shape_count; i++) {
        b.s = trial->shapes[i];
        assert_ok(b.k->reserve(b.device, &b.s));
        trial->check(&b);
        release(&b);
    }
    device_close(b.device);
}

void bench_run_shapes(const struct bench_options *options, const struct kernel_limits *these,
                      int shape_count, void (*check)(struct bench *b))
{
    const struct trial trial = {.device = {.kind = options->device}, .shapes = these,
                                .shape_count = shape_count, .check = check};
    run_precision(options, DTYPE_F32, &trial);
    run_precision(options, DTYPE_BF16, &trial);
    run_precision(options, DTYPE_F16, &trial);
}

void bench_run(const struct bench_options *options, void (*check)(struct bench *b))
{
    const struct trial trial = {.device = {.kind = options->device, .tf32 = true},
                                .shapes = shapes, .shape_count = SHAPES, .check = check};
    bench_run_shapes(options, shapes, SHAPES, check);
    if (strcmp(options->device, "cpu"))
        run_precision(options, DTYPE_F32, &trial);
}

void bench_run_tuned(const struct bench_options *options, enum dtype act,
                     const struct kernel_limits *tuned_shapes, int shape_count,
                     void (*check)(struct bench *b))
{
    const struct trial trial = {.device = {.kind = options->device, .tune = true},
                                .shapes = tuned_shapes ? tuned_shapes : shapes,
                                .shape_count = tuned_shapes ? shape_count : SHAPES,
                                .check = check};
    run_precision(options, act, &trial);
}

double bench_uniform(struct bench *b)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (double)(b->random >> 11) * 0x1p-52 - 1.0;
}

static struct bench_memory *remember(struct bench *b)
{
    struct bench_memory *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->next = b->memory;
    b->memory = m;
    return m;
}

void *bench_host(struct bench *b, size_t bytes)
{
    struct bench_memory *m = remember(b);
    m->host = calloc(bytes + 1, 1);
    assert_non_null(m->host);
    return m->host;
}

double *bench_zeros(struct bench *b, int64_t n)
{
    return bench_host(b, (size_t)n * sizeof(double));
}

static float rounded(enum dtype act, float x)
{
    if (act == DTYPE_BF16)
        return bf16_to_float(bf16_from_float(x));
    return act == DTYPE_F16 ? f16_to_float(f16_from_float(x)) : x;
}

float *bench_values(struct bench *b, int64_t n, double scale)
{
    float *x = bench_host(b, (size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = rounded(b->act, (float)(scale * bench_uniform(b)));
    return x;
}

/* On the CPU memory of its own for each array, so that AddressSanitizer knows where it ends. */
static void *device_memory(struct bench *b, size_t bytes)
{
    if (!strcmp(device_kind(b->device), "cpu"))
        return bench_host(b, bytes);
    struct bench_memory *m = remember(b);
    assert_ok(device_allocate(b->device, &m->device, bytes, "an array of a test"));
    return m->device;
}

void *bench_put(struct bench *b, const void *host, size_t bytes)
{
    void *memory = device_memory(b, bytes);
    device_copy_in(b->device, memory, host, bytes);
    assert_ok(device_synchronize(b->device));
    return memory;
}

float *bench_put_floats(struct bench *b, const float *x, int64_t n)
{
    return bench_put(b, x, (size_t)n * sizeof *x);
}

void *bench_act(struct bench *b, const float *x, int64_t n)
{
    if (b->act == DTYPE_F32)
        return bench_put_floats(b, x, n);
    uint16_t *a = bench_host(b, (size_t)n * sizeof *a);
    for (int64_t i = 0; i < n; i++)
        a[i] = b->act == DTYPE_BF16 ? bf16_from_float(x[i]) : f16_from_float(x[i]);
    return bench_put(b, a, (size_t)n * sizeof *a);
}

/* A huge number in fp32 and bf16, not a number in fp16. */
void *bench_garbage(struct bench *b, size_t bytes)
{
    void *host = bench_host(b, bytes);
    memset(host, 0x7f, bytes);
    return bench_put(b, host, bytes);
}

void *bench_new_act(struct bench *b, int64_t n)
{
    return bench_garbage(b, (size_t)n * dtype_bytes(b->act));
}

float *bench_new_floats(struct bench *b, int64_t n)
{
    return bench_garbage(b, (size_t)n * sizeof(float));
}

void *bench_get(struct bench *b, const void *device, size_t bytes)
{
    void *host = bench_host(b, bytes);
    device_copy_out(b->device, host, device, bytes);
    assert_ok(device_synchronize(b->device));
    return host;
}

float *bench_get_act(struct bench *b, const void *device, int64_t n)
{
    const void *a = bench_get(b, device, (size_t)n * dtype_bytes(b->act));
    float *x = bench_host(b, (size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = b->act == DTYPE_F32    ? ((const float *)a)[i]
               : b->act == DTYPE_BF16 ? bf16_to_float(((const uint16_t *)a)[i])
                                      : f16_to_float(((const uint16_t *)a)[i]);
    return x;
}

/* A handful of values may all be small by cancellation: their errors count against what went in,
 * which is near 1. */
static void compare(struct bench *b, const char *what, const float *got, const double *expected,
                    int64_t n)
{
    enum { HANDFUL = 16 };
    double norm = 0;
    float *e = bench_host(b, (size_t)n * sizeof *e);
    for (int64_t i = 0; i < n; i++) {
        e[i] = (float)expected[i];
        norm += expected[i] * expected[i] / (double)n;
    }
    const bool cancelled = n < HANDFUL && norm > 0 && norm < 1;
    assert_close(what, got, e, n, cancelled ? b->bound / sqrt(norm) : b->bound);
}

void check_act(struct bench *b, const char *what, const void *got, const double *expected,
               int64_t n)
{
    compare(b, what, bench_get_act(b, got, n), expected, n);
}

void check_floats(struct bench *b, const char *what, const float *got, const double *expected,
                  int64_t n)
{
    compare(b, what, bench_get(b, got, (size_t)n * sizeof *got), expected, n);
}

struct dropout bench_dropout(const struct bench *b, bool on)
{
    return dropout_at(on ? 0.3f : 0, 11, 5, 2, DROPOUT_ATTENTION, 3, b->s.T);
}

double bench_kept(const struct dropout *d, int64_t b, int64_t position, int64_t head, int64_t i)
{
    uint32_t words[4];
    if (d->threshold == 0)
        return 1;
    dropout_bits(d->key, (uint32_t)(i / 8), (uint32_t)position, (uint32_t)(d->first_sample + b),
                 (uint32_t)head, words);
    const uint32_t bits = words[i % 8 / 2] >> (i % 2 ? 16 : 0) & 0xffff;
    return bits < d->threshold ? 0 : (double)d->scale;
}
