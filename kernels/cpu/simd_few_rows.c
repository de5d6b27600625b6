/*
 * simd_few_rows.c - matrix products with few rows, as decoding has them: each weight is read once,
 * and reading them is all that takes time.
 *
 * A library's product packs its operands, which here costs more than the product: with one row of
 * bf16 oneDNN reads weights at 3.5 GB/s.
 */
#include "kernels/cpu/simd.h"

#include <omp.h>
#include <string.h>

enum {
    PAIR = 2 * LANES,
    COLUMNS = 64 * PAIR,    /* sums of a block, which stay in the first-level cache */
    STEP = 8,               /* rows of b added to a sum between its load and its store */
};

#define ALWAYS_INLINE __attribute__((always_inline)) static inline

typedef uint32_t word_vec __attribute__((vector_size(VECTOR_BYTES), aligned(2)));

ALWAYS_INLINE float element(const void *from, int64_t i, bool bf16)
{
    return bf16 ? bf16_to_float(((const uint16_t *)from)[i]) : ((const float *)from)[i];
}

/* PAIR elements from `i` on: of fp32 the first half and the second; of bf16 the even ones and the
 * odd ones, as the halves of a word become floats by a shift and a mask. */
struct pair {
    vec x, y;
};

ALWAYS_INLINE struct pair pair_at(const void *from, int64_t i, bool bf16)
{
    if (!bf16) {
        const float *f = (const float *)from + i;
        return (struct pair){*(const vec *)f, *(const vec *)(f + LANES)};
    }
    const word_vec words = *(const word_vec *)(const void *)((const uint16_t *)from + i);
    return (struct pair){(vec)(words << 16), (vec)(words & 0xffff0000u)};
}

/* Even and odd ones of n elements, n a multiple of PAIR, back in order. */
static void put_in_order(float *sums, int64_t n)
{
    for (int64_t start = 0; start < n; start += PAIR) {
        float mixed[PAIR];
        memcpy(mixed, sums + start, sizeof mixed);
        for (int i = 0; i < LANES; i++) {
            sums[start + 2 * i] = mixed[i];
            sums[start + 2 * i + 1] = mixed[LANES + i];
        }
    }
}

/* sums (columns) += rows k..k + steps - 1 of b, from column `first` on, times those elements of a
 * row. Whole pairs of columns stand in pair_at's order. */
ALWAYS_INLINE void add_rows(float *restrict sums, const struct matmul *p, int64_t row, int64_t k,
                            int64_t first, int64_t columns, int steps, bool bf16)
{
    const int64_t N = p->N, at = k * N + first;
    float a[STEP];
    for (int i = 0; i < steps; i++)
        a[i] = element(p->a, row * p->K + k + i, bf16);
    int64_t c = 0;
    for (; c + PAIR <= columns; c += PAIR) {
        vec *sum = (vec *)(sums + c);
        vec x = sum[0], y = sum[1];
        for (int i = 0; i < steps; i++) {
            const struct pair b = pair_at(p->b, at + i * N + c, bf16);
            x += a[i] * b.x;
            y += a[i] * b.y;
        }
        sum[0] = x;
        sum[1] = y;
    }
    for (; c < columns; c++)
        for (int i = 0; i < steps; i++)
            sums[c] += a[i] * element(p->b, at + i * N + c, bf16);
}

/* sums (columns) = row `row` of a . the columns of b from `first` on. */
ALWAYS_INLINE void product_columns(float *restrict sums, const struct matmul *p, int64_t row,
                                   int64_t first, int64_t columns, bool bf16)
{
    memset(sums, 0, (size_t)columns * sizeof *sums);
    int64_t k = 0;
    for (; k + STEP <= p->K; k += STEP)
        add_rows(sums, p, row, k, first, columns, STEP, bf16);
    for (; k < p->K; k++)
        add_rows(sums, p, row, k, first, columns, 1, bf16);
    if (bf16)
        put_in_order(sums, columns / PAIR * PAIR);
}

ALWAYS_INLINE float sum_of_lanes(vec v)
{
    float lanes[LANES];
    memcpy(lanes, &v, sizeof lanes);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lanes[i] += lanes[i + width];
    return lanes[0];
}

/* Row `row` of a . row `column` of b, which is transposed. Four sums hide the latency of additions;
 * one row of b at a time is what the processor's prefetching follows best. */
ALWAYS_INLINE float dot_row(const struct matmul *p, int64_t row, int64_t column, bool bf16)
{
    const int64_t K = p->K, a = row * K, b = column * K;
    vec s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    int64_t k = 0;
    for (; k + 2 * PAIR <= K; k += 2 * PAIR) {
        const struct pair x0 = pair_at(p->a, a + k, bf16), y0 = pair_at(p->b, b + k, bf16);
        const struct pair x1 = pair_at(p->a, a + k + PAIR, bf16);
        const struct pair y1 = pair_at(p->b, b + k + PAIR, bf16);
        s0 += x0.x * y0.x;
        s1 += x0.y * y0.y;
        s2 += x1.x * y1.x;
        s3 += x1.y * y1.y;
    }
    float sum = sum_of_lanes((s0 + s1) + (s2 + s3));
    for (; k < K; k++)
        sum += element(p->a, a + k, bf16) * element(p->b, b + k, bf16);
    return sum;
}

/* Columns [first, first + columns) of one row of c. */
ALWAYS_INLINE void product_block(const struct matmul *p, int64_t row, int64_t first,
                                 int64_t columns, bool bf16)
{
    float sums[COLUMNS];
    if (!p->transpose_b) {
        product_columns(sums, p, row, first, columns, bf16);
    } else {
        for (int64_t c = 0; c < columns; c++)
            sums[c] = dot_row(p, row, first + c, bf16);
    }
    for (int64_t c = 0; p->bias && c < columns; c++)
        sums[c] += p->bias[first + c];
    for (int64_t c = 0; p->relu && c < columns; c++)
        sums[c] = sums[c] > 0 ? sums[c] : 0;
    store_act(p->result, p->c, row * p->N + first, sums, columns);
}

/* Threads share the columns: how a sum is ordered does not depend on their number. */
void simd_few_rows(const struct matmul *p)
{
    const int64_t share = (p->N / omp_get_max_threads() + PAIR) / PAIR * PAIR;
    const int64_t block = share < COLUMNS ? share : COLUMNS;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < p->N; first += block) {
        const int64_t columns = p->N - first < block ? p->N - first : block;
        for (int64_t row = 0; row < p->M; row++) {
            if (p->operands == DTYPE_F32)
                product_block(p, row, first, columns, false);
            else
                product_block(p, row, first, columns, true);
        }
    }
}
