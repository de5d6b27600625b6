/*
 * decoder.c - one position after the other, keys and values kept.
 *
 * Attention is causal and nothing before a position depends on what follows, so the cached keys and
 * values are exactly those a pass over the whole sequence would compute.
 */
#include "base/arena.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

struct decoder {
    struct model *model;
    int rows, capacity, position;
    size_t row_bytes;            /* of one row in one layer's cache */

    void **cache;                /* L of (rows, 2, NH, capacity, HS) */
    void **other;                /* the same again, to reorder into */
    uint8_t *mask;               /* (rows, capacity) on the device */
    uint8_t *host_mask;          /* the same on the host */
    int32_t *tokens;             /* (rows) on the device */
    void *x, *x1, *branch, *qkv, *attended, *hidden;
    float *logits, *host_logits; /* (rows, V) */

    void *memory, *host_memory;
};

static void lay_out(struct decoder *d, struct arena *arena, struct arena *host)
{
    const struct model *m = d->model;
    const size_t act = dtype_bytes(m->kernels->activation);
    const size_t R = (size_t)d->rows, C = (size_t)m->spec.C;
    const size_t width = (size_t)(m->spec.NH * spec_head_size(&m->spec));
    d->row_bytes = 2 * width * (size_t)d->capacity * act;
    for (int l = 0; l < m->spec.L; l++) {
        d->cache[l] = arena_take(arena, R * d->row_bytes);
        d->other[l] = arena_take(arena, R * d->row_bytes);
    }
    d->mask = arena_take(arena, R * (size_t)d->capacity);
    d->tokens = arena_take(arena, R * sizeof(int32_t));
    d->x = arena_take(arena, R * C * act);
    d->x1 = arena_take(arena, R * C * act);
    d->branch = arena_take(arena, R * C * act);
    d->qkv = arena_take(arena, R * 3 * width * act);
    d->attended = arena_take(arena, R * width * act);
    d->hidden = arena_take(arena, R * (size_t)m->spec.F * act);
    d->logits = arena_take(arena, R * (size_t)m->spec.V * sizeof(float));
    d->host_logits = arena_take(host, R * (size_t)m->spec.V * sizeof(float));
    d->host_mask = arena_take(host, 2 * R * (size_t)d->capacity);
}

static struct error *allocate(struct decoder *d)
{
    struct device *device = d->model->device;
    struct arena arena = {0}, host = {0};
    lay_out(d, &arena, &host);
    TRY(device_allocate(device, &d->memory, arena.used, "the decoder's cache"));
    TRY(device_allocate_host(device, &d->host_memory, host.used, "logits on the host"));
    arena = (struct arena){.base = d->memory, .capacity = arena.used};
    host = (struct arena){.base = d->host_memory, .capacity = host.used};
    lay_out(d, &arena, &host);
    return NULL;
}

struct error *decoder_create(struct decoder **out, struct model *model, int rows, int capacity)
{
    struct error *e = NULL;
    if (capacity > model->spec.positions)
        return error_new(ERROR_USAGE, "%d positions are more than the model's %d", capacity,
                         model->spec.positions);
    struct decoder *d = calloc(1, sizeof *d);
    if (!d)
        return error_new(ERROR_MEMORY, "no memory for the decoder (%zu bytes)", sizeof *d);
    d->model = model;
    d->rows = rows;
    d->capacity = capacity;
    d->cache = calloc((size_t)model->spec.L, sizeof *d->cache);
    d->other = calloc((size_t)model->spec.L, sizeof *d->other);
    if (!d->cache || !d->other) {
        e = error_new(ERROR_MEMORY, "no memory for the cache of %d layers", model->spec.L);
        goto fail;
    }
    if ((e = model->kernels->reserve(model->device, &(struct kernel_limits){
             .N = rows, .T = capacity, .C = model->spec.C, .F = model->spec.F,
             .NH = model->spec.NH, .HS = spec_head_size(&model->spec), .V = model->spec.V})))
        goto fail;
    if ((e = allocate(d)))
        goto fail;
    *out = d;
    return NULL;

fail:
    decoder_destroy(d);
    return e;
}

void decoder_destroy(struct decoder *decoder)
{
    if (!decoder)
        return;
    device_release(decoder->model->device, decoder->memory);
    device_release(decoder->model->device, decoder->host_memory);
    free(decoder->cache);
    free(decoder->other);
    free(decoder);
}

void decoder_reset(struct decoder *decoder)
{
    decoder->position = 0;
}

int decoder_position(const struct decoder *decoder)
{
    return decoder->position;
}

static void append_layer(struct decoder *d, int l)
{
    struct model *m = d->model;
    const struct kernels *k = m->kernels;
    const struct layer_offsets *o = &m->offsets.layers[l];
    const float *w = m->weights;
    const int C = m->spec.C, NH = m->spec.NH, HS = spec_head_size(&m->spec), F = m->spec.F;
    const int64_t N = d->rows;
    const float epsilon = 1e-5f;

    k->linear_forward(m->device, &(struct linear_forward){
        .y = d->qkv, .x = d->x, .weight = model_operand(m, o->qkv), .bias = w + o->qkv_bias,
        .N = N, .K = C, .M = 3 * NH * HS,
    });
    k->attention_decode(m->device, &(struct attention_decode){
        .out = d->attended, .cache = d->cache[l], .cache_mask = d->mask, .qkv = d->qkv,
        .B = d->rows, .n = 1, .NH = NH, .HS = HS, .capacity = d->capacity,
        .position = d->position,
    });
    k->linear_forward(m->device, &(struct linear_forward){
        .y = d->branch, .x = d->attended, .weight = model_operand(m, o->out),
        .bias = w + o->out_bias, .N = N, .K = NH * HS, .M = C,
    });
    k->layernorm_forward(m->device, &(struct layernorm_forward){
        .y = d->x1, .sum = d->x, .x = d->x, .delta = d->branch, .weight = w + o->norm1,
        .bias = w + o->norm1_bias, .N = N, .C = C, .epsilon = epsilon,
    });
    k->linear_forward(m->device, &(struct linear_forward){
        .y = d->hidden, .x = d->x1, .weight = model_operand(m, o->up), .bias = w + o->up_bias,
        .activation = ACTIVATION_RELU, .N = N, .K = C, .M = F,
    });
    k->linear_forward(m->device, &(struct linear_forward){
        .y = d->branch, .x = d->hidden, .weight = model_operand(m, o->down),
        .bias = w + o->down_bias, .N = N, .K = F, .M = C,
    });
    k->layernorm_forward(m->device, &(struct layernorm_forward){
        .y = d->x, .sum = d->x1, .x = d->x1, .delta = d->branch, .weight = w + o->norm2,
        .bias = w + o->norm2_bias, .N = N, .C = C, .epsilon = epsilon,
    });
}

struct error *decoder_append(struct decoder *decoder, const int32_t *tokens, const float **logits)
{
    struct decoder *d = decoder;
    struct model *m = d->model;
    if (d->position >= d->capacity)
        BUG("a decoder of %d positions is asked for one more", d->capacity);
    const size_t R = (size_t)d->rows, capacity = (size_t)d->capacity;
    for (size_t r = 0; r < R; r++)
        d->host_mask[r * capacity + (size_t)d->position] = tokens[r] != 0;
    device_copy_in(m->device, d->mask, d->host_mask, R * capacity);
    device_copy_in(m->device, d->tokens, tokens, R * sizeof(int32_t));

    m->kernels->embed_forward(m->device, &(struct embed_forward){
        .x = d->x, .tokens = d->tokens, .token_table = m->weights + m->offsets.token,
        .position_table = m->weights + m->offsets.position,
        .B = d->rows, .T = 1, .C = m->spec.C, .first_position = d->position,
    });
    for (int l = 0; l < m->spec.L; l++)
        append_layer(d, l);
    m->kernels->logits_forward(m->device, &(struct logits_forward){
        .logits = d->logits, .x = d->x, .weight = model_operand(m, m->offsets.head),
        .bias = m->weights + m->offsets.head_bias, .N = d->rows, .C = m->spec.C, .V = m->spec.V,
    });
    device_copy_out(m->device, d->host_logits, d->logits, R * (size_t)m->spec.V * sizeof(float));
    TRY(device_synchronize(m->device));
    d->position++;
    *logits = d->host_logits;
    return NULL;
}

struct error *decoder_reorder(struct decoder *decoder, const int *from)
{
    struct decoder *d = decoder;
    const size_t R = (size_t)d->rows, capacity = (size_t)d->capacity;
    for (int l = 0; l < d->model->spec.L; l++) {
        for (size_t r = 0; r < R; r++)
            device_copy(d->model->device, (char *)d->other[l] + r * d->row_bytes,
                        (const char *)d->cache[l] + (size_t)from[r] * d->row_bytes, d->row_bytes);
        void *swap = d->cache[l];
        d->cache[l] = d->other[l];
        d->other[l] = swap;
    }
    uint8_t *old = d->host_mask + R * capacity;
    memcpy(old, d->host_mask, R * capacity);
    for (size_t r = 0; r < R; r++)
        memcpy(d->host_mask + r * capacity, old + (size_t)from[r] * capacity, capacity);
    return device_check(d->model->device);
}
