/*
 * philox.h - random numbers as a function of a counter: no state, so any draw can be made alone.
 *
 * Philox4x32-10 of Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3"
 * (2011), section 3.3: ten rounds of two 32 x 32 bit products. It passes BigCrush, and its key and
 * counter have room for a seed and two indices as they are. Inline, as kernels of every back-end
 * draw from it.
 */
#ifndef GALLEY_BASE_PHILOX_H
#define GALLEY_BASE_PHILOX_H

#include "base/inline.h"

#include <stdint.h>

/* The four random words of a counter under a key. */
INLINE_EVERYWHERE void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t x0 = counter[0], x1 = counter[1], x2 = counter[2], x3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * x0;
        const uint64_t b = (uint64_t)0xCD9E8D57u * x2;
        x0 = (uint32_t)(b >> 32) ^ x1 ^ k0;
        x1 = (uint32_t)b;
        x2 = (uint32_t)(a >> 32) ^ x3 ^ k1;
        x3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = x0;
    out[1] = x1;
    out[2] = x2;
    out[3] = x3;
}

/* Uniform in [0, 1), 53 bits: the number of (seed, i, j). */
INLINE_EVERYWHERE double philox_uniform(uint64_t seed, uint64_t i, uint64_t j)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)i, (uint32_t)(i >> 32), (uint32_t)j,
                                 (uint32_t)(j >> 32)};
    uint32_t out[4];
    philox4x32(counter, key, out);
    const uint64_t bits = (uint64_t)out[1] << 32 | out[0];
    return (double)(bits >> 11) * 0x1p-53;
}

#endif
