/*
 * model.h - the inside of a model and of a decoder, shared by the files of src/model only.
 *
 * What the families have in common (embedding, head, memory, the order of the passes) is in
 * model.c, gpt.c and decoder.c, attention and MLP in branches.c; a `struct block` holds what
 * differs.
 */
#ifndef GALLEY_MODEL_MODEL_H
#define GALLEY_MODEL_MODEL_H

#include "base/arena.h"
#include "model/gpt.h"
#include "model/layers.h"

#include <math.h>

/* Of every layer norm, in both families. */
#define NORM_EPSILON 1e-5f

/* What one layer keeps for its backward. Activations, but for the fp32 statistics. */
struct layer_activations {
    void *qkv;                /* (N, 3, NH, HSP) */
    void *attended;           /* (N, NH, HSP) */
    float *lse;               /* (B, NH, T) */
    void *sum1, *x1;          /* (N, C): before and after the attention's norm */
    float *mean1, *rstd1;     /* (N) */
    void *pre;                /* (N, F): before the GELU; NULL where the family has none */
    void *hidden;             /* (N, F): after the activation */
    void *sum2, *x2;          /* (N, C): before and after the MLP's norm */
    float *mean2, *rstd2;     /* (N) */
};

/* One micro-batch on its way through the model. */
struct pass {
    const struct batch *batch;   /* in device memory */
    int B, T;
    int64_t N;                   /* B * T */
    bool training;               /* with dropout */
};

struct decoder;

/* A family's decoder blocks: where the norms stand. Between two calls the model's buffers hold what
 * the next one reads. */
struct block {
    enum activation activation;    /* of the MLP */
    bool embedding_dropout;
    /* Layer l; the first reads m->x0. */
    void (*forward)(struct model *m, const struct pass *pass, int l);
    /* After the last layer: what the head reads, (N, C). */
    const void *(*forward_end)(struct model *m, const struct pass *pass);
    /* m->dx holds the gradient of what forward_end returned. */
    void (*backward_end)(struct model *m, const struct pass *pass);
    void (*backward)(struct model *m, const struct pass *pass, int l);
    /* The gradient of m->x0 is m->dx, plus m->dbranch where this is true. */
    bool input_gradient_in_two;

    /* The same forward for one new position of each row of a decoder; d->x is the embedding. */
    void (*append)(struct decoder *d, int l);
    const void *(*append_end)(struct decoder *d);
};

extern const struct block mini_gpt_block, gpt2_block;

struct model {
    struct device *device;
    const struct kernels *kernels;
    const struct block *block;
    struct model_spec spec;
    struct model_options options;
    struct parameters *parameters;
    struct flat_layout *layout;
    struct model_offsets offsets;
    int HSP;                  /* channels of a head in device memory: HS, and zeros behind them */

    float *weights;           /* master copy, fp32 */
    void *copy;               /* the same in the activation type; NULL where that is fp32 */
    float *gradients;
    float *token_squares;     /* right before the gradients, as they are final last; or NULL */
    int64_t n_squares;        /* elements, padding included */

    /* A batch that was copied from host memory, (N) each. */
    int32_t *tokens, *targets, *first_key, *positions;
    uint8_t *key_mask, *loss_mask, *metric_mask;
    struct loss_sums *sums;   /* of model_evaluate */

    void *x0;                 /* (N, C): the embedding */
    struct layer_activations *layers;
    void *branch;             /* (N, C): what a residual sum adds; nobody keeps it */
    void *final_sum, *final_x;            /* (N, C): around the final norm, if there is one */
    float *final_mean, *final_rstd;       /* (N) */
    float *losses;            /* (N) */
    uint8_t *correct;         /* (N) */

    /* Gradients of activations, each used by one layer after the other. */
    void *dx, *dbranch;       /* (N, C) */
    void *dqkv, *dattended, *dhidden;

    struct loss_sums *host_sums;

    void *memory, *state, *summed;    /* device blocks: activations; weights; gradients */
};

struct decoder {
    struct model *model;
    int rows, capacity, position;
    int64_t candidates;
    size_t row_bytes;            /* of one row in one layer's cache */

    void **cache;                /* L of (rows, 2, NH, capacity, HSP) */
    void **other;                /* the same again, to reorder into */
    uint8_t *mask;               /* (rows, capacity) on the device */
    uint8_t *host_mask;          /* the same on the host */
    int32_t *tokens;             /* (rows) on the device */
    void *x, *x1, *branch;       /* (rows, C) */
    void *qkv, *attended, *hidden;
    const void *head_input;      /* (rows, C) of the last append */
    float *logits;               /* (rows, V) of the last append, if has_logits */
    bool has_logits;
    bool behind;                 /* the device may still read or write memory of the host's */

    /* What the kernels of choose.h take and give, and the same on the host. */
    struct choice {
        double *uniforms;        /* (rows) */
        float *scores;           /* (rows) */
        int32_t *from;           /* (rows) */
        int32_t *chosen;         /* (rows), or (candidates) */
        float *values;           /* (candidates) */
    } choice, host_choice;
    float *probabilities;        /* (rows, V) */
    int32_t *host_tokens;        /* (rows) */
    void *host_input;            /* (rows, C): head_input on the host */
    float *host_hidden;          /* the same in fp32 */

    void *memory, *host_memory;
};

/* The operand of a matrix product: the bf16 copy where there is one. */
static inline const void *model_operand(const struct model *m, int64_t offset)
{
    return m->copy ? (const void *)((const uint16_t *)m->copy + offset)
                   : (const void *)(m->weights + offset);
}

/* What attention multiplies scores with: that of heads without padding. */
static inline float model_attention_scale(const struct model *m)
{
    return 1.0f / sqrtf((float)spec_head_size(&m->spec));
}

/* Dropout at a site of layer l; none unless the pass trains. */
static inline struct dropout pass_dropout(const struct model *m, const struct pass *pass, int l,
                                          enum dropout_site site)
{
    return dropout_at(pass->training ? m->spec.dropout : 0.0f, m->options.seed,
                      pass->batch->step, l, site, pass->batch->first_sample, pass->T);
}

/* decoder.c: waits until the device has done with the decoder's memory on the host. */
MUST_USE struct error *decoder_settle(struct decoder *decoder);

/*
 * branches.c: the two branches beside the residual stream, which both families have. Forward leaves
 * the branch's value in m->branch (d->branch); backward takes its gradient `dy` and leaves that of
 * the branch's input `x` in m->dbranch, where dy may stand.
 */
void branch_attention(struct model *m, const struct pass *pass, int l, const void *x);
void branch_attention_backward(struct model *m, const struct pass *pass, int l, const void *x,
                               const void *dy);
void branch_attention_append(struct decoder *d, int l, const void *x);
void branch_mlp(struct model *m, const struct pass *pass, int l, const void *x);
void branch_mlp_backward(struct model *m, const struct pass *pass, int l, const void *x,
                         const void *dy);
void branch_mlp_append(struct decoder *d, int l, const void *x);

#endif
