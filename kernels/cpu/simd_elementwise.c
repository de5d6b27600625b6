/* simd_elementwise.c - GELU, activation derivatives, sums: what linear layers and the classifier
 * need beside their matrix products. */
#include "kernels/cpu/simd.h"

#include <omp.h>

enum { BLOCK = 1024 };    /* elements at a time: fits the first-level cache as fp32 */

/* 0.5 x (1 + tanh(u)) = x - x / (exp(2u) + 1), u = sqrt(2/pi) (x + 0.044715 x^3). Source: Hendrycks
 * & Gimpel 2016, section 2, the tanh form of GPT-2. */
static inline float gelu(float x)
{
    const float u2 = 1.5957691216f * (x + 0.044715f * x * x * x);
    return x - x / (exp_fast(u2) + 1.0f);
}

static inline float gelu_derivative(float x)
{
    const float u2 = 1.5957691216f * (x + 0.044715f * x * x * x);
    const float s = 1.0f - 1.0f / (exp_fast(u2) + 1.0f);    /* logistic(2u) */
    return s + x * s * (1.0f - s) * 1.5957691216f * (1.0f + 3.0f * 0.044715f * x * x);
}

void simd_gelu(enum dtype act, void *y, const void *pre, int64_t n)
{
#pragma omp parallel for schedule(static)
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t count = n - start < BLOCK ? n - start : BLOCK;
        float in[BLOCK], out[BLOCK];
        const float *x = read_row(act, pre, start, count, in);
        for (int64_t i = 0; i < count; i++)
            out[i] = gelu(x[i]);
        store_act(act, y, start, out, count);
    }
}

void simd_activation_backward(enum dtype act, enum activation activation, void *dx,
                              const void *saved, int64_t n)
{
    if (activation == ACTIVATION_NONE)
        return;
#pragma omp parallel for schedule(static)
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t count = n - start < BLOCK ? n - start : BLOCK;
        float saved_block[BLOCK], block[BLOCK];
        const float *x = read_row(act, saved, start, count, saved_block);
        load_act(act, block, dx, start, count);
        if (activation == ACTIVATION_RELU)
            for (int64_t i = 0; i < count; i++)
                block[i] = x[i] > 0 ? block[i] : 0;
        else
            for (int64_t i = 0; i < count; i++)
                block[i] *= gelu_derivative(x[i]);
        store_act(act, dx, start, block, count);
    }
}

/* Threads share the columns, so that the order of the sums does not depend on their number. Wide
 * blocks: few pages of dy are touched at a time. */
void simd_column_sums(enum dtype act, float *sums, const void *dy, int64_t N, int M)
{
    enum { COLUMNS = 512 };
    const int share = (M / omp_get_max_threads() + LANES) / LANES * LANES;
    const int block = share < COLUMNS ? share : COLUMNS;
#pragma omp parallel for schedule(static)
    for (int first = 0; first < M; first += block) {
        const int n_columns = M - first < block ? M - first : block;
        float total[COLUMNS] = {0}, buffer[COLUMNS];
        for (int64_t n = 0; n < N; n++) {
            const float *row = read_row(act, dy, n * M + first, n_columns, buffer);
            for (int c = 0; c < n_columns; c++)
                total[c] += row[c];
        }
        for (int c = 0; c < n_columns; c++)
            sums[first + c] += total[c];
    }
}

/* Square tiles, so that the lines of both matrices are used whole while they are in the cache. */
void simd_add_transposed(float *to, const float *from, int64_t rows, int64_t columns)
{
    enum { TILE = 32 };
#pragma omp parallel for schedule(static)
    for (int64_t r0 = 0; r0 < rows; r0 += TILE) {
        const int64_t r1 = rows < r0 + TILE ? rows : r0 + TILE;
        for (int64_t c0 = 0; c0 < columns; c0 += TILE) {
            const int64_t c1 = columns < c0 + TILE ? columns : c0 + TILE;
            for (int64_t r = r0; r < r1; r++)
                for (int64_t c = c0; c < c1; c++)
                    to[r * columns + c] += from[c * rows + r];
        }
    }
}
