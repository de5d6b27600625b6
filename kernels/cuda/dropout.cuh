/* dropout.cuh - dropout of some neighbouring elements of a row. */
#ifndef GALLEY_KERNELS_CUDA_DROPOUT_CUH
#define GALLEY_KERNELS_CUDA_DROPOUT_CUH

#include "kernels/dropout.h"

#include <cstdint>

/* What element i of a group of eight is multiplied with. */
__device__ inline float dropout_factor(const struct dropout &d, const uint32_t words[4], int i)
{
    const uint32_t word = i < 4 ? (i < 2 ? words[0] : words[1]) : (i < 6 ? words[2] : words[3]);
    return (word >> (i % 2 * 16) & 0xffffu) < d.threshold ? 0.0f : d.scale;
}

/* x[0..W-1], elements `first` and on of a row; W divides `first` and 8. Whole rows of an (N, C)
 * tensor have head 0. */
template <int W>
__device__ inline void drop(float *x, const struct dropout &d, uint32_t first, uint32_t position,
                            uint32_t sample, uint32_t head)
{
    uint32_t words[4];
    dropout_bits(d.key, first / 8, position, sample, head, words);
#pragma unroll
    for (int i = 0; i < W; i++)
        x[i] *= dropout_factor(d, words, (int)(first % 8) + i);
}

/* The same for columns c.. of row n of an (N, C) tensor; nothing where nothing is dropped. */
template <int W>
__device__ inline void drop_in_row(float *x, const struct dropout &d, int64_t n, int c)
{
    if (d.threshold)
        drop<W>(x, d, (uint32_t)c, (uint32_t)(n % d.T), (uint32_t)(d.first_sample + n / d.T), 0);
}

#endif
