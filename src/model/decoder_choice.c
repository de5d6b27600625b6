/* decoder_choice.c - what follows a decoder's last position: ids, candidates, or all logits. */
#include "model/model.h"

#include <string.h>

/* The logits of the last append, computed once. */
static const float *logits_of(struct decoder *d)
{
    const struct model *m = d->model;
    if (d->position == 0)
        BUG("a decoder without a position is asked for logits");
    if (!d->has_logits)
        m->kernels->logits_forward(m->device, &(struct logits_forward){
            .logits = d->logits, .x = d->head_input,
            .weight = model_operand(m, m->offsets.head),
            .bias = m->offsets.head_bias >= 0 ? m->weights + m->offsets.head_bias : NULL,
            .transposed = m->offsets.tied, .N = d->rows, .C = m->spec.C, .V = m->spec.V,
        });
    d->has_logits = true;
    return d->logits;
}

/* One of the choice's arrays to the device, by way of the decoder's own memory on the host. */
static void put(struct decoder *d, void *to, void *host, const void *from, size_t bytes)
{
    memcpy(host, from, bytes);
    device_copy_in(d->model->device, to, host, bytes);
    d->behind = true;
}

/* Back to the host; there once the decoder has settled. */
static void get(struct decoder *d, void *host, const void *from, size_t bytes)
{
    device_copy_out(d->model->device, host, from, bytes);
    d->behind = true;
}

struct error *decoder_draw(struct decoder *decoder, const struct decoder_draw *how,
                           const int32_t **chosen)
{
    struct decoder *d = decoder;
    const struct model *m = d->model;
    const size_t R = (size_t)d->rows;
    const float *logits = logits_of(d);
    put(d, d->choice.uniforms, d->host_choice.uniforms, how->uniforms, R * sizeof *how->uniforms);
    m->kernels->draw(m->device, &(struct draw){
        .chosen = d->choice.chosen, .probabilities = d->probabilities, .logits = logits,
        .uniforms = d->choice.uniforms, .B = d->rows, .V = m->spec.V, .ids = how->ids,
        .temperature = how->temperature, .most = how->most, .mass = how->mass,
    });
    get(d, d->host_choice.chosen, d->choice.chosen, R * sizeof **chosen);
    TRY(decoder_settle(d));
    *chosen = d->host_choice.chosen;
    return NULL;
}

struct error *decoder_largest(struct decoder *decoder, const struct decoder_largest *how,
                              const int32_t **chosen, const float **values)
{
    struct decoder *d = decoder;
    const struct model *m = d->model;
    const size_t rows = (size_t)how->count, count = rows * (size_t)how->k;
    if (how->count > d->rows || count > (size_t)d->candidates)
        BUG("%d candidates of %d rows, where a decoder of %d has room for %lld", how->k, how->count,
            d->rows, (long long)d->candidates);
    const float *logits = logits_of(d);
    if (how->rows)
        put(d, d->choice.from, d->host_choice.from, how->rows, rows * sizeof *how->rows);
    if (how->scores)
        put(d, d->choice.scores, d->host_choice.scores, how->scores, rows * sizeof *how->scores);
    m->kernels->largest(m->device, &(struct largest){
        .chosen = d->choice.chosen, .values = d->choice.values, .all = d->probabilities,
        .logits = logits, .rows = how->rows ? d->choice.from : NULL,
        .scores = how->scores ? d->choice.scores : NULL, .B = how->count, .V = m->spec.V,
        .ids = how->ids, .k = how->k, .temperature = how->temperature,
    });
    get(d, d->host_choice.chosen, d->choice.chosen, count * sizeof **chosen);
    get(d, d->host_choice.values, d->choice.values, count * sizeof **values);
    TRY(decoder_settle(d));
    *chosen = d->host_choice.chosen;
    *values = d->host_choice.values;
    return NULL;
}

struct error *decoder_logits(struct decoder *decoder, float *logits)
{
    struct decoder *d = decoder;
    get(d, logits, logits_of(d), (size_t)d->rows * (size_t)d->model->spec.V * sizeof *logits);
    return decoder_settle(d);
}
