/* table.c - fills the kernel tables of a CPU device and holds what they share. */
#include "kernels/cpu/cpu.h"

#include "kernels/cpu/isa.h"
#include "kernels/tables.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every slot in both precisions: SLOT(name, f) makes f's two instances. */
#define SLOT(slot, call)                                                                           \
    static void slot##_f32(struct device *d, const struct slot *a)                                 \
    {                                                                                              \
        call(d, DTYPE_F32, a);                                                                     \
    }                                                                                              \
    static void slot##_bf16(struct device *d, const struct slot *a)                                \
    {                                                                                              \
        call(d, DTYPE_BF16, a);                                                                    \
    }

SLOT(embed_forward, cpu_state(d)->simd->embed_forward)
SLOT(embed_backward, cpu_state(d)->simd->embed_backward)
SLOT(layernorm_forward, cpu_state(d)->simd->layernorm_forward)
SLOT(layernorm_backward, cpu_state(d)->simd->layernorm_backward)
SLOT(linear_forward, cpu_linear_forward)
SLOT(linear_backward, cpu_linear_backward)
SLOT(attention_forward, cpu_state(d)->simd->attention_forward)
SLOT(attention_backward, cpu_state(d)->simd->attention_backward)
SLOT(attention_decode, cpu_state(d)->simd->attention_decode)
SLOT(classifier, cpu_classifier)
SLOT(sum_losses, cpu_sum_losses)
SLOT(logits_forward, cpu_logits_forward)
SLOT(draw, cpu_draw)
SLOT(largest, cpu_largest)
SLOT(plan_update, cpu_plan_update)
SLOT(adam, cpu_state(d)->simd->adam)
SLOT(add, cpu_state(d)->simd->add)
SLOT(convert, cpu_state(d)->simd->convert)
SLOT(sum_of_squares, cpu_state(d)->simd->sum_of_squares)
SLOT(checksum, cpu_state(d)->simd->checksum)

struct cpu_state *cpu_state(struct device *device)
{
    return device_attached(device);
}

float *cpu_thread_scratch(struct device *device, int64_t floats)
{
    struct cpu_state *s = cpu_state(device);
    if ((size_t)floats * sizeof(float) > s->thread_bytes)
        BUG("a kernel needs %lld floats of scratch, %zu bytes are reserved", (long long)floats,
            s->thread_bytes);
    return (float *)(void *)((char *)s->per_thread +
                             (size_t)omp_get_thread_num() * s->thread_bytes);
}

void *cpu_shared_scratch(struct device *device, size_t bytes)
{
    struct cpu_state *s = cpu_state(device);
    if (bytes > s->shared_bytes)
        BUG("a kernel needs %zu bytes of scratch, %zu are reserved", bytes, s->shared_bytes);
    return s->shared;
}

static size_t parts_bytes(int64_t rows, int64_t columns)
{
    return (size_t)(FEW_ROWS_PARTS * rows * few_rows_padded(columns)) * sizeof(float);
}

void cpu_matmul(struct device *device, const char *kernel, const struct matmul *product)
{
    struct cpu_state *s = cpu_state(device);
    if (product->M == 0 || product->N == 0)
        return;
    if (product->M <= FEW_ROWS && !product->transpose_a && !product->accumulate) {
        if (!product->transpose_b && parts_bytes(product->M, product->N) > s->parts_bytes)
            BUG("a product of %lld rows and %lld columns needs more scratch than %zu bytes",
                (long long)product->M, (long long)product->N, s->parts_bytes);
        s->simd->few_rows(product, s->parts);
        return;
    }
    struct error *e = matmul_run(s->matmul, product);
    if (e)
        device_fail(device, error_context(e, "in kernel %s", kernel));
}

int64_t attention_scratch_floats(int64_t T, int64_t HS)
{
    const int64_t Tp = (T + 31) / 32 * 32, HSp = (HS + 31) / 32 * 32;
    return 8 * Tp * HSp + 2 * 32 * Tp + 32 * HSp + Tp;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Makes sure that scratch has so many bytes a piece. */
static struct error *grow(struct device *device, void **scratch, size_t *have, size_t bytes,
                          size_t pieces, const char *purpose)
{
    void *memory;
    if (bytes <= *have)
        return NULL;
    TRY(device_allocate(device, &memory, bytes * pieces, purpose));
    device_release(device, *scratch);
    *scratch = memory;
    *have = bytes;
    return NULL;
}

static struct error *reserve(struct device *device, const struct kernel_limits *limits,
                             enum dtype act)
{
    struct cpu_state *s = cpu_state(device);
    const size_t threads = (size_t)device_threads(device);
    const size_t C = (size_t)limits->C, page = 4096;

    size_t thread_bytes = (size_t)attention_scratch_floats(limits->T, limits->HS);
    thread_bytes = larger(thread_bytes, 4 * C);
    thread_bytes = larger(thread_bytes, (size_t)limits->T + 4 * (size_t)limits->HS);
    thread_bytes = larger(thread_bytes, (size_t)limits->V);
    thread_bytes = (thread_bytes * sizeof(float) + page - 1) & ~(page - 1);
    TRY(grow(device, &s->per_thread, &s->thread_bytes, thread_bytes, threads,
             "kernel scratch of threads"));

    size_t shared_bytes = cpu_classifier_scratch_bytes(act, limits->C, limits->V, limits->tied);
    shared_bytes = larger(shared_bytes, threads * 2 * C * sizeof(float));
    TRY(grow(device, &s->shared, &s->shared_bytes, shared_bytes, 1, "kernel scratch"));

    size_t columns = larger(C, (size_t)limits->F);
    columns = larger(columns, 3 * (size_t)limits->NH * (size_t)limits->HS);
    columns = limits->tied ? columns : larger(columns, (size_t)limits->V);
    return grow(device, &s->parts, &s->parts_bytes, parts_bytes(FEW_ROWS, (int64_t)columns), 1,
                "kernel scratch of few rows");
}

static struct error *reserve_f32(struct device *device, const struct kernel_limits *limits)
{
    return reserve(device, limits, DTYPE_F32);
}

static struct error *reserve_bf16(struct device *device, const struct kernel_limits *limits)
{
    return reserve(device, limits, DTYPE_BF16);
}

#define TABLE(type)                                                                                \
    {                                                                                              \
        .reserve = reserve_##type, .embed_forward = embed_forward_##type,                          \
        .embed_backward = embed_backward_##type, .layernorm_forward = layernorm_forward_##type,    \
        .layernorm_backward = layernorm_backward_##type, .linear_forward = linear_forward_##type,  \
        .linear_backward = linear_backward_##type, .attention_forward = attention_forward_##type,  \
        .attention_backward = attention_backward_##type,                                           \
        .attention_decode = attention_decode_##type, .classifier = classifier_##type,              \
        .sum_losses = sum_losses_##type, .logits_forward = logits_forward_##type,                  \
        .draw = draw_##type, .largest = largest_##type,                                        \
        .plan_update = plan_update_##type, .adam = adam_##type, .convert = convert_##type,         \
        .sum_of_squares = sum_of_squares_##type, .checksum = checksum_##type, .add = add_##type,   \
    }

static const struct kernels tables[2] = {[DTYPE_F32] = TABLE(f32), [DTYPE_BF16] = TABLE(bf16)};

static const struct simd_kernels *best_simd(void)
{
    int i = 0;
    while (simd_sets[i + 1] && !simd_sets[i]->supported())
        i++;
    return simd_sets[i];
}

static void destroy_state(void *self)
{
    struct cpu_state *s = self;
    matmul_engine_destroy(s->matmul);
    free(s);
}

static struct error *attach_state(struct device *device)
{
    struct cpu_state *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory for the CPU kernels (%zu bytes)", sizeof *s);
    struct error *e = matmul_engine_create(&s->matmul);
    if (e) {
        free(s);
        return e;
    }
    s->simd = best_simd();
    for (int type = DTYPE_F32; type <= DTYPE_BF16; type++) {
        snprintf(s->names[type], sizeof s->names[type], "cpu %s, %s, %s",
                 dtype_name((enum dtype)type), s->simd->isa, matmul_engine_name(s->matmul));
        s->tables[type] = tables[type];
        s->tables[type].name = s->names[type];
        s->tables[type].activation = (enum dtype)type;
        s->tables[type].head_alignment = 1;
    }
    device_attach(device, s, destroy_state);
    return NULL;
}

struct error *kernels_for_cpu(const struct kernels **out, struct device *device,
                              enum dtype activation)
{
    if (!device_attached(device))
        TRY(attach_state(device));
    struct cpu_state *s = cpu_state(device);
    if (activation == DTYPE_F16)
        return error_new(ERROR_USAGE, "fp16 needs a GPU; set train.precision to bf16 or fp32");
    if (activation == DTYPE_BF16 && !matmul_engine_has_bf16(s->matmul))
        return error_new(ERROR_DEVICE, "%s has no bf16 matrix products on this processor; set "
                         "train.precision to fp32", matmul_engine_name(s->matmul));
    *out = &s->tables[activation];
    return NULL;
}
