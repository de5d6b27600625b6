/*
 * simd_layernorm.c - layer norm fused with the residual sum before it, forward and backward.
 *
 * Backward, with xhat = (sum - mean) * rstd and g = dy * weight:
 *   dsum = (g - mean(g) - xhat * mean(g * xhat)) * rstd;  dweight += dy * xhat;  dbias += dy.
 */
#include "kernels/cpu/simd_dropout.h"

#include <math.h>
#include <omp.h>
#include <string.h>

void simd_layernorm_forward(struct device *device, enum dtype act,
                            const struct layernorm_forward *a)
{
    const int C = a->C;
#pragma omp parallel
    {
        float *buffer = cpu_thread_scratch(device, 3 * (int64_t)C);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < a->N; n++) {
            const float *x = read_row(act, a->x, n * C, C, buffer);
            if (a->delta) {
                const float *delta = read_row(act, a->delta, n * C, C, buffer + C);
                delta = drop_row(&a->dropout, n, delta, 0, C, buffer + C);
                float *sum = write_row(act, a->sum, n * C, buffer);
                for (int c = 0; c < C; c++)
                    sum[c] = x[c] + delta[c];
                finish_row(act, a->sum, n * C, sum, C);
                x = sum;
            } else if (a->sum && a->sum != a->x) {
                store_act(act, a->sum, n * C, x, C);
            }

            float total = 0;
#pragma omp simd reduction(+ : total)
            for (int c = 0; c < C; c++)
                total += x[c];
            const float mean = total / (float)C;
            float squares = 0;
#pragma omp simd reduction(+ : squares)
            for (int c = 0; c < C; c++)
                squares += (x[c] - mean) * (x[c] - mean);
            const float rstd = 1.0f / sqrtf(squares / (float)C + a->epsilon);

            float *y = write_row(act, a->y, n * C, buffer + 2 * C);
            for (int c = 0; c < C; c++)
                y[c] = (x[c] - mean) * rstd * a->weight[c] + a->bias[c];
            finish_row(act, a->y, n * C, y, C);
            if (a->mean) {
                a->mean[n] = mean;
                a->rstd[n] = rstd;
            }
        }
    }
}

/* One row: writes dsum, adds to this thread's sums of the parameters' gradients. */
static void backward_row(const struct layernorm_backward *a, enum dtype act, int64_t n,
                         float *buffer, float *dweight, float *dbias)
{
    const int C = a->C;
    const float *dy = read_sum(act, a->dy, a->dy_more, n * C, C, buffer, buffer + 3 * C);
    const float *sum = read_row(act, a->sum, n * C, C, buffer + C);
    const float mean = a->mean[n], rstd = a->rstd[n];
    float g_total = 0, gx_total = 0;
#pragma omp simd reduction(+ : g_total, gx_total)
    for (int c = 0; c < C; c++) {
        const float xhat = (sum[c] - mean) * rstd;
        const float g = dy[c] * a->weight[c];
        g_total += g;
        gx_total += g * xhat;
        dweight[c] += dy[c] * xhat;
        dbias[c] += dy[c];
    }
    const float g_mean = g_total / (float)C, gx_mean = gx_total / (float)C;

    float *dsum = write_row(act, a->dsum, n * C, buffer + 2 * C);
    if (a->dresidual) {
        const float *dresidual = read_row(act, a->dresidual, n * C, C, buffer + 3 * C);
        for (int c = 0; c < C; c++) {
            const float xhat = (sum[c] - mean) * rstd;
            dsum[c] = dresidual[c] + (dy[c] * a->weight[c] - g_mean - xhat * gx_mean) * rstd;
        }
    } else {
        for (int c = 0; c < C; c++) {
            const float xhat = (sum[c] - mean) * rstd;
            dsum[c] = (dy[c] * a->weight[c] - g_mean - xhat * gx_mean) * rstd;
        }
    }
    finish_row(act, a->dsum, n * C, dsum, C);
    if (a->ddelta)
        store_act(act, a->ddelta, n * C, drop_row(&a->dropout, n, dsum, 0, C, buffer), C);
}

void simd_layernorm_backward(struct device *device, enum dtype act,
                             const struct layernorm_backward *a)
{
    const int C = a->C;
    const int threads = omp_get_max_threads();
    float *partial = cpu_shared_scratch(device, (size_t)threads * 2 * (size_t)C * sizeof(float));
#pragma omp parallel num_threads(threads)
    {
        float *dweight = partial + (int64_t)omp_get_thread_num() * 2 * C;
        memset(dweight, 0, 2 * (size_t)C * sizeof(float));
        float *buffer = cpu_thread_scratch(device, 4 * (int64_t)C);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < a->N; n++)
            backward_row(a, act, n, buffer, dweight, dweight + C);
    }
    for (int t = 0; t < threads; t++) {
        const float *dweight = partial + (int64_t)t * 2 * C;
        for (int c = 0; c < C; c++) {
            a->dweight[c] += dweight[c];
            a->dbias[c] += dweight[C + c];
        }
    }
}
