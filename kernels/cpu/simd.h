/*
 * simd.h - for the files compiled once per instruction set: names, vectors, rows in fp32, exp.
 *
 * KERNELS_ISA and VECTOR_BYTES come from the build. Loops are plain C that the compiler vectorizes;
 * `vec` is for the one place where registers must be blocked by hand (attention's products).
 */
#ifndef GALLEY_KERNELS_CPU_SIMD_H
#define GALLEY_KERNELS_CPU_SIMD_H

#include "kernels/cpu/cpu.h"

#include <stdint.h>

#define SIMD_JOIN_(name, isa) name##_##isa
#define SIMD_JOIN(name, isa) SIMD_JOIN_(name, isa)
#define SIMD(name) SIMD_JOIN(name, KERNELS_ISA)

/* Every function that simd_table.c collects. */
#define simd_embed_forward SIMD(simd_embed_forward)
#define simd_embed_backward SIMD(simd_embed_backward)
#define simd_layernorm_forward SIMD(simd_layernorm_forward)
#define simd_layernorm_backward SIMD(simd_layernorm_backward)
#define simd_attention_forward SIMD(simd_attention_forward)
#define simd_attention_backward SIMD(simd_attention_backward)
#define simd_attention_decode SIMD(simd_attention_decode)
#define simd_adam SIMD(simd_adam)
#define simd_convert SIMD(simd_convert)
#define simd_sum_of_squares SIMD(simd_sum_of_squares)
#define simd_checksum SIMD(simd_checksum)
#define simd_add SIMD(simd_add)
#define simd_gelu SIMD(simd_gelu)
#define simd_activation_backward SIMD(simd_activation_backward)
#define simd_column_sums SIMD(simd_column_sums)
#define simd_add_transposed SIMD(simd_add_transposed)
#define simd_cross_entropy SIMD(simd_cross_entropy)
#define simd_few_rows SIMD(simd_few_rows)

void simd_embed_forward(struct device *, enum dtype act, const struct embed_forward *);
void simd_embed_backward(struct device *, enum dtype act, const struct embed_backward *);
void simd_layernorm_forward(struct device *, enum dtype act, const struct layernorm_forward *);
void simd_layernorm_backward(struct device *, enum dtype act, const struct layernorm_backward *);
void simd_attention_forward(struct device *, enum dtype act, const struct attention_forward *);
void simd_attention_backward(struct device *, enum dtype act, const struct attention_backward *);
void simd_attention_decode(struct device *, enum dtype act, const struct attention_decode *);
void simd_adam(struct device *, enum dtype act, const struct adam *);
void simd_convert(struct device *, enum dtype act, const struct convert *);
void simd_sum_of_squares(struct device *, enum dtype act, const struct sum_of_squares *);
void simd_checksum(struct device *, enum dtype act, const struct checksum *);
void simd_add(struct device *, enum dtype act, const struct add *);
void simd_gelu(enum dtype act, void *y, const void *pre, int64_t n);
void simd_activation_backward(enum dtype act, enum activation activation, void *dx,
                              const void *saved, int64_t n);
void simd_column_sums(enum dtype act, float *sums, const void *dy, int64_t N, int M);
void simd_add_transposed(float *to, const float *from, int64_t rows, int64_t columns);
void simd_cross_entropy(enum dtype act, float *z, void *dz, float *losses, uint8_t *correct,
                        const int32_t *targets, const uint8_t *mask, float gradient_scale,
                        int64_t rows, int V);
void simd_few_rows(const struct matmul *, float *parts);

enum { LANES = VECTOR_BYTES / 4 };
typedef float vec __attribute__((vector_size(VECTOR_BYTES), aligned(4)));

/* n elements between the activation type and fp32. */
static inline void load_act(enum dtype act, float *to, const void *from, int64_t start, int64_t n)
{
    if (act == DTYPE_F32) {
        const float *f = (const float *)from + start;
        for (int64_t i = 0; i < n; i++)
            to[i] = f[i];
    } else {
        const uint16_t *b = (const uint16_t *)from + start;
        for (int64_t i = 0; i < n; i++)
            to[i] = bf16_to_float(b[i]);
    }
}

static inline void store_act(enum dtype act, void *to, int64_t start, const float *from, int64_t n)
{
    if (act == DTYPE_F32) {
        float *f = (float *)to + start;
        for (int64_t i = 0; i < n; i++)
            f[i] = from[i];
    } else {
        uint16_t *b = (uint16_t *)to + start;
        for (int64_t i = 0; i < n; i++)
            b[i] = bf16_from_float(from[i]);
    }
}

/* n elements from `start` as fp32 to read: in place where they are fp32, else through `buffer`. */
static inline const float *read_row(enum dtype act, const void *from, int64_t start, int64_t n,
                                    float *buffer)
{
    if (act == DTYPE_F32)
        return (const float *)from + start;
    load_act(act, buffer, from, start, n);
    return buffer;
}

/* The same of a sum of two, the second of which may be absent. */
static inline const float *read_sum(enum dtype act, const void *from, const void *more,
                                    int64_t start, int64_t n, float *buffer, float *more_buffer)
{
    const float *x = read_row(act, from, start, n, buffer);
    if (!more)
        return x;
    const float *y = read_row(act, more, start, n, more_buffer);
    for (int64_t i = 0; i < n; i++)
        buffer[i] = x[i] + y[i];
    return buffer;
}

/* Where to compute n elements that go to `start`: in place or in `buffer`; then finish_row. */
static inline float *write_row(enum dtype act, void *to, int64_t start, float *buffer)
{
    return act == DTYPE_F32 ? (float *)to + start : buffer;
}

static inline void finish_row(enum dtype act, void *to, int64_t start, const float *row, int64_t n)
{
    if (act != DTYPE_F32)
        store_act(act, to, start, row, n);
}

/* exp(x) with a relative error under 2e-7; x is clamped to where the result is a normal number.
 * Range reduction to [-ln2/2, ln2/2] and the polynomial of Cephes' expf (Moshier). */
static inline float exp_fast(float x)
{
    const float magic = 12582912.0f;    /* 1.5 * 2^23: adding it rounds to an integer */
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const union {
        float value;
        uint32_t bits;      /* whose lowest are that integer; read so, as a NaN has none */
    } rounded = {.value = x * 1.44269504f + magic};
    const float n = rounded.value - magic;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    const union {
        uint32_t bits;
        float value;
    } power = {.bits = (rounded.bits + 127) << 23};
    return ((p * r * r + r) + 1.0f) * power.value;
}

#endif
