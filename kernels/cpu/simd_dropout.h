/* simd_dropout.h - dropout of a row, for the files compiled once per instruction set. */
#ifndef GALLEY_KERNELS_CPU_SIMD_DROPOUT_H
#define GALLEY_KERNELS_CPU_SIMD_DROPOUT_H

#include "kernels/cpu/simd.h"

/* to = x with dropout: n elements of a row from its element `start`, a multiple of 8, on; `to` may
 * be x. */
static inline void drop_elements(float *to, const float *x, int64_t start, int64_t n,
                                 const struct dropout *d, uint32_t position, uint32_t sample,
                                 uint32_t head)
{
    enum { GROUPS = 32, BLOCK = 8 * GROUPS };
    const uint32_t threshold = d->threshold;
    const float scale = d->scale;
    for (int64_t first = 0; first < n; first += BLOCK) {
        uint32_t words[4 * GROUPS];
        float mask[BLOCK];
#pragma omp simd
        for (int g = 0; g < GROUPS; g++)
            dropout_bits(d->key, (uint32_t)((start + first) / 8) + (uint32_t)g, position, sample,
                         head, words + 4 * g);
        for (int w = 0; w < 4 * GROUPS; w++) {
            mask[2 * w] = (words[w] & 0xffffu) < threshold ? 0.0f : scale;
            mask[2 * w + 1] = words[w] >> 16 < threshold ? 0.0f : scale;
        }
        const int64_t count = n - first < BLOCK ? n - first : BLOCK;
        for (int64_t i = 0; i < count; i++)
            to[first + i] = x[first + i] * mask[i];
    }
}

/* The same of row n of an (N, C) tensor: x itself where nothing is dropped, else `buffer`, which
 * may be x. */
static inline const float *drop_row(const struct dropout *d, int64_t n, const float *x,
                                    int64_t start, int64_t count, float *buffer)
{
    if (d->threshold == 0)
        return x;
    drop_elements(buffer, x, start, count, d, (uint32_t)(n % d->T),
                  (uint32_t)(d->first_sample + n / d->T), 0);
    return buffer;
}

#endif
