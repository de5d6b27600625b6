/*
 * gpt2_block.c - GPT-2's blocks: pre-norm, as KerasHub's GPT2Backbone.
 *
 *   x += drop(attention(norm(x)));  x += drop(W2 gelu(W1 norm(x) + b1) + b2);
 * and a norm after the last block. The residual sum of a branch is computed with the norm that
 * follows it: so a layer's second sum is part of the next layer, or of the final norm, and
 * m->branch carries the MLP's output there.
 */
#include "model/model.h"

/* The residual stream that layer l's first norm adds a branch to: for layer 0 the embedding, to
 * which there is nothing to add. */
static const void *stream_before(const struct model *m, int l)
{
    return l > 0 ? m->layers[l - 1].sum2 : m->x0;
}

/* The same with the branch added. */
static const void *stream_of(const struct model *m, int l)
{
    return l > 0 ? m->layers[l].sum1 : m->x0;
}

static void forward(struct model *m, const struct pass *pass, int l)
{
    const struct layer_offsets *o = &m->offsets.layers[l];
    const struct layer_activations *a = &m->layers[l];
    const float *w = m->weights;

    m->kernels->layernorm_forward(m->device, &(struct layernorm_forward){
        .y = a->x1, .sum = l > 0 ? a->sum1 : NULL, .mean = a->mean1, .rstd = a->rstd1,
        .x = stream_before(m, l), .delta = l > 0 ? m->branch : NULL, .weight = w + o->norm1,
        .bias = w + o->norm1_bias, .N = pass->N, .C = m->spec.C, .epsilon = NORM_EPSILON,
        .dropout = pass_dropout(m, pass, l - 1, DROPOUT_FEED_FORWARD),
    });
    branch_attention(m, pass, l, a->x1);
    m->kernels->layernorm_forward(m->device, &(struct layernorm_forward){
        .y = a->x2, .sum = a->sum2, .mean = a->mean2, .rstd = a->rstd2, .x = stream_of(m, l),
        .delta = m->branch, .weight = w + o->norm2, .bias = w + o->norm2_bias, .N = pass->N,
        .C = m->spec.C, .epsilon = NORM_EPSILON,
        .dropout = pass_dropout(m, pass, l, DROPOUT_ATTENTION),
    });
    branch_mlp(m, pass, l, a->x2);
}

static const void *forward_end(struct model *m, const struct pass *pass)
{
    const float *w = m->weights;
    const int last = m->spec.L - 1;
    m->kernels->layernorm_forward(m->device, &(struct layernorm_forward){
        .y = m->final_x, .sum = m->final_sum, .mean = m->final_mean, .rstd = m->final_rstd,
        .x = m->layers[last].sum2, .delta = m->branch, .weight = w + m->offsets.final_norm,
        .bias = w + m->offsets.final_norm_bias, .N = pass->N, .C = m->spec.C,
        .epsilon = NORM_EPSILON, .dropout = pass_dropout(m, pass, last, DROPOUT_FEED_FORWARD),
    });
    return m->final_x;
}

/*
 * Through a norm, whose gradient is `dy`: m->dx, the gradient of the residual stream, becomes that
 * of the sum before the norm. Returns that of the branch in the sum: the same, unless elements of
 * it were dropped; then it stands in m->dbranch.
 */
static const void *backward_norm(struct model *m, const struct pass *pass,
                                 const struct layernorm_backward *norm, struct dropout dropout)
{
    struct layernorm_backward arguments = *norm;
    const bool drops = dropout.threshold > 0;
    arguments.dsum = m->dx;
    arguments.ddelta = drops ? m->dbranch : NULL;
    arguments.N = pass->N;
    arguments.C = m->spec.C;
    arguments.dropout = dropout;
    m->kernels->layernorm_backward(m->device, &arguments);
    return drops ? m->dbranch : m->dx;
}

static void backward_end(struct model *m, const struct pass *pass)
{
    (void)backward_norm(m, pass, &(struct layernorm_backward){
        .dweight = m->gradients + m->offsets.final_norm,
        .dbias = m->gradients + m->offsets.final_norm_bias, .dy = m->dx, .sum = m->final_sum,
        .mean = m->final_mean, .rstd = m->final_rstd,
        .weight = m->weights + m->offsets.final_norm,
    }, pass_dropout(m, pass, m->spec.L - 1, DROPOUT_FEED_FORWARD));
}

static void backward(struct model *m, const struct pass *pass, int l)
{
    const struct layer_offsets *o = &m->offsets.layers[l];
    const struct layer_activations *a = &m->layers[l];
    const float *w = m->weights;
    float *g = m->gradients;

    /* Where the norm after this layer left the gradient of the MLP's output. */
    const bool drops = pass_dropout(m, pass, l, DROPOUT_FEED_FORWARD).threshold > 0;
    branch_mlp_backward(m, pass, l, a->x2, drops ? m->dbranch : m->dx);
    const void *dbranch = backward_norm(m, pass, &(struct layernorm_backward){
        .dweight = g + o->norm2, .dbias = g + o->norm2_bias, .dy = m->dbranch,
        .dresidual = m->dx, .sum = a->sum2, .mean = a->mean2, .rstd = a->rstd2,
        .weight = w + o->norm2,
    }, pass_dropout(m, pass, l, DROPOUT_ATTENTION));
    branch_attention_backward(m, pass, l, a->x1, dbranch);
    (void)backward_norm(m, pass, &(struct layernorm_backward){
        .dweight = g + o->norm1, .dbias = g + o->norm1_bias, .dy = m->dbranch,
        .dresidual = m->dx, .sum = stream_of(m, l), .mean = a->mean1, .rstd = a->rstd1,
        .weight = w + o->norm1,
    }, pass_dropout(m, pass, l - 1, DROPOUT_FEED_FORWARD));
}

static void append(struct decoder *d, int l)
{
    const struct model *m = d->model;
    const struct layer_offsets *o = &m->offsets.layers[l];
    const float *w = m->weights;

    m->kernels->layernorm_forward(m->device, &(struct layernorm_forward){
        .y = d->x1, .sum = d->x, .x = d->x, .delta = l > 0 ? d->branch : NULL,
        .weight = w + o->norm1, .bias = w + o->norm1_bias, .N = d->rows, .C = m->spec.C,
        .epsilon = NORM_EPSILON,
    });
    branch_attention_append(d, l, d->x1);
    m->kernels->layernorm_forward(m->device, &(struct layernorm_forward){
        .y = d->x1, .sum = d->x, .x = d->x, .delta = d->branch, .weight = w + o->norm2,
        .bias = w + o->norm2_bias, .N = d->rows, .C = m->spec.C, .epsilon = NORM_EPSILON,
    });
    branch_mlp_append(d, l, d->x1);
}

static const void *append_end(struct decoder *d)
{
    const struct model *m = d->model;
    m->kernels->layernorm_forward(m->device, &(struct layernorm_forward){
        .y = d->x1, .sum = d->x, .x = d->x, .delta = d->branch,
        .weight = m->weights + m->offsets.final_norm,
        .bias = m->weights + m->offsets.final_norm_bias, .N = d->rows, .C = m->spec.C,
        .epsilon = NORM_EPSILON,
    });
    return d->x1;
}

const struct block gpt2_block = {
    .activation = ACTIVATION_GELU,
    .embedding_dropout = true,
    .forward = forward,
    .forward_end = forward_end,
    .backward_end = backward_end,
    .backward = backward,
    .append = append,
    .append_end = append_end,
};
