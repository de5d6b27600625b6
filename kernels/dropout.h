/*
 * dropout.h - what dropout drops: a pure function of a counter, the same in every back-end.
 *
 * Whether an element is dropped depends on (seed, step, layer, site), on its sample's index in the
 * global batch and on its place in the sample: so masks are the same for any number of ranks and
 * micro-batches and after a resume, and backward draws again what forward drew instead of keeping
 * it. Eight neighbouring elements take 16 bits each of one Philox block. What is kept is scaled up,
 * so that the expectation stays exactly what it was.
 */
#ifndef GALLEY_KERNELS_DROPOUT_H
#define GALLEY_KERNELS_DROPOUT_H

#include "base/inline.h"
#include "base/philox.h"

#include <stdint.h>

/* The places of a block, as KerasHub has them; the embedding counts as its own, of layer 0. */
enum dropout_site {
    DROPOUT_EMBEDDING,           /* the sum of token and position embedding; GPT-2 only */
    DROPOUT_PROBABILITIES,       /* of attention, after its softmax */
    DROPOUT_ATTENTION,           /* attention's output projection, before the residual sum */
    DROPOUT_FEED_FORWARD,        /* the MLP's output, before the residual sum */
};

/* One site in one micro-batch. All zero: nothing is dropped. */
struct dropout {
    uint64_t key;                /* of (seed, step, layer, site) */
    int64_t first_sample;        /* row 0 of the micro-batch is this sample of the global batch */
    int32_t T;                   /* row n of (N, C) is position n % T of sample first_sample + n / T */
    uint32_t threshold;          /* of 2^16: bits below it are dropped */
    float scale;                 /* of what is kept: 2^16 / (2^16 - threshold) */
};

/* Bijective; Steele, Lea & Flood 2014, SplitMix64. */
static inline uint64_t dropout_mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* rate in [0, 1), rounded to 2^-16; `step` counts from the run's beginning. */
static inline struct dropout dropout_at(float rate, uint64_t seed, int64_t step, int layer,
                                        enum dropout_site site, int64_t first_sample, int T)
{
    uint32_t threshold = (uint32_t)(rate * 65536.0f + 0.5f);
    threshold = threshold < 65535 ? threshold : 65535;
    const uint64_t place = (uint64_t)layer << 8 | (uint64_t)site;
    const uint64_t key = dropout_mix(dropout_mix(dropout_mix(seed) + (uint64_t)step) + place);
    struct dropout d = {key, first_sample, T, threshold, 65536.0f / (float)(65536 - threshold)};
    return d;
}

/*
 * The bits of elements 8 * group .. 8 * group + 7 of a row: element i has the low half of word i /
 * 2 where i is even, the high half where it is odd, and is dropped where they are below the
 * threshold. A row is (sample of the global batch, position, 0) of an (N, C) tensor and (sample,
 * query, head) of attention probabilities, whose elements are keys.
 */
INLINE_EVERYWHERE void dropout_bits(uint64_t key, uint32_t group, uint32_t position,
                                    uint32_t sample, uint32_t head, uint32_t words[4])
{
    const uint32_t key_words[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    const uint32_t counter[4] = {group, position, sample, head};
    philox4x32(counter, key_words, words);
}

#endif
