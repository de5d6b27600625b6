/* simd_adam.c - what walks the flat parameter buffers: Adam, rounding to bf16, addition, sums,
 * hashes. */
#include "kernels/cpu/simd.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 4096 };

void simd_adam(struct device *device, enum dtype act, const struct adam *a)
{
    (void)device;
    if (a->plan->skip)
        return;
    const float alpha = a->plan->alpha, epsilon = a->epsilon;
    const float keep = a->decayed ? 1.0f - a->plan->decay : 1.0f;
    const float rest1 = (float)(1.0 - a->beta1), rest2 = (float)(1.0 - a->beta2);
    const float scale = a->plan->gradient_scale;
#pragma omp parallel for schedule(static)
    for (int64_t start = 0; start < a->count; start += BLOCK) {
        const int64_t n = a->count - start < BLOCK ? a->count - start : BLOCK;
        float *restrict p = a->weights + start;
        float *restrict m = a->m + start;
        float *restrict v = a->v + start;
        const float *restrict gradient = a->gradient + start;
        const float *restrict squares = a->squares ? a->squares + start : NULL;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const float g = gradient[i] * scale;
            const float g2 = squares ? squares[i] * scale * scale : g * g;
            m[i] += (g - m[i]) * rest1;
            v[i] += (g2 - v[i]) * rest2;
            p[i] = p[i] * keep - alpha * m[i] / (sqrtf(v[i]) + epsilon);
        }
        if (a->copy)
            store_act(act, a->copy, start, p, n);
    }
}

void simd_convert(struct device *device, enum dtype act, const struct convert *a)
{
    (void)device;
#pragma omp parallel for schedule(static)
    for (int64_t start = 0; start < a->count; start += BLOCK) {
        const int64_t n = a->count - start < BLOCK ? a->count - start : BLOCK;
        store_act(act, a->to, start, a->from + start, n);
    }
}

void simd_add(struct device *device, enum dtype act, const struct add *a)
{
    (void)device;
    (void)act;
    float *restrict y = a->y;
    const float *restrict x = a->x;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < a->count; i++)
        y[i] += x[i];
}

/* A fixed number of parts, whatever the threads, added in order: the same bits for any of them. */
void simd_sum_of_squares(struct device *device, enum dtype act, const struct sum_of_squares *a)
{
    (void)device;
    (void)act;
    enum { PARTS = 512, SUMS = 32 };    /* sums side by side, as additions of doubles take long */
    double part[PARTS];
    const int64_t length = (a->count + PARTS - 1) / PARTS;
#pragma omp parallel for schedule(static)
    for (int k = 0; k < PARTS; k++) {
        const int64_t first = k * length;
        const int64_t end = first + length < a->count ? first + length : a->count;
        double sums[SUMS] = {0};
        int64_t i = first;
        for (; i + SUMS <= end; i += SUMS)
            for (int s = 0; s < SUMS; s++)
                sums[s] += (double)a->x[i + s] * (double)a->x[i + s];
        for (; i < end; i++)
            sums[0] += (double)a->x[i] * (double)a->x[i];
        part[k] = 0;
        for (int s = 0; s < SUMS; s++)
            part[k] += sums[s];
    }
    double total = 0;
    for (int k = 0; k < PARTS; k++)
        total += part[k];
    *a->result = total;
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void simd_checksum(struct device *device, enum dtype act, const struct checksum *a)
{
    (void)device;
    (void)act;
    uint64_t sum = 0;
#pragma omp parallel for simd schedule(static) reduction(+ : sum)
    for (int64_t i = 0; i < a->count; i++) {
        uint32_t bits;
        memcpy(&bits, a->x + i, sizeof bits);
        sum += mix((uint64_t)i * 0x9E3779B97F4A7C15u + bits);
    }
    *a->result = sum;
}
