/* simd_embed.c - token and position embedding, forward and backward. */
#include "kernels/cpu/simd_dropout.h"

#include <omp.h>


void simd_embed_forward(struct device *device, enum dtype act, const struct embed_forward *a)
{
    const int64_t N = (int64_t)a->B * a->T;
    const int C = a->C;
#pragma omp parallel
    {
        float *buffer = cpu_thread_scratch(device, C);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < N; n++) {
            const float *token = a->token_table + (int64_t)a->tokens[n] * C;
            const int64_t at = a->positions ? a->positions[n] : a->first_position + n % a->T;
            const float *position = a->position_table + at * C;
            float *x = write_row(act, a->x, n * C, buffer);
            for (int c = 0; c < C; c++)
                x[c] = token[c] + position[c];
            (void)drop_row(&a->dropout, n, x, 0, C, x);
            finish_row(act, a->x, n * C, x, C);
        }
    }
}

/*
 * Threads share the channels, not the rows: each walks all tokens in order and adds its own
 * columns. So nothing is added twice at once, and the order of the sums does not depend on the
 * threads.
 */
void simd_embed_backward(struct device *device, enum dtype act, const struct embed_backward *a)
{
    const int64_t N = (int64_t)a->B * a->T;
    const int C = a->C;
#pragma omp parallel
    {
        const int threads = omp_get_num_threads();
        const int thread = omp_get_thread_num();
        /* In groups of eight, as dropout draws them. */
        const int64_t groups = (C + 7) / 8;
        const int first = (int)(groups * thread / threads * 8);
        const int end = (int)(groups * (thread + 1) / threads * 8);
        const int n_columns = (end < C ? end : C) - first;
        float *buffer = cpu_thread_scratch(device, 2 * (int64_t)C);
        for (int64_t n = 0; n < N; n++) {
            const float *dx =
                read_sum(act, a->dx, a->dx_more, n * C + first, n_columns, buffer, buffer + C);
            dx = drop_row(&a->dropout, n, dx, first, n_columns, buffer);
            const int64_t at = a->positions ? a->positions[n] : n % a->T;
            float *token = a->dtoken_table + (int64_t)a->tokens[n] * C + first;
            float *position = a->dposition_table + at * C + first;
            for (int c = 0; c < n_columns; c++) {
                token[c] += dx[c];
                position[c] += dx[c];
            }
            if (a->dtoken_squares) {
                float *squares = a->dtoken_squares + (int64_t)a->tokens[n] * C + first;
                for (int c = 0; c < n_columns; c++)
                    squares[c] += dx[c] * dx[c];
            }
        }
    }
}
