/*
 * mini_gpt_block.c - the mini-GPT's blocks: post-norm, as KerasHub's TransformerDecoder by default.
 *
 *   x1 = norm(x + drop(attention(x))),  x2 = norm(x1 + drop(W2 relu(W1 x1 + b1) + b2));
 * nothing follows the last block. The example has no dropout; where a configuration sets some, it
 * sits where that class has it.
 */
#include "model/model.h"

/* What layer l reads. */
static const void *input_of(const struct model *m, int l)
{
    return l > 0 ? m->layers[l - 1].x2 : m->x0;
}

static void forward(struct model *m, const struct pass *pass, int l)
{
    const struct layer_offsets *o = &m->offsets.layers[l];
    const struct layer_activations *a = &m->layers[l];
    const float *w = m->weights;

    branch_attention(m, pass, l, input_of(m, l));
    m->kernels->layernorm_forward(m->device, &(struct layernorm_forward){
        .y = a->x1, .sum = a->sum1, .mean = a->mean1, .rstd = a->rstd1, .x = input_of(m, l),
        .delta = m->branch, .weight = w + o->norm1, .bias = w + o->norm1_bias, .N = pass->N,
        .C = m->spec.C, .epsilon = NORM_EPSILON,
        .dropout = pass_dropout(m, pass, l, DROPOUT_ATTENTION),
    });
    branch_mlp(m, pass, l, a->x1);
    m->kernels->layernorm_forward(m->device, &(struct layernorm_forward){
        .y = a->x2, .sum = a->sum2, .mean = a->mean2, .rstd = a->rstd2, .x = a->x1,
        .delta = m->branch, .weight = w + o->norm2, .bias = w + o->norm2_bias, .N = pass->N,
        .C = m->spec.C, .epsilon = NORM_EPSILON,
        .dropout = pass_dropout(m, pass, l, DROPOUT_FEED_FORWARD),
    });
}

static const void *forward_end(struct model *m, const struct pass *pass)
{
    (void)pass;
    return input_of(m, m->spec.L);
}

static void backward_end(struct model *m, const struct pass *pass)
{
    (void)m;
    (void)pass;
}

/* A norm's gradient is m->dx, and beside the last also m->dbranch; it leaves that of the sum before
 * it in m->dx, and returns that of the branch in the sum. */
static const void *backward_norm(struct model *m, const struct pass *pass, bool in_two,
                                 const struct layernorm_backward *norm, struct dropout dropout)
{
    struct layernorm_backward arguments = *norm;
    const bool drops = dropout.threshold > 0;
    arguments.dsum = m->dx;
    arguments.ddelta = drops ? m->dbranch : NULL;
    arguments.dy = m->dx;
    arguments.dy_more = in_two ? m->dbranch : NULL;
    arguments.N = pass->N;
    arguments.C = m->spec.C;
    arguments.dropout = dropout;
    m->kernels->layernorm_backward(m->device, &arguments);
    return drops ? m->dbranch : m->dx;
}

static void backward(struct model *m, const struct pass *pass, int l)
{
    const struct layer_offsets *o = &m->offsets.layers[l];
    const struct layer_activations *a = &m->layers[l];
    const float *w = m->weights;
    float *g = m->gradients;

    const void *dbranch = backward_norm(m, pass, l < m->spec.L - 1, &(struct layernorm_backward){
        .dweight = g + o->norm2, .dbias = g + o->norm2_bias, .sum = a->sum2, .mean = a->mean2,
        .rstd = a->rstd2, .weight = w + o->norm2,
    }, pass_dropout(m, pass, l, DROPOUT_FEED_FORWARD));
    branch_mlp_backward(m, pass, l, a->x1, dbranch);
    dbranch = backward_norm(m, pass, true, &(struct layernorm_backward){
        .dweight = g + o->norm1, .dbias = g + o->norm1_bias, .sum = a->sum1, .mean = a->mean1,
        .rstd = a->rstd1, .weight = w + o->norm1,
    }, pass_dropout(m, pass, l, DROPOUT_ATTENTION));
    branch_attention_backward(m, pass, l, input_of(m, l), dbranch);
}

static void append(struct decoder *d, int l)
{
    const struct model *m = d->model;
    const struct layer_offsets *o = &m->offsets.layers[l];
    const float *w = m->weights;

    branch_attention_append(d, l, d->x);
    m->kernels->layernorm_forward(m->device, &(struct layernorm_forward){
        .y = d->x1, .sum = d->x, .x = d->x, .delta = d->branch, .weight = w + o->norm1,
        .bias = w + o->norm1_bias, .N = d->rows, .C = m->spec.C, .epsilon = NORM_EPSILON,
    });
    branch_mlp_append(d, l, d->x1);
    m->kernels->layernorm_forward(m->device, &(struct layernorm_forward){
        .y = d->x, .sum = d->x1, .x = d->x1, .delta = d->branch, .weight = w + o->norm2,
        .bias = w + o->norm2_bias, .N = d->rows, .C = m->spec.C, .epsilon = NORM_EPSILON,
    });
}

static const void *append_end(struct decoder *d)
{
    return d->x;
}

const struct block mini_gpt_block = {
    .activation = ACTIVATION_RELU,
    .forward = forward,
    .forward_end = forward_end,
    .backward_end = backward_end,
    .backward = backward,
    .input_gradient_in_two = true,
    .append = append,
    .append_end = append_end,
};
