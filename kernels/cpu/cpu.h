/*
 * cpu.h - what the CPU kernels share: their state on the device, scratch memory, and the list of
 * kernels that each instruction set is compiled for.
 *
 * The files simd_*.c are compiled once for every instruction set worth having (CMakeLists.txt
 * beside this file) with KERNELS_ISA set to its name, which becomes part of every function's name.
 * table.c chooses one set when the program starts.
 */
#ifndef GALLEY_KERNELS_CPU_CPU_H
#define GALLEY_KERNELS_CPU_CPU_H

#include "kernels/cpu/matmul.h"
#include "kernels/kernels.h"

struct simd_kernels;

struct cpu_state {
    struct matmul_engine *matmul;
    const struct simd_kernels *simd;
    struct kernels tables[2];         /* by enum dtype */
    char names[2][64];

    /* Scratch, by reserve: one region for all, one for each thread. */
    void *shared;
    size_t shared_bytes;
    void *per_thread;
    size_t thread_bytes;
    void *parts;               /* of products of few rows */
    size_t parts_bytes;
};

struct cpu_state *cpu_state(struct device *device);
/* Scratch of the calling OpenMP thread: at least `floats` of them, aligned to 64 bytes. */
float *cpu_thread_scratch(struct device *device, int64_t floats);
/* The shared scratch; asking for more than was reserved is a bug. */
void *cpu_shared_scratch(struct device *device, size_t bytes);
/* Products of so few rows are our own: weights are read from memory once a row at most, and from
 * the cache for the others. */
enum { FEW_ROWS = 4, FEW_ROWS_PARTS = 8 };
/* Sums of N columns, a whole number of cache lines apart. */
static inline int64_t few_rows_padded(int64_t N)
{
    return (N + 15) / 16 * 16;
}
/* One product: by the library, a failure latched in the device and named by the kernel that asked;
 * or by ourselves, if it has few rows. */
void cpu_matmul(struct device *device, const char *kernel, const struct matmul *product);

/* Rows of the classifier that are computed at a time. 512 rows of logits stay in the last-level
 * cache; fewer make the products slower (Zen 4, 2 cores: dweight 170 GFLOP/s at 256 rows, 198 at
 * 512). */
enum { CLASSIFIER_TILE = 512 };

/* What the classifier needs of the shared scratch. */
size_t cpu_classifier_scratch_bytes(enum dtype act, int64_t C, int64_t V, bool transposed);
/* What a thread's attention needs, in floats; for reserve. */
int64_t attention_scratch_floats(int64_t T, int64_t HS);

/* The kernels that profit from the instruction set, one table for each. `act` is the type of the
 * activations. */
struct simd_kernels {
    const char *isa;
    bool (*supported)(void);
    void (*embed_forward)(struct device *, enum dtype act, const struct embed_forward *);
    void (*embed_backward)(struct device *, enum dtype act, const struct embed_backward *);
    void (*layernorm_forward)(struct device *, enum dtype act, const struct layernorm_forward *);
    void (*layernorm_backward)(struct device *, enum dtype act, const struct layernorm_backward *);
    void (*attention_forward)(struct device *, enum dtype act, const struct attention_forward *);
    void (*attention_backward)(struct device *, enum dtype act, const struct attention_backward *);
    void (*attention_decode)(struct device *, enum dtype act, const struct attention_decode *);
    void (*adam)(struct device *, enum dtype act, const struct adam *);
    void (*convert)(struct device *, enum dtype act, const struct convert *);
    void (*sum_of_squares)(struct device *, enum dtype act, const struct sum_of_squares *);
    void (*checksum)(struct device *, enum dtype act, const struct checksum *);
    void (*add)(struct device *, enum dtype act, const struct add *);

    /* Parts of the linear and classifier kernels beside their matrix products. */
    /* y = gelu(pre), n elements. */
    void (*gelu)(enum dtype act, void *y, const void *pre, int64_t n);
    /* dx *= derivative of the activation at `saved` (RELU: its output, GELU: its input). */
    void (*activation_backward)(enum dtype act, enum activation activation, void *dx,
                                const void *saved, int64_t n);
    /* sums += column sums of dy (N, M). */
    void (*column_sums)(enum dtype act, float *sums, const void *dy, int64_t N, int M);
    /* to (rows, columns) += the transpose of from (columns, rows). */
    void (*add_transposed)(float *to, const float *from, int64_t rows, int64_t columns);
    /* losses, correct, and dz = (softmax(z) - onehot) * mask * gradient_scale where dz is given, of
     * `rows` rows of logits (rows, V), which are overwritten. dz may be z itself in fp32. */
    void (*cross_entropy)(enum dtype act, float *z, void *dz, float *losses, uint8_t *correct,
                          const int32_t *targets, const uint8_t *mask, float gradient_scale,
                          int64_t rows, int V);
    /* A product of M rows, at most FEW_ROWS, neither accumulated nor with a transposed. `parts`:
     * scratch of (FEW_ROWS_PARTS, M, few_rows_padded(N)) floats; of a transposed b not used. */
    void (*few_rows)(const struct matmul *, float *parts);
};

/* The kernels built from matrix products, for any instruction set. */
void cpu_linear_forward(struct device *, enum dtype act, const struct linear_forward *);
void cpu_linear_backward(struct device *, enum dtype act, const struct linear_backward *);
void cpu_classifier(struct device *, enum dtype act, const struct classifier *);
void cpu_logits_forward(struct device *, enum dtype act, const struct logits_forward *);
/* The choice of tokens; the types of activations do not matter. */
void cpu_draw(struct device *, enum dtype act, const struct draw *);
void cpu_largest(struct device *, enum dtype act, const struct largest *);
/* What a step sums up and decides. */
void cpu_sum_losses(struct device *, enum dtype act, const struct sum_losses *);
void cpu_plan_update(struct device *, enum dtype act, const struct plan_update *);

#endif
