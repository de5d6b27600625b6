/* model.c - a model's memory: what is kept of weights, gradients and activations, and where. */
#include "model/model.h"

#include <stdlib.h>

static void lay_out_layer(struct layer_activations *a, const struct model *m, struct arena *arena)
{
    const size_t act = dtype_bytes(m->kernels->activation);
    const size_t N = (size_t)m->options.B * (size_t)m->options.T;
    const size_t C = (size_t)m->spec.C, width = (size_t)(m->spec.NH * m->HSP);
    a->qkv = arena_take(arena, N * 3 * width * act);
    a->attended = arena_take(arena, N * width * act);
    a->lse = arena_take(arena, N * (size_t)m->spec.NH * sizeof(float));
    a->sum1 = arena_take(arena, N * C * act);
    a->x1 = arena_take(arena, N * C * act);
    a->mean1 = arena_take(arena, N * sizeof(float));
    a->rstd1 = arena_take(arena, N * sizeof(float));
    if (m->block->activation == ACTIVATION_GELU && m->options.training)
        a->pre = arena_take(arena, N * (size_t)m->spec.F * act);
    a->hidden = arena_take(arena, N * (size_t)m->spec.F * act);
    a->sum2 = arena_take(arena, N * C * act);
    a->x2 = arena_take(arena, N * C * act);
    a->mean2 = arena_take(arena, N * sizeof(float));
    a->rstd2 = arena_take(arena, N * sizeof(float));
}

static void lay_out_activations(struct model *m, struct arena *arena)
{
    const size_t act = dtype_bytes(m->kernels->activation);
    const size_t N = (size_t)m->options.B * (size_t)m->options.T;
    const size_t C = (size_t)m->spec.C, width = (size_t)(m->spec.NH * m->HSP);
    m->tokens = arena_take(arena, N * sizeof(int32_t));
    m->targets = arena_take(arena, N * sizeof(int32_t));
    m->first_key = arena_take(arena, N * sizeof(int32_t));
    m->positions = arena_take(arena, N * sizeof(int32_t));
    m->key_mask = arena_take(arena, N);
    m->loss_mask = arena_take(arena, N);
    m->metric_mask = arena_take(arena, N);
    m->sums = arena_take(arena, sizeof *m->sums);
    m->x0 = arena_take(arena, N * C * act);
    for (int l = 0; l < m->spec.L; l++) {
        /* Without backward nothing of a layer is needed after it, but for the next one's input:
         * layers take turns with two sets. */
        if (m->options.training || l < 2)
            lay_out_layer(&m->layers[l], m, arena);
        else
            m->layers[l] = m->layers[l - 2];
    }
    m->branch = arena_take(arena, N * C * act);
    if (m->offsets.final_norm >= 0) {
        m->final_sum = arena_take(arena, N * C * act);
        m->final_x = arena_take(arena, N * C * act);
        m->final_mean = arena_take(arena, N * sizeof(float));
        m->final_rstd = arena_take(arena, N * sizeof(float));
    }
    m->losses = arena_take(arena, N * sizeof(float));
    m->correct = arena_take(arena, N);
    if (m->options.training) {
        m->dx = arena_take(arena, N * C * act);
        m->dbranch = arena_take(arena, N * C * act);
        m->dqkv = arena_take(arena, N * 3 * width * act);
        m->dattended = arena_take(arena, N * width * act);
        m->dhidden = arena_take(arena, N * (size_t)m->spec.F * act);
    }
}

static void lay_out_state(struct model *m, struct arena *arena)
{
    const size_t count = (size_t)m->layout->flat_count;
    m->weights = arena_take(arena, count * sizeof(float));
    m->copy = m->kernels->activation == DTYPE_F32
                  ? NULL
                  : arena_take(arena, count * dtype_bytes(m->kernels->activation));
}

/* What is summed over ranks, in one piece. */
static void lay_out_summed(struct model *m, struct arena *arena)
{
    const size_t count = (size_t)m->layout->flat_count;
    m->n_squares = 0;
    if (m->options.token_squares) {
        /* The table's size is rounded up to the arena's alignment. */
        m->n_squares = ((int64_t)m->spec.V * m->spec.C + 15) / 16 * 16;
        m->token_squares = arena_take(arena, (size_t)m->n_squares * sizeof(float));
    }
    m->gradients = arena_take(arena, count * sizeof(float));
}

static struct error *allocate(struct model *m)
{
    struct arena activations = {0}, state = {0};
    void *host;
    lay_out_activations(m, &activations);
    lay_out_state(m, &state);
    TRY(device_allocate(m->device, &m->memory, activations.used, "activations"));
    TRY(device_allocate(m->device, &m->state, state.used, "weights"));
    TRY(device_allocate_host(m->device, &host, sizeof *m->host_sums, "losses on the host"));
    m->host_sums = host;

    activations = (struct arena){.base = m->memory, .capacity = activations.used};
    state = (struct arena){.base = m->state, .capacity = state.used};
    lay_out_activations(m, &activations);
    lay_out_state(m, &state);
    if (!m->options.training)
        return NULL;

    struct arena summed = {0};
    lay_out_summed(m, &summed);
    TRY(device_allocate_shared(m->device, &m->summed, summed.used, "gradients"));
    summed = (struct arena){.base = m->summed, .capacity = summed.used};
    lay_out_summed(m, &summed);
    return NULL;
}

struct error *model_create(struct model **out, struct device *device,
                           const struct kernels *kernels, const struct model_spec *spec,
                           const struct model_options *options)
{
    struct error *e;
    struct model *m = calloc(1, sizeof *m);
    if (!m)
        return error_new(ERROR_MEMORY, "no memory for the model (%zu bytes)", sizeof *m);
    m->device = device;
    m->kernels = kernels;
    m->block = spec->family == MODEL_GPT2 ? &gpt2_block : &mini_gpt_block;
    m->spec = *spec;
    m->options = *options;
    m->HSP = flat_head_size(spec_head_size(spec), kernels->head_alignment);
    m->layers = calloc((size_t)spec->L, sizeof *m->layers);
    if (!m->layers) {
        e = error_new(ERROR_MEMORY, "no memory for %d layers", spec->L);
        goto fail;
    }
    if ((e = parameters_create(&m->parameters, spec)))
        goto fail;
    if ((e = flat_layout_create(&m->layout, m->parameters, kernels->head_alignment)))
        goto fail;
    if ((e = model_offsets_find(&m->offsets, m->layout, spec->L)))
        goto fail;
    if ((e = kernels->reserve(device, &(struct kernel_limits){
             .N = (int64_t)options->B * options->T, .T = options->T, .C = spec->C, .F = spec->F,
             .NH = spec->NH, .HS = m->HSP, .V = spec->V,
             .attends = spec->dropout == 0, .tied = m->offsets.tied})))
        goto fail;
    if ((e = allocate(m)))
        goto fail;
    *out = m;
    return NULL;

fail:
    model_destroy(m);
    return error_context(e, "making the model");
}

void model_destroy(struct model *model)
{
    if (!model)
        return;
    device_release(model->device, model->memory);
    device_release(model->device, model->state);
    device_release(model->device, model->summed);
    device_release(model->device, model->host_sums);
    model_offsets_release(&model->offsets);
    flat_layout_destroy(model->layout);
    parameters_destroy(model->parameters);
    free(model->layers);
    free(model);
}

const struct model_spec *model_spec(const struct model *model)
{
    return &model->spec;
}

const struct parameters *model_parameters(const struct model *model)
{
    return model->parameters;
}

const struct flat_layout *model_layout(const struct model *model)
{
    return model->layout;
}

float *model_weights(struct model *model)
{
    return model->weights;
}

void *model_weights_copy(struct model *model)
{
    return model->copy;
}

float *model_gradients(struct model *model)
{
    return model->gradients;
}

float *model_token_squares(struct model *model)
{
    return model->token_squares;
}

float *model_summed(struct model *model, int64_t *count)
{
    *count = model->n_squares + model->layout->flat_count;
    return model->gradients - model->n_squares;
}

void model_weights_changed(struct model *model)
{
    if (model->copy)
        model->kernels->convert(model->device, &(struct convert){
            .to = model->copy, .from = model->weights, .count = model->layout->flat_count,
        });
}

void model_zero_gradients(struct model *model)
{
    int64_t count;
    float *summed = model_summed(model, &count);
    device_zero(model->device, summed, (size_t)count * sizeof(float));
}
