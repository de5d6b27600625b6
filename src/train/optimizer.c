/* optimizer.c - Adam and AdamW: the host's part, scalars and ranges; the kernel does the rest. */
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
    void *memory;
    struct range *ranges;
    int n_ranges;
};

static void lay_out(struct optimizer *o, struct arena *arena)
{
    const size_t bytes = (size_t)model_parameters(o->model)->flat_count * sizeof(float);
    o->m = arena_take(arena, bytes);
    o->v = arena_take(arena, bytes);
    o->squares = arena_take(arena, sizeof(double));
}

static void find_ranges(struct optimizer *o)
{
    const struct parameters *p = model_parameters(o->model);
    for (int i = 0; i < p->n; i++) {
        const struct parameter *t = &p->list[i];
        const int64_t end = i + 1 < p->n ? p->list[i + 1].offset : p->flat_count;
        const bool decayed =
            o->options.weight_decay > 0 && (t->matrix || !o->options.decay_matrices_only);
        const bool squares = model_token_squares(o->model) && !strcmp(t->name, "token_embedding");
        struct range *last = o->n_ranges > 0 ? &o->ranges[o->n_ranges - 1] : NULL;
        if (last && last->decayed == decayed && !last->squares && !squares)
            last->count = end - last->first;
        else
            o->ranges[o->n_ranges++] = (struct range){
                .first = t->offset, .count = end - t->offset, .decayed = decayed,
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

/* The L2 norm of the summed gradients. */
static struct error *gradient_norm(struct optimizer *o, double *norm)
{
    double squares;
    o->kernels->sum_of_squares(o->device, &(struct sum_of_squares){
        .result = o->squares, .x = model_gradients(o->model),
        .count = model_parameters(o->model)->flat_count,
    });
    device_copy_out(o->device, &squares, o->squares, sizeof squares);
    TRY(device_synchronize(o->device));
    *norm = sqrt(squares);
    return NULL;
}

struct error *optimizer_step(struct optimizer *optimizer, int64_t step, double learning_rate,
                             double mean, double *norm)
{
    const struct optimizer *o = optimizer;
    TRY(gradient_norm(optimizer, norm));
    *norm *= mean;
    if (!isfinite(*norm))
        return error_new(ERROR_DEVICE, "the gradient of step %lld is not finite (norm %g); lower "
                         "optimizer.learning_rate, or set optimizer.clip_norm", (long long)step,
                         *norm);

    const double clip = o->options.clip_norm > 0 && *norm > o->options.clip_norm
                            ? o->options.clip_norm / *norm
                            : 1.0;
    const double t = (double)(step + 1);
    const double alpha = learning_rate * sqrt(1.0 - pow(o->options.beta2, t)) /
                         (1.0 - pow(o->options.beta1, t));
    float *weights = model_weights(o->model);
    char *copy = model_weights_copy(o->model);
    for (int i = 0; i < o->n_ranges; i++) {
        const struct range *r = &o->ranges[i];
        o->kernels->adam(o->device, &(struct adam){
            .squares = r->squares ? model_token_squares(o->model) : NULL,
            .weights = weights + r->first, .m = o->m + r->first, .v = o->v + r->first,
            .copy = copy ? copy + (size_t)r->first * dtype_bytes(o->kernels->activation) : NULL,
            .gradient = model_gradients(o->model) + r->first, .count = r->count,
            .gradient_scale = (float)(mean * clip), .alpha = (float)alpha,
            .beta1 = o->options.beta1, .beta2 = o->options.beta2,
            .epsilon = (float)o->options.epsilon,
            .decay = r->decayed ? (float)(learning_rate * o->options.weight_decay) : 0.0f,
        });
    }
    return device_check(o->device);
}
