/*
 * parameters.h - the table of a model's named tensors in one flat buffer.
 *
 * Order is that of the forward pass, embeddings first and head last: the reverse of the order in
 * which backward makes gradients final, so buckets, optimizer and checkpoints work on contiguous
 * ranges. (A tied head adds to the token table at once, but the lookup adds to it too, at the end.)
 * Each tensor begins at a multiple of 64 bytes; the gaps hold zeros and stay zero. The table is a
 * pure function of the specification; it holds no memory of tensors. It is how the host and files
 * have them; in device memory heads may be padded (flat_layout.h).
 */
#ifndef GALLEY_MODEL_PARAMETERS_H
#define GALLEY_MODEL_PARAMETERS_H

#include "model/spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PARAMETER_NAME_BYTES = 64, PARAMETER_DIMENSIONS = 4 };

enum parameter_init { INIT_ZERO, INIT_ONE, INIT_UNIFORM, INIT_NORMAL };

struct parameter {
    char name[PARAMETER_NAME_BYTES];    /* "decoder_0/attention/qkv/kernel" */
    int dimensions;
    int64_t shape[PARAMETER_DIMENSIONS];
    int64_t count;                      /* elements: the product of the shape */
    int64_t offset;                     /* of the first element in the flat buffer, in elements */
    enum parameter_init init;
    float init_scale;                   /* limit of the uniform, deviation of the normal */
    bool matrix;                        /* a kernel or embedding: AdamW's option decays only these */
    int head_axis;                      /* of the shape: a head's channels; -1: it has no heads */
};

struct parameters {
    struct parameter *list;
    int n;
    int64_t count;           /* elements of all tensors: the model's parameter count */
    int64_t flat_count;      /* elements of the flat buffer, gaps included */
};

MUST_USE struct error *parameters_create(struct parameters **out, const struct model_spec *spec);
void parameters_destroy(struct parameters *parameters);
/* Elements of a flat buffer that a tensor of `count` takes, the gap behind it included. */
int64_t parameters_room(int64_t count);
/* The tensor of that name, or NULL. */
const struct parameter *parameters_find(const struct parameters *parameters, const char *name);

/* Initial weights: element i of tensor t is a pure function of (seed, t, i), distributed as
 * KerasHub does: norms 1, biases 0, and for the mini-GPT embeddings uniform +-0.05, kernels Glorot
 * uniform; for GPT-2 normal with deviation 0.01 (tokens) and 0.02. `weights` is host memory of
 * flat_count elements. */
void parameters_initialize(const struct parameters *parameters, uint64_t seed, float *weights);

#endif
