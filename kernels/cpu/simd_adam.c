/* simd_adam.c - what walks the flat parameter buffers: Adam, rounding to bf16, sums of squares. */
#include "kernels/cpu/simd.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 4096 };

void simd_adam(struct device *device, enum dtype act, const struct adam *a)
{
    (void)device;
    const float alpha = a->alpha, epsilon = a->epsilon, keep = 1.0f - a->decay;
    const float rest1 = (float)(1.0 - a->beta1), rest2 = (float)(1.0 - a->beta2);
    const float scale = a->gradient_scale;
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

/* A fixed number of parts, whatever the threads, added in order: the same bits for any of them. */
void simd_sum_of_squares(struct device *device, enum dtype act, const struct sum_of_squares *a)
{
    (void)device;
    (void)act;
    enum { PARTS = 512 };
    double part[PARTS];
    const int64_t length = (a->count + PARTS - 1) / PARTS;
#pragma omp parallel for schedule(static)
    for (int k = 0; k < PARTS; k++) {
        const int64_t first = k * length;
        const int64_t end = first + length < a->count ? first + length : a->count;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = first; i < end; i++)
            sum += (double)a->x[i] * (double)a->x[i];
        part[k] = sum;
    }
    double total = 0;
    for (int k = 0; k < PARTS; k++)
        total += part[k];
    *a->result = total;
}
