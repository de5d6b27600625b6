/*
 * classifier.c - the head fused with softmax and cross entropy.
 *
 * Rows go through in tiles: logits of a tile, their softmax and gradient in place, then both products
 * of backward while the tile is still in the last-level cache. Logits as a whole (164 MB for 8192
 * rows of 5000) never exist.
 */
#include "kernels/cpu/cpu.h"

void cpu_classifier(struct device *device, enum dtype act, const struct classifier *a)
{
    const struct simd_kernels *simd = cpu_state(device)->simd;
    const size_t act_bytes = dtype_bytes(act);
    const int64_t C = a->C, V = a->V;
    const size_t z_bytes = (size_t)(CLASSIFIER_TILE * V) * sizeof(float);
    char *scratch = cpu_shared_scratch(device, z_bytes + (act == DTYPE_F32 ? 0 : z_bytes / 2));
    float *z = (float *)scratch;
    void *dz = act == DTYPE_F32 ? scratch : scratch + z_bytes;

    for (int64_t first = 0; first < a->N; first += CLASSIFIER_TILE) {
        const int64_t rows = a->N - first < CLASSIFIER_TILE ? a->N - first : CLASSIFIER_TILE;
        const char *x = (const char *)a->x + (size_t)(first * C) * act_bytes;
        cpu_matmul(device, "classifier logits", &(struct matmul){
            .c = z, .a = x, .b = a->weight, .bias = a->bias, .transpose_b = a->transposed,
            .M = rows, .N = V, .K = C,
            .operands = act, .result = DTYPE_F32,
        });
        simd->cross_entropy(act, z, a->dx ? dz : NULL, a->losses + first, a->correct + first,
                            a->targets + first, a->mask + first, rows, a->V);
        if (!a->dx)
            continue;

        cpu_matmul(device, "classifier dx", &(struct matmul){
            .c = (char *)a->dx + (size_t)(first * C) * act_bytes, .a = dz, .b = a->weight,
            .transpose_b = !a->transposed,
            .M = rows, .N = C, .K = V,
            .operands = act, .result = act,
        });
        cpu_matmul(device, "classifier dweight", &(struct matmul){
            .c = a->dweight, .a = a->transposed ? dz : x, .transpose_a = true,
            .b = a->transposed ? x : dz,
            .M = a->transposed ? V : C, .N = a->transposed ? C : V, .K = rows,
            .accumulate = true, .operands = act, .result = DTYPE_F32,
        });
        if (a->dbias)
            simd->column_sums(act, a->dbias, dz, rows, a->V);
    }
}

void cpu_logits_forward(struct device *device, enum dtype act, const struct logits_forward *a)
{
    cpu_matmul(device, "logits_forward", &(struct matmul){
        .c = a->logits, .a = a->x, .b = a->weight, .bias = a->bias, .transpose_b = a->transposed,
        .M = a->N, .N = a->V, .K = a->C,
        .operands = act, .result = DTYPE_F32,
    });
}
