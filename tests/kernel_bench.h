/*
 * kernel_bench.h - a bench to try the kernels of any device on: values in host memory, their copies
 * in device memory, and comparison of what comes back with float64.
 *
 * A test program takes [DEVICE [SEED]]: "cpu" (the default) or "cuda", which is skipped (exit code
 * 77) where no GPU is visible; SEED repeats a run, else it is a new one each time and printed.
 * Outputs are filled with garbage before, so that what a kernel leaves out is seen.
 */
#ifndef GALLEY_TESTS_KERNEL_BENCH_H
#define GALLEY_TESTS_KERNEL_BENCH_H

#include "testing.h"

#include "kernels/kernels.h"

struct bench_memory;

struct bench {
    struct device *device;
    const struct kernels *k;
    enum dtype act;
    struct kernel_limits s;        /* the shape that is tried */
    double bound;                  /* on relative errors */
    uint64_t random;
    struct bench_memory *memory;
};

/* From main's arguments; exits with 77 if the device is not there, with 2 if they are wrong. */
struct bench_options {
    const char *device;
    uint64_t seed;
};
struct bench_options bench_arguments(int argc, char **argv);

/* Calls `check` with a bench for every precision of the device (on a GPU also fp32 with TF32
 * products) and every shape; what it allocated is released after each call. */
void bench_run(const struct bench_options *options, void (*check)(struct bench *b));

/* The same for these shapes, without TF32. */
void bench_run_shapes(const struct bench_options *options, const struct kernel_limits *these,
                      int shape_count, void (*check)(struct bench *b));

/* The same in one precision, for these shapes (NULL: all of bench_run's), on a device that looks for
 * the fastest way, which takes several times as long. */
void bench_run_tuned(const struct bench_options *options, enum dtype act,
                     const struct kernel_limits *tuned_shapes, int shape_count,
                     void (*check)(struct bench *b));

/* Uniform in [-1, 1). */
double bench_uniform(struct bench *b);
/* Zeroed host memory, until the check returns. */
void *bench_host(struct bench *b, size_t bytes);
/* n host values in [-scale, scale), rounded to what the activation type holds. */
float *bench_values(struct bench *b, int64_t n, double scale);
/* Device memory, until the check returns: a copy; n values as activations; garbage. */
void *bench_put(struct bench *b, const void *host, size_t bytes);
void *bench_act(struct bench *b, const float *x, int64_t n);
void *bench_garbage(struct bench *b, size_t bytes);
/* The same garbage, for n activations or floats. */
void *bench_new_act(struct bench *b, int64_t n);
float *bench_new_floats(struct bench *b, int64_t n);
float *bench_put_floats(struct bench *b, const float *x, int64_t n);
/* A host copy of device memory, after all kernels; activations as floats. */
void *bench_get(struct bench *b, const void *device, size_t bytes);
float *bench_get_act(struct bench *b, const void *device, int64_t n);
double *bench_zeros(struct bench *b, int64_t n);

/* What is in device memory against float64, within the bench's bound. */
void check_act(struct bench *b, const char *what, const void *got, const double *expected,
               int64_t n);
void check_floats(struct bench *b, const char *what, const float *got, const double *expected,
                  int64_t n);

/* None, or some of a micro-batch that begins at sample 3 of its global batch; and what it
 * multiplies element i of row (b, position, head) with, from the contract, bit by bit. */
struct dropout bench_dropout(const struct bench *b, bool on);
double bench_kept(const struct dropout *d, int64_t b, int64_t position, int64_t head, int64_t i);

#endif
