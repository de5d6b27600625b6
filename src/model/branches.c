/* branches.c - what stands beside the residual stream in every block: attention, and the MLP. */
#include "model/model.h"

/* ---- attention ---- */

void branch_attention(struct model *m, const struct pass *pass, int l, const void *x)
{
    const struct kernels *k = m->kernels;
    const struct layer_offsets *o = &m->offsets.layers[l];
    const struct layer_activations *a = &m->layers[l];
    const int C = m->spec.C, NH = m->spec.NH, HSP = m->HSP;

    k->linear_forward(m->device, &(struct linear_forward){
        .y = a->qkv, .x = x, .weight = model_operand(m, o->qkv),
        .bias = m->weights + o->qkv_bias, .N = pass->N, .K = C, .M = 3 * NH * HSP,
    });
    k->attention_forward(m->device, &(struct attention_forward){
        .out = a->attended, .lse = a->lse, .qkv = a->qkv, .key_mask = pass->batch->key_mask,
        .first_key = pass->batch->first_key, .B = pass->B, .T = pass->T, .NH = NH, .HS = HSP,
        .scale = model_attention_scale(m),
        .dropout = pass_dropout(m, pass, l, DROPOUT_PROBABILITIES),
    });
    k->linear_forward(m->device, &(struct linear_forward){
        .y = m->branch, .x = a->attended, .weight = model_operand(m, o->out),
        .bias = m->weights + o->out_bias, .N = pass->N, .K = NH * HSP, .M = C,
    });
}

void branch_attention_backward(struct model *m, const struct pass *pass, int l, const void *x,
                               const void *dy)
{
    const struct kernels *k = m->kernels;
    const struct layer_offsets *o = &m->offsets.layers[l];
    const struct layer_activations *a = &m->layers[l];
    float *g = m->gradients;
    const int C = m->spec.C, NH = m->spec.NH, HSP = m->HSP;

    k->linear_backward(m->device, &(struct linear_backward){
        .dx = m->dattended, .dweight = g + o->out, .dbias = g + o->out_bias, .dy = dy,
        .x = a->attended, .weight = model_operand(m, o->out), .N = pass->N, .K = NH * HSP, .M = C,
    });
    k->attention_backward(m->device, &(struct attention_backward){
        .dqkv = m->dqkv, .dout = m->dattended, .out = a->attended, .lse = a->lse, .qkv = a->qkv,
        .key_mask = pass->batch->key_mask, .first_key = pass->batch->first_key,
        .B = pass->B, .T = pass->T, .NH = NH, .HS = HSP, .scale = model_attention_scale(m),
        .dropout = pass_dropout(m, pass, l, DROPOUT_PROBABILITIES),
    });
    k->linear_backward(m->device, &(struct linear_backward){
        .dx = m->dbranch, .dweight = g + o->qkv, .dbias = g + o->qkv_bias, .dy = m->dqkv, .x = x,
        .weight = model_operand(m, o->qkv), .N = pass->N, .K = C, .M = 3 * NH * HSP,
    });
}

void branch_attention_append(struct decoder *d, int l, const void *x)
{
    const struct model *m = d->model;
    const struct kernels *k = m->kernels;
    const struct layer_offsets *o = &m->offsets.layers[l];
    const int C = m->spec.C, NH = m->spec.NH, HSP = m->HSP;

    k->linear_forward(m->device, &(struct linear_forward){
        .y = d->qkv, .x = x, .weight = model_operand(m, o->qkv), .bias = m->weights + o->qkv_bias,
        .N = d->rows, .K = C, .M = 3 * NH * HSP,
    });
    k->attention_decode(m->device, &(struct attention_decode){
        .out = d->attended, .cache = d->cache[l], .cache_mask = d->mask, .qkv = d->qkv,
        .B = d->rows, .n = 1, .NH = NH, .HS = HSP, .scale = model_attention_scale(m),
        .capacity = d->capacity, .position = d->position,
    });
    k->linear_forward(m->device, &(struct linear_forward){
        .y = d->branch, .x = d->attended, .weight = model_operand(m, o->out),
        .bias = m->weights + o->out_bias, .N = d->rows, .K = NH * HSP, .M = C,
    });
}

/* ---- the MLP ---- */

void branch_mlp(struct model *m, const struct pass *pass, int l, const void *x)
{
    const struct kernels *k = m->kernels;
    const struct layer_offsets *o = &m->offsets.layers[l];
    const struct layer_activations *a = &m->layers[l];
    const int C = m->spec.C, F = m->spec.F;

    k->linear_forward(m->device, &(struct linear_forward){
        .y = a->hidden, .pre = a->pre, .x = x, .weight = model_operand(m, o->up),
        .bias = m->weights + o->up_bias, .activation = m->block->activation,
        .N = pass->N, .K = C, .M = F,
    });
    k->linear_forward(m->device, &(struct linear_forward){
        .y = m->branch, .x = a->hidden, .weight = model_operand(m, o->down),
        .bias = m->weights + o->down_bias, .N = pass->N, .K = F, .M = C,
    });
}

void branch_mlp_backward(struct model *m, const struct pass *pass, int l, const void *x,
                         const void *dy)
{
    const struct kernels *k = m->kernels;
    const struct layer_offsets *o = &m->offsets.layers[l];
    const struct layer_activations *a = &m->layers[l];
    float *g = m->gradients;
    const int C = m->spec.C, F = m->spec.F;

    k->linear_backward(m->device, &(struct linear_backward){
        .dx = m->dhidden, .dweight = g + o->down, .dbias = g + o->down_bias, .dy = dy,
        .x = a->hidden, .weight = model_operand(m, o->down),
        .x_activation = m->block->activation, .x_pre = a->pre, .N = pass->N, .K = F, .M = C,
    });
    k->linear_backward(m->device, &(struct linear_backward){
        .dx = m->dbranch, .dweight = g + o->up, .dbias = g + o->up_bias, .dy = m->dhidden, .x = x,
        .weight = model_operand(m, o->up), .N = pass->N, .K = C, .M = F,
    });
}

void branch_mlp_append(struct decoder *d, int l, const void *x)
{
    const struct model *m = d->model;
    const struct kernels *k = m->kernels;
    const struct layer_offsets *o = &m->offsets.layers[l];
    const int C = m->spec.C, F = m->spec.F;

    k->linear_forward(m->device, &(struct linear_forward){
        .y = d->hidden, .x = x, .weight = model_operand(m, o->up), .bias = m->weights + o->up_bias,
        .activation = m->block->activation, .N = d->rows, .K = C, .M = F,
    });
    k->linear_forward(m->device, &(struct linear_forward){
        .y = d->branch, .x = d->hidden, .weight = model_operand(m, o->down),
        .bias = m->weights + o->down_bias, .N = d->rows, .K = F, .M = C,
    });
}
