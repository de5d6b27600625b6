/*
 * decoder.c - one position after the other, keys and values kept.
 *
 * Attention is causal and nothing before a position depends on what follows, so the cached keys and
 * values are exactly those a pass over the whole sequence would compute.
 */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

static void lay_out_choice(struct choice *c, const struct decoder *d, struct arena *arena)
{
    const size_t R = (size_t)d->rows, candidates = (size_t)d->candidates;
    c->uniforms = arena_take(arena, R * sizeof *c->uniforms);
    c->scores = arena_take(arena, R * sizeof *c->scores);
    c->from = arena_take(arena, R * sizeof *c->from);
    c->chosen = arena_take(arena, (R > candidates ? R : candidates) * sizeof *c->chosen);
    c->values = arena_take(arena, candidates * sizeof *c->values);
}

static void lay_out(struct decoder *d, struct arena *arena, struct arena *host)
{
    const struct model *m = d->model;
    const size_t act = dtype_bytes(m->kernels->activation);
    const size_t R = (size_t)d->rows, C = (size_t)m->spec.C;
    const size_t width = (size_t)(m->spec.NH * m->HSP);
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
    d->probabilities = arena_take(arena, R * (size_t)m->spec.V * sizeof(float));
    lay_out_choice(&d->choice, d, arena);
    lay_out_choice(&d->host_choice, d, host);
    d->host_tokens = arena_take(host, R * sizeof(int32_t));
    d->host_input = arena_take(host, R * C * act);
    d->host_hidden = arena_take(host, R * C * sizeof(float));
    d->host_mask = arena_take(host, 2 * R * (size_t)d->capacity);
}

static struct error *allocate(struct decoder *d)
{
    struct device *device = d->model->device;
    struct arena arena = {0}, host = {0};
    lay_out(d, &arena, &host);
    TRY(device_allocate(device, &d->memory, arena.used, "the decoder's cache"));
    TRY(device_allocate_host(device, &d->host_memory, host.used, "the decoder's choices"));
    arena = (struct arena){.base = d->memory, .capacity = arena.used};
    host = (struct arena){.base = d->host_memory, .capacity = host.used};
    lay_out(d, &arena, &host);
    return NULL;
}

struct error *decoder_create(struct decoder **out, struct model *model, int rows, int capacity,
                             int64_t candidates)
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
    d->candidates = candidates;
    d->cache = calloc((size_t)model->spec.L, sizeof *d->cache);
    d->other = calloc((size_t)model->spec.L, sizeof *d->other);
    if (!d->cache || !d->other) {
        e = error_new(ERROR_MEMORY, "no memory for the cache of %d layers", model->spec.L);
        goto fail;
    }
    if ((e = model->kernels->reserve(model->device, &(struct kernel_limits){
             .N = rows, .T = capacity, .C = model->spec.C, .F = model->spec.F,
             .NH = model->spec.NH, .HS = model->HSP, .V = model->spec.V,
             .tied = model->offsets.tied})))
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

/* Whether later positions may see a token: a mini-GPT's embedding masks zeros, GPT-2's does not. */
static bool is_seen(const struct model *m, int32_t token)
{
    return m->spec.family != MODEL_MINI_GPT || token != 0;
}

struct error *decoder_settle(struct decoder *decoder)
{
    if (!decoder->behind)
        return device_check(decoder->model->device);
    decoder->behind = false;
    return device_synchronize(decoder->model->device);
}

struct error *decoder_append(struct decoder *decoder, const int32_t *tokens)
{
    struct decoder *d = decoder;
    struct model *m = d->model;
    if (d->position >= d->capacity)
        BUG("a decoder of %d positions is asked for one more", d->capacity);
    TRY(decoder_settle(d));
    const size_t R = (size_t)d->rows, capacity = (size_t)d->capacity;
    for (size_t r = 0; r < R; r++)
        d->host_mask[r * capacity + (size_t)d->position] = is_seen(m, tokens[r]);
    memcpy(d->host_tokens, tokens, R * sizeof *tokens);
    device_copy_in(m->device, d->mask, d->host_mask, R * capacity);
    device_copy_in(m->device, d->tokens, d->host_tokens, R * sizeof *tokens);
    d->behind = true;

    m->kernels->embed_forward(m->device, &(struct embed_forward){
        .x = d->x, .tokens = d->tokens, .token_table = m->weights + m->offsets.token,
        .position_table = m->weights + m->offsets.position,
        .B = d->rows, .T = 1, .C = m->spec.C, .first_position = d->position,
    });
    for (int l = 0; l < m->spec.L; l++)
        m->block->append(d, l);
    d->head_input = m->block->append_end(d);
    d->has_logits = false;
    d->position++;
    return device_check(m->device);
}

struct error *decoder_hidden(struct decoder *decoder, const float **hidden)
{
    struct decoder *d = decoder;
    const struct model *m = d->model;
    const int64_t count = (int64_t)d->rows * m->spec.C;
    device_copy_out(m->device, d->host_input, d->head_input,
                    (size_t)count * dtype_bytes(m->kernels->activation));
    d->behind = true;
    TRY(decoder_settle(d));
    *hidden = d->host_hidden;
    if (m->kernels->activation == DTYPE_F32)
        *hidden = d->host_input;
    else
        for (int64_t i = 0; i < count; i++)
            d->host_hidden[i] =
                half_to_float(m->kernels->activation, ((const uint16_t *)d->host_input)[i]);
    return NULL;
}

struct error *decoder_reorder(struct decoder *decoder, const int *from)
{
    struct decoder *d = decoder;
    const size_t R = (size_t)d->rows, capacity = (size_t)d->capacity;
    TRY(decoder_settle(d));    /* the mask on the host changes below */
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
