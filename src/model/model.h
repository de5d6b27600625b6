/* model.h - the inside of a model, shared by gpt.c and decoder.c; for src/model only. */
#ifndef GALLEY_MODEL_MODEL_H
#define GALLEY_MODEL_MODEL_H

#include "model/gpt.h"
#include "model/layers.h"

/* What one layer keeps for its backward. Activations, but for the fp32 statistics. */
struct layer_activations {
    void *qkv;                /* (N, 3, NH, HS) */
    void *attended;           /* (N, NH, HS) */
    float *lse;               /* (B, NH, T) */
    void *sum1, *x1;          /* (N, C): before and after the first norm */
    float *mean1, *rstd1;     /* (N) */
    void *hidden;             /* (N, F): after the ReLU */
    void *sum2, *x2;          /* (N, C) */
    float *mean2, *rstd2;     /* (N) */
};

struct model {
    struct device *device;
    const struct kernels *kernels;
    struct model_spec spec;
    struct model_options options;
    struct parameters *parameters;
    struct model_offsets offsets;

    float *weights;           /* master copy, fp32 */
    void *copy;               /* the same in the activation type; NULL where that is fp32 */
    float *gradients;
    float *token_squares;     /* right before the gradients, as they are final last; or NULL */
    int64_t n_squares;        /* elements, padding included */

    /* Inputs of a batch on the device, (N) each. */
    int32_t *tokens, *targets;
    uint8_t *key_mask, *loss_mask;

    void *x0;                 /* (N, C): the embedding */
    struct layer_activations *layers;
    void *branch;             /* (N, C): what a residual sum adds; nobody keeps it */
    float *losses;            /* (N) */
    uint8_t *correct;         /* (N) */

    /* Gradients of activations, each used by one layer after the other. */
    void *dx, *dbranch;       /* (N, C) */
    void *dqkv, *dattended, *dhidden;

    float *host_losses;       /* (N) */
    uint8_t *host_correct;

    void *memory, *state;     /* device blocks: activations; parameters */
    void *host_memory;
};

/* The operand of a matrix product: the bf16 copy where there is one. */
static inline const void *model_operand(const struct model *m, int64_t offset)
{
    return m->copy ? (const void *)((const uint16_t *)m->copy + offset)
                   : (const void *)(m->weights + offset);
}

#endif
