/*
 * simd_few_rows.c - matrix products with few rows, as decoding has them: each weight is read once,
 * and reading them is all that takes time.
 *
 * A library's product packs its operands, which here costs more than the product: with one row of
 * bf16 oneDNN reads weights at 3.5 GB/s. What counts is that memory is read in few long runs, as
 * the processor's prefetching follows them: weights (K, N) are cut into PARTS of their rows, which
 * threads add up one by one, and a part into STEP runs of rows that are read side by side. Rows
 * read side by side that lie close together, or the columns of a thread, end a run with every row:
 * on two cores of Zen 4 those read 20 to 33 GB/s where this reads 40 to 50, of the 60 there are.
 *
 * So no more than PARTS threads read such weights, and on more cores the others wait. PARTS cannot
 * follow the number of threads, on which sums must not depend; to cut the columns of a part as well
 * keeps the sums, but one core then reads half as fast. Whether that pays has not been measured on
 * a machine with so many cores.
 */
#include "kernels/cpu/simd.h"

#include <omp.h>
#include <string.h>

enum {
    PAIR = 2 * LANES,
    COLUMNS = 64,    /* of results that are put together at a time; a multiple of PAIR */
    STEP = 4,        /* runs of rows of b read side by side */
    PARTS = FEW_ROWS_PARTS,
};
_Static_assert(COLUMNS % PAIR == 0, "elements are put back in order pair by pair");

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

/* sums (N) += the rows k, k + apart, ... of b, `steps` of them, times those elements of a row.
 * Whole pairs stand in pair_at's order. */
ALWAYS_INLINE void add_rows(float *restrict sums, const struct matmul *p, int64_t row, int64_t k,
                            int64_t apart, int steps, bool bf16)
{
    const int64_t N = p->N, start = k * N, next = apart * N;
    float a[STEP];
    for (int i = 0; i < steps; i++)
        a[i] = element(p->a, row * p->K + k + i * apart, bf16);
    int64_t c = 0;
    for (; c + PAIR <= N; c += PAIR) {
        vec *sum = (vec *)(void *)(sums + c);
        vec x = sum[0], y = sum[1];
        for (int i = 0; i < steps; i++) {
            const struct pair b = pair_at(p->b, start + i * next + c, bf16);
            x += a[i] * b.x;
            y += a[i] * b.y;
        }
        sum[0] = x;
        sum[1] = y;
    }
    for (; c < N; c++)
        for (int i = 0; i < steps; i++)
            sums[c] += a[i] * element(p->b, start + i * next + c, bf16);
}

/* sums (M, padded N) = the columns [first, end) of a . those rows of b. */
ALWAYS_INLINE void product_part(float *restrict sums, int64_t padded, const struct matmul *p,
                                int64_t first, int64_t end, bool bf16)
{
    const int64_t run = (end - first) / STEP;
    memset(sums, 0, (size_t)(p->M * padded) * sizeof *sums);
    for (int64_t k = first; k < first + run; k++)
        for (int64_t row = 0; row < p->M; row++)
            add_rows(sums + row * padded, p, row, k, run, STEP, bf16);
    for (int64_t k = first + run * STEP; k < end; k++)
        for (int64_t row = 0; row < p->M; row++)
            add_rows(sums + row * padded, p, row, k, 1, 1, bf16);
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

/* Sums become columns [first, first + columns) of a row of c. */
static void finish(float *sums, const struct matmul *p, int64_t row, int64_t first, int64_t columns)
{
    for (int64_t c = 0; p->bias && c < columns; c++)
        sums[c] += p->bias[first + c];
    for (int64_t c = 0; p->relu && c < columns; c++)
        sums[c] = sums[c] > 0 ? sums[c] : 0;
    store_act(p->result, p->c, row * p->N + first, sums, columns);
}

/* b (N, K): a row of it is a column of the result. */
static void transposed_product(const struct matmul *p)
{
    const int64_t blocks = (p->N + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        float sums[COLUMNS];
        const int64_t first = block * COLUMNS;
        const int64_t columns = p->N - first < COLUMNS ? p->N - first : COLUMNS;
        for (int64_t row = 0; row < p->M; row++) {
            if (p->operands == DTYPE_F32)
                for (int64_t c = 0; c < columns; c++)
                    sums[c] = dot_row(p, row, first + c, false);
            else
                for (int64_t c = 0; c < columns; c++)
                    sums[c] = dot_row(p, row, first + c, true);
            finish(sums, p, row, first, columns);
        }
    }
}

/* The sums of all parts, in their order whatever the number of threads, to a block of columns. */
static void join_parts(const struct matmul *p, const float *parts, int64_t padded, int64_t first)
{
    const int64_t columns = p->N - first < COLUMNS ? p->N - first : COLUMNS;
    for (int64_t row = 0; row < p->M; row++) {
        float sums[COLUMNS] = {0};
        for (int64_t part = 0; part < PARTS; part++) {
            const float *from = parts + (part * p->M + row) * padded + first;
            for (int64_t c = 0; c < columns; c++)
                sums[c] += from[c];
        }
        if (p->operands != DTYPE_F32)
            put_in_order(sums, columns / PAIR * PAIR);
        finish(sums, p, row, first, columns);
    }
}

void simd_few_rows(const struct matmul *p, float *parts)
{
    if (p->transpose_b) {
        transposed_product(p);
        return;
    }
    const int64_t padded = few_rows_padded(p->N), most = (p->K + PARTS - 1) / PARTS;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t part = 0; part < PARTS; part++) {
            float *sums = parts + part * p->M * padded;
            const int64_t first = part * most < p->K ? part * most : p->K;
            const int64_t end = p->K - first < most ? p->K : first + most;
            if (p->operands == DTYPE_F32)
                product_part(sums, padded, p, first, end, false);
            else
                product_part(sums, padded, p, first, end, true);
        }
#pragma omp for schedule(static)
        for (int64_t first = 0; first < p->N; first += COLUMNS)
            join_parts(p, parts, padded, first);
    }
}
