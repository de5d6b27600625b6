/*
 * gpt.c - forward and backward from tokens to gradients, of every family and on any table of
 * kernels: embedding, the family's blocks, head. The head is a matrix of its own or the token
 * table.
 */
#include "model/gpt.h"

#include "model/model.h"

/* ---- forward ---- */

struct batch model_load(struct model *model, const struct batch *batch)
{
    struct model *m = model;
    const size_t N = (size_t)batch->B * (size_t)batch->T;
    if (N > (size_t)m->options.B * (size_t)m->options.T || batch->T > m->options.T)
        BUG("a batch of %d x %d in a model made for %d x %d", batch->B, batch->T, m->options.B,
            m->options.T);
    device_copy_in(m->device, m->tokens, batch->tokens, N * sizeof(int32_t));
    if (batch->key_mask)
        device_copy_in(m->device, m->key_mask, batch->key_mask, N);
    if (batch->first_key)
        device_copy_in(m->device, m->first_key, batch->first_key, N * sizeof(int32_t));
    if (batch->positions)
        device_copy_in(m->device, m->positions, batch->positions, N * sizeof(int32_t));
    if (batch->targets) {
        device_copy_in(m->device, m->targets, batch->targets, N * sizeof(int32_t));
        device_copy_in(m->device, m->loss_mask, batch->loss_mask, N);
        device_copy_in(m->device, m->metric_mask, batch->metric_mask, N);
    }
    struct batch loaded = *batch;
    loaded.tokens = m->tokens;
    loaded.targets = m->targets;
    loaded.key_mask = batch->key_mask ? m->key_mask : NULL;
    loaded.loss_mask = m->loss_mask;
    loaded.metric_mask = m->metric_mask;
    loaded.first_key = batch->first_key ? m->first_key : NULL;
    loaded.positions = batch->positions ? m->positions : NULL;
    return loaded;
}

static struct pass begin_pass(const struct batch *batch, bool training)
{
    return (struct pass){
        .batch = batch, .B = batch->B, .T = batch->T, .N = (int64_t)batch->B * batch->T,
        .training = training,
    };
}

static struct dropout embedding_dropout(const struct model *m, const struct pass *pass)
{
    return m->block->embedding_dropout ? pass_dropout(m, pass, 0, DROPOUT_EMBEDDING)
                                       : (struct dropout){0};
}

/* Up to what the head reads: (N, C). */
static const void *forward(struct model *m, const struct pass *pass)
{
    m->kernels->embed_forward(m->device, &(struct embed_forward){
        .x = m->x0, .tokens = pass->batch->tokens,
        .token_table = m->weights + m->offsets.token,
        .position_table = m->weights + m->offsets.position, .positions = pass->batch->positions,
        .B = pass->B, .T = pass->T, .C = m->spec.C, .dropout = embedding_dropout(m, pass),
    });
    for (int l = 0; l < m->spec.L; l++)
        m->block->forward(m, pass, l);
    return m->block->forward_end(m, pass);
}

/* The head: losses, added to the sums, and in training its gradients and m->dx. */
static void classify(struct model *m, const struct pass *pass, const void *x,
                     struct loss_sums *sums, const float *gradient_scale)
{
    const struct model_offsets *o = &m->offsets;
    const bool bias = o->head_bias >= 0;
    m->kernels->classifier(m->device, &(struct classifier){
        .losses = m->losses, .correct = m->correct,
        .dx = pass->training ? m->dx : NULL,
        .dweight = pass->training ? m->gradients + o->head : NULL,
        .dbias = pass->training && bias ? m->gradients + o->head_bias : NULL,
        .x = x, .weight = model_operand(m, o->head),
        .bias = bias ? m->weights + o->head_bias : NULL,
        .targets = pass->batch->targets, .mask = pass->batch->loss_mask,
        .gradient_scale = gradient_scale, .transposed = o->tied,
        .N = pass->N, .C = m->spec.C, .V = m->spec.V,
    });
    m->kernels->sum_losses(m->device, &(struct sum_losses){
        .sums = sums, .losses = m->losses, .correct = m->correct,
        .loss_mask = pass->batch->loss_mask, .metric_mask = pass->batch->metric_mask,
        .N = pass->N,
    });
}

struct error *model_evaluate(struct model *model, const struct batch *batch,
                             struct loss_sums *sums)
{
    struct model *m = model;
    const struct batch loaded = model_load(m, batch);
    const struct pass pass = begin_pass(&loaded, false);
    *m->host_sums = *sums;
    device_copy_in(m->device, m->sums, m->host_sums, sizeof *sums);
    classify(m, &pass, forward(m, &pass), m->sums, NULL);
    device_copy_out(m->device, m->host_sums, m->sums, sizeof *sums);
    TRY(device_synchronize(m->device));
    *sums = *m->host_sums;
    return NULL;
}

/* The rows of `x` at the places, one after the other in m->branch; runs of them are copied as
 * one. */
static void gather_places(struct model *m, const char *x, const struct model_questions *q)
{
    const size_t row_bytes = (size_t)m->spec.C * dtype_bytes(m->kernels->activation);
    for (int first = 0, end; first < q->count; first = end) {
        end = first + 1;
        while (end < q->count && q->places[end] == q->places[end - 1] + 1)
            end++;
        device_copy(m->device, (char *)m->branch + (size_t)first * row_bytes,
                    x + (size_t)q->places[first] * row_bytes, (size_t)(end - first) * row_bytes);
    }
}

struct error *model_score(struct model *model, const struct batch *batch,
                          const struct model_questions *questions)
{
    struct model *m = model;
    const struct model_questions *q = questions;
    const struct model_offsets *o = &m->offsets;
    const size_t count = (size_t)q->count;
    struct batch read = *batch;
    read.targets = NULL;
    const struct batch loaded = model_load(m, &read);
    const struct pass pass = begin_pass(&loaded, false);
    device_copy_in(m->device, m->targets, q->targets, count * sizeof(int32_t));
    device_zero(m->device, m->loss_mask, count);
    gather_places(m, forward(m, &pass), q);
    m->kernels->classifier(m->device, &(struct classifier){
        .losses = m->losses, .correct = m->correct, .x = m->branch,
        .weight = model_operand(m, o->head),
        .bias = o->head_bias >= 0 ? m->weights + o->head_bias : NULL,
        .targets = m->targets, .mask = m->loss_mask, .transposed = o->tied,
        .N = q->count, .C = m->spec.C, .V = m->spec.V,
    });
    device_copy_out(m->device, q->losses, m->losses, count * sizeof(float));
    device_copy_out(m->device, q->correct, m->correct, count);
    return device_synchronize(m->device);
}

struct error *model_logits(struct model *model, const struct batch *batch, float *logits)
{
    const struct batch loaded = model_load(model, batch);
    const struct pass pass = begin_pass(&loaded, false);
    const struct model_offsets *o = &model->offsets;
    const int64_t N = pass.N;
    const size_t bytes = (size_t)N * (size_t)model->spec.V * sizeof(float);
    void *memory;
    TRY(device_allocate(model->device, &memory, bytes, "logits"));
    const void *x = forward(model, &pass);
    model->kernels->logits_forward(model->device, &(struct logits_forward){
        .logits = memory, .x = x, .weight = model_operand(model, o->head),
        .bias = o->head_bias >= 0 ? model->weights + o->head_bias : NULL,
        .transposed = o->tied, .N = N, .C = model->spec.C, .V = model->spec.V,
    });
    device_copy_out(model->device, logits, memory, bytes);
    struct error *e = device_synchronize(model->device);
    device_release(model->device, memory);
    return e;
}

/* ---- backward ---- */

static void tell_ready(model_ready *ready, void *self, int64_t first)
{
    if (ready)
        ready(self, first);
}

void model_train(struct model *model, const struct batch *batch, struct loss_sums *sums,
                 const float *gradient_scale, model_ready *ready, void *self)
{
    struct model *m = model;
    if (!m->gradients)
        BUG("a model without gradients is trained");
    const struct pass pass = begin_pass(batch, true);
    classify(m, &pass, forward(m, &pass), sums, gradient_scale);
    if (!m->offsets.tied)
        tell_ready(ready, self, m->n_squares + m->offsets.head);
    m->block->backward_end(m, &pass);
    if (m->offsets.final_norm >= 0)
        tell_ready(ready, self, m->n_squares + m->offsets.final_norm);
    for (int l = m->spec.L - 1; l >= 0; l--) {
        m->block->backward(m, &pass, l);
        tell_ready(ready, self, m->n_squares + m->offsets.layers[l].qkv);
    }
    m->kernels->embed_backward(m->device, &(struct embed_backward){
        .dtoken_table = m->gradients + m->offsets.token,
        .dposition_table = m->gradients + m->offsets.position,
        .dtoken_squares = m->token_squares, .dx = m->dx,
        .dx_more = m->block->input_gradient_in_two ? m->dbranch : NULL, .tokens = batch->tokens,
        .positions = batch->positions, .B = pass.B, .T = pass.T, .C = m->spec.C,
        .dropout = embedding_dropout(m, &pass),
    });
    tell_ready(ready, self, 0);
}
