/* optimizer.c - Adam and AdamW: the host's part, rates and ranges; the kernels do the rest. */
#include "train/optimizer.h"

#include "base/arena.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Neighbouring tensors that are decayed alike: one call of the kernel. */
struct range {
    int64_t first, count;
    bool decayed;
    bool squares;     /* the token embedding, where its squares are summed apart */
};

struct optimizer {
    struct device *device;
    const struct kernels *kernels;
    struct model *model;
    struct optimizer_options options;
    float *m, *v;
    double *squares;      /* (1) on the device */
    struct update_state *state;    /* (1) on the device */
    void *memory;
    struct range *ranges;
    int n_ranges;
};

static void lay_out(struct optimizer *o, struct arena *arena)
{
    const size_t bytes = (size_t)model_layout(o->model)->flat_count * sizeof(float);
    o->m = arena_take(arena, bytes);
    o->v = arena_take(arena, bytes);
    o->squares = arena_take(arena, sizeof(double));
    o->state = arena_take(arena, sizeof *o->state);
}

static void find_ranges(struct optimizer *o)
{
    const struct parameters *p = model_parameters(o->model);
    const struct flat_layout *layout = model_layout(o->model);
    for (int i = 0; i < p->n; i++) {
        const struct parameter *t = &p->list[i];
        const int64_t first = layout->places[i].offset;
        const int64_t end = i + 1 < p->n ? layout->places[i + 1].offset : layout->flat_count;
        const bool decayed =
            o->options.weight_decay > 0 && (t->matrix || !o->options.decay_matrices_only);
        const bool squares = model_token_squares(o->model) && !strcmp(t->name, "token_embedding");
        struct range *last = o->n_ranges > 0 ? &o->ranges[o->n_ranges - 1] : NULL;
        if (last && last->decayed == decayed && !last->squares && !squares)
            last->count = end - last->first;
        else
            o->ranges[o->n_ranges++] = (struct range){
                .first = first, .count = end - first, .decayed = decayed,
                .squares = squares,
            };
    }
}

struct error *optimizer_create(struct optimizer **out, struct device *device,
                               const struct kernels *kernels, struct model *model,
                               const struct optimizer_options *options)
{
    struct error *e;
    struct optimizer *o = calloc(1, sizeof *o);
    if (!o)
        return error_new(ERROR_MEMORY, "no memory for the optimizer (%zu bytes)", sizeof *o);
    o->device = device;
    o->kernels = kernels;
    o->model = model;
    o->options = *options;
    o->ranges = calloc((size_t)model_parameters(model)->n, sizeof *o->ranges);
    if (!o->ranges) {
        e = error_new(ERROR_MEMORY, "no memory for the optimizer's ranges");
        goto fail;
    }
    find_ranges(o);

    struct arena arena = {0};
    lay_out(o, &arena);
    if ((e = device_allocate(device, &o->memory, arena.used, "the optimizer's moments")))
        goto fail;
    arena = (struct arena){.base = o->memory, .capacity = arena.used};
    lay_out(o, &arena);
    if ((e = optimizer_restore(o, &(struct update_state){0})))
        goto fail;
    *out = o;
    return NULL;

fail:
    optimizer_destroy(o);
    return e;
}

void optimizer_destroy(struct optimizer *optimizer)
{
    if (!optimizer)
        return;
    device_release(optimizer->device, optimizer->memory);
    free(optimizer->ranges);
    free(optimizer);
}

float *optimizer_m(struct optimizer *optimizer)
{
    return optimizer->m;
}

float *optimizer_v(struct optimizer *optimizer)
{
    return optimizer->v;
}

const float *optimizer_gradient_scale(const struct optimizer *optimizer)
{
    return optimizer->options.scaled_positions > 0 ? &optimizer->state->gradient_scale : NULL;
}

const struct update_state *optimizer_state(const struct optimizer *optimizer)
{
    return optimizer->state;
}

struct error *optimizer_restore(struct optimizer *optimizer, const struct update_state *state)
{
    struct optimizer *o = optimizer;
    struct update_state s = {.updates = state->updates, .loss_scale = 1, .gradient_scale = 1};
    if (o->options.scaled_positions > 0) {
        s.loss_scale = state->loss_scale > 0 ? state->loss_scale : OPTIMIZER_LOSS_SCALE;
        s.finite_steps = state->finite_steps;
        s.gradient_scale = (float)(s.loss_scale / (double)o->options.scaled_positions);
    }
    s.spikes.length = o->options.spike_sigma > 0 ? o->options.spike_window : 0;
    if (state->spikes.length == s.spikes.length)
        s.spikes = state->spikes;
    device_copy_in(o->device, o->state, &s, sizeof s);
    return device_synchronize(o->device);
}

struct update_rate optimizer_rate(const struct optimizer *optimizer, int64_t updates,
                                  double learning_rate)
{
    const struct optimizer_options *o = &optimizer->options;
    const double t = (double)(updates + 1);
    const double alpha =
        learning_rate * sqrt(1.0 - pow(o->beta2, t)) / (1.0 - pow(o->beta1, t));
    return (struct update_rate){
        .alpha = (float)alpha, .decay = (float)(learning_rate * o->weight_decay)};
}

void optimizer_update(struct optimizer *optimizer, const struct step_sums *sums,
                      const struct update_rates *rates, struct update_plan *plan)
{
    const struct optimizer *o = optimizer;
    const bool scaled = o->options.scaled_positions > 0;
    o->kernels->sum_of_squares(o->device, &(struct sum_of_squares){
        .result = o->squares, .x = model_gradients(o->model),
        .count = model_layout(o->model)->flat_count,
    });
    o->kernels->plan_update(o->device, &(struct plan_update){
        .plan = plan, .state = o->state, .squares = o->squares, .sums = sums, .rates = rates,
        .sample_positions = o->options.sample_positions,
        .clip_norm = o->options.clip_norm, .growth_steps = scaled ? OPTIMIZER_GROWTH_STEPS : 0,
        .scale_divisor = (double)o->options.scaled_positions,
        .spike_sigma = o->options.spike_sigma,
        .sums_squares = model_token_squares(o->model) != NULL,
    });
    float *weights = model_weights(o->model);
    char *copy = model_weights_copy(o->model);
    for (int i = 0; i < o->n_ranges; i++) {
        const struct range *r = &o->ranges[i];
        o->kernels->adam(o->device, &(struct adam){
            .squares = r->squares ? model_token_squares(o->model) : NULL,
            .weights = weights + r->first, .m = o->m + r->first, .v = o->v + r->first,
            .copy = copy ? copy + (size_t)r->first * dtype_bytes(o->kernels->activation) : NULL,
            .gradient = model_gradients(o->model) + r->first, .plan = plan, .count = r->count,
            .decayed = r->decayed, .epsilon = (float)o->options.epsilon,
            .beta1 = o->options.beta1, .beta2 = o->options.beta2,
        });
    }
}
