/*
 * classifier.c - the head fused with softmax and cross entropy.
 *
 * Rows go through in tiles: logits of a tile, their softmax and gradient in place, then both
 * products of backward while the tile is still in the last-level cache. Logits as a whole (164 MB
 * for 8192 rows of 5000) never exist.
 */
#include "kernels/cpu/cpu.h"

/*
 * The weight's gradient is computed as (V, C), tile after tile, also where the weight is (C, V):
 * with two threads the product is a quarter faster that way round (Zen 4, fp32: 198 against 158
 * GFLOP/s).
 */
struct scratch {
    float *z;          /* (CLASSIFIER_TILE, V): logits, then in fp32 their gradient */
    void *dz;          /* the gradient in the activation type; z itself in fp32 */
    float *dweight;    /* (V, C), of a head that is not tied */
};

static size_t z_bytes(int64_t V)
{
    return (size_t)(CLASSIFIER_TILE * V) * sizeof(float);
}

static size_t dz_bytes(enum dtype act, int64_t V)
{
    return act == DTYPE_F32 ? 0 : z_bytes(V) / 2;
}

size_t cpu_classifier_scratch_bytes(enum dtype act, int64_t C, int64_t V, bool transposed)
{
    const size_t dweight_bytes = transposed ? 0 : (size_t)(C * V) * sizeof(float);
    return z_bytes(V) + dz_bytes(act, V) + dweight_bytes;
}

static struct scratch lay_out(char *memory, enum dtype act, int64_t V)
{
    return (struct scratch){
        .z = (float *)memory,
        .dz = act == DTYPE_F32 ? memory : memory + z_bytes(V),
        .dweight = (float *)(memory + z_bytes(V) + dz_bytes(act, V)),
    };
}

/* dx of a tile of rows, and what it adds to the gradients of weight and bias. */
static void backward_tile(struct device *device, enum dtype act, const struct classifier *a,
                          const struct scratch *s, int64_t first, int64_t rows)
{
    const int64_t C = a->C, V = a->V;
    const size_t start = (size_t)(first * C) * dtype_bytes(act);
    cpu_matmul(device, "classifier dx", &(struct matmul){
        .c = (char *)a->dx + start, .a = s->dz, .b = a->weight, .transpose_b = !a->transposed,
        .M = rows, .N = C, .K = V,
        .operands = act, .result = act,
    });
    cpu_matmul(device, "classifier dweight", &(struct matmul){
        .c = a->transposed ? a->dweight : s->dweight,
        .a = s->dz, .transpose_a = true, .b = (const char *)a->x + start,
        .M = V, .N = C, .K = rows,
        .accumulate = a->transposed || first > 0, .operands = act, .result = DTYPE_F32,
    });
    if (a->dbias)
        cpu_state(device)->simd->column_sums(act, a->dbias, s->dz, rows, a->V);
}

void cpu_classifier(struct device *device, enum dtype act, const struct classifier *a)
{
    const struct simd_kernels *simd = cpu_state(device)->simd;
    const int64_t C = a->C, V = a->V;
    const size_t bytes = cpu_classifier_scratch_bytes(act, C, V, a->transposed);
    const struct scratch s = lay_out(cpu_shared_scratch(device, bytes), act, V);

    for (int64_t first = 0; first < a->N; first += CLASSIFIER_TILE) {
        const int64_t rows = a->N - first < CLASSIFIER_TILE ? a->N - first : CLASSIFIER_TILE;
        cpu_matmul(device, "classifier logits", &(struct matmul){
            .c = s.z, .a = (const char *)a->x + (size_t)(first * C) * dtype_bytes(act),
            .b = a->weight, .bias = a->bias, .transpose_b = a->transposed,
            .M = rows, .N = V, .K = C,
            .operands = act, .result = DTYPE_F32,
        });
        simd->cross_entropy(act, s.z, a->dx ? s.dz : NULL, a->losses + first, a->correct + first,
                            a->targets + first, a->mask + first,
                            a->gradient_scale ? *a->gradient_scale : 1.0f, rows, a->V);
        if (a->dx)
            backward_tile(device, act, a, &s, first, rows);
    }
    if (a->dx && !a->transposed)
        simd->add_transposed(a->dweight, s.dweight, C, V);
}

void cpu_logits_forward(struct device *device, enum dtype act, const struct logits_forward *a)
{
    cpu_matmul(device, "logits_forward", &(struct matmul){
        .c = a->logits, .a = a->x, .b = a->weight, .bias = a->bias, .transpose_b = a->transposed,
        .M = a->N, .N = a->V, .K = a->C,
        .operands = act, .result = DTYPE_F32,
    });
}
