/* simd_cross_entropy.c - softmax and cross entropy of a tile of logits, with the gradient in
 * place. */
#include "kernels/cpu/simd.h"

#include <math.h>

/* The largest logit. Lanes are folded at the end, which the compiler cannot do by itself for
 * max. */
static float row_max(const float *z, int V)
{
    float best = -INFINITY;
#pragma omp simd reduction(max : best)
    for (int v = 0; v < V; v++)
        best = z[v] > best ? z[v] : best;
    return best;
}

/* Whether the target is the first of the largest. */
static uint8_t is_first_max(const float *z, int target, float max)
{
    if (!(z[target] >= max))
        return 0;
    for (int v = 0; v < target; v++)
        if (z[v] >= max)
            return 0;
    return 1;
}

void simd_cross_entropy(enum dtype act, float *z, void *dz, float *losses, uint8_t *correct,
                        const int32_t *targets, const uint8_t *mask, float gradient_scale,
                        int64_t rows, int V)
{
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < rows; n++) {
        float *row = z + n * V;
        const int target = targets[n];
        const float max = row_max(row, V);
        const float z_target = row[target];
        correct[n] = is_first_max(row, target, max);

        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int v = 0; v < V; v++) {
            const float e = exp_fast(row[v] - max);
            row[v] = e;
            sum += e;
        }
        losses[n] = logf(sum) + max - z_target;
        if (!dz)
            continue;

        /* A row that does not count has the gradient 0, whatever its logits were. */
        const float scale = mask[n] ? gradient_scale / sum : 0.0f;
        const float target_gradient = mask[n] ? row[target] * scale - gradient_scale : 0.0f;
        if (act == DTYPE_F32) {
            for (int v = 0; v < V; v++)
                row[v] *= scale;
            row[target] = target_gradient;
        } else {
            uint16_t *rounded = (uint16_t *)dz + n * V;
            for (int v = 0; v < V; v++)
                rounded[v] = bf16_from_float(row[v] * scale);
            rounded[target] = bf16_from_float(target_gradient);
        }
    }
}
