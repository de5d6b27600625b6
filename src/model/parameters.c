/* parameters.c - names, shapes, places and initial values of a model's tensors. */
#include "model/parameters.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 16 };    /* elements: 64 bytes of fp32 */

int64_t parameters_room(int64_t count)
{
    return (count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static float glorot_uniform(int64_t fan_in, int64_t fan_out)
{
    return (float)sqrt(6.0 / (double)(fan_in + fan_out));
}

/* Appends one tensor; `shape` ends with 0. */
static void add(struct parameters *p, enum parameter_init init, float scale, bool matrix,
                const int64_t *shape, const char *format, ...) PRINTF_LIKE(6, 7);

static void add(struct parameters *p, enum parameter_init init, float scale, bool matrix,
                const int64_t *shape, const char *format, ...)
{
    struct parameter *t = &p->list[p->n++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(t->name, sizeof t->name, format, arguments);
    va_end(arguments);
    t->init = init;
    t->init_scale = scale;
    t->matrix = matrix;
    t->head_axis = -1;
    t->count = 1;
    while (shape[t->dimensions]) {
        t->shape[t->dimensions] = shape[t->dimensions];
        t->count *= shape[t->dimensions++];
    }
    t->offset = p->flat_count;
    p->count += t->count;
    p->flat_count += parameters_room(t->count);
}

#define SHAPE(...) ((const int64_t[]){__VA_ARGS__, 0})

/* Of the tensor added last. */
static void set_head_axis(struct parameters *p, int axis)
{
    p->list[p->n - 1].head_axis = axis;
}

static void add_vector(struct parameters *p, int layer, const char *name, enum parameter_init init,
                       const int64_t *shape)
{
    add(p, init, 0, false, shape, "decoder_%d/%s", layer, name);
}

static void add_kernel(struct parameters *p, enum model_family family, int layer, const char *name,
                       const int64_t *shape, int64_t fan_in, int64_t fan_out)
{
    if (family == MODEL_GPT2)
        add(p, INIT_NORMAL, 0.02f, true, shape, "decoder_%d/%s", layer, name);
    else
        add(p, INIT_UNIFORM, glorot_uniform(fan_in, fan_out), true, shape, "decoder_%d/%s", layer,
            name);
}

/*
 * Query, key and value are one tensor, so that one product computes them; each is initialised as
 * the separate kernel it is in Keras (from 3.15 on, which counts the fans of an einsum kernel
 * rightly).
 */
static void add_block(struct parameters *p, const struct model_spec *s, int l)
{
    const enum model_family family = s->family;
    const int C = s->C, NH = s->NH, HS = spec_head_size(s), F = s->F;
    add_kernel(p, family, l, "attention/qkv/kernel", SHAPE(C, 3, NH, HS), C, NH * HS);
    set_head_axis(p, 3);
    add_vector(p, l, "attention/qkv/bias", INIT_ZERO, SHAPE(3, NH, HS));
    set_head_axis(p, 2);
    add_kernel(p, family, l, "attention/output/kernel", SHAPE(NH, HS, C), NH * HS, C);
    set_head_axis(p, 1);
    add_vector(p, l, "attention/output/bias", INIT_ZERO, SHAPE(C));
    add_vector(p, l, "attention_norm/gamma", INIT_ONE, SHAPE(C));
    add_vector(p, l, "attention_norm/beta", INIT_ZERO, SHAPE(C));
    add_kernel(p, family, l, "ffn_intermediate/kernel", SHAPE(C, F), C, F);
    add_vector(p, l, "ffn_intermediate/bias", INIT_ZERO, SHAPE(F));
    add_kernel(p, family, l, "ffn_output/kernel", SHAPE(F, C), F, C);
    add_vector(p, l, "ffn_output/bias", INIT_ZERO, SHAPE(C));
    add_vector(p, l, "ffn_norm/gamma", INIT_ONE, SHAPE(C));
    add_vector(p, l, "ffn_norm/beta", INIT_ZERO, SHAPE(C));
}

/* KerasHub's example "GPT text generation from scratch". */
static void add_mini_gpt(struct parameters *p, const struct model_spec *s)
{
    add(p, INIT_UNIFORM, 0.05f, true, SHAPE(s->V, s->C), "token_embedding");
    add(p, INIT_UNIFORM, 0.05f, true, SHAPE(s->positions, s->C), "position_embedding");
    for (int l = 0; l < s->L; l++)
        add_block(p, s, l);
    add(p, INIT_UNIFORM, glorot_uniform(s->C, s->V), true, SHAPE(s->C, s->V), "head/kernel");
    add(p, INIT_ZERO, 0, false, SHAPE(s->V), "head/bias");
}

/*
 * GPT-2, initialised as KerasHub's GPT2Backbone: the original's 0.02 for positions and kernels,
 * without its 1/sqrt(2 L) on the residual projections, and 0.01 for tokens. The head is the token
 * table.
 */
static void add_gpt2(struct parameters *p, const struct model_spec *s)
{
    add(p, INIT_NORMAL, 0.01f, true, SHAPE(s->V, s->C), "token_embedding");
    add(p, INIT_NORMAL, 0.02f, true, SHAPE(s->positions, s->C), "position_embedding");
    for (int l = 0; l < s->L; l++)
        add_block(p, s, l);
    add(p, INIT_ONE, 0, false, SHAPE(s->C), "final_norm/gamma");
    add(p, INIT_ZERO, 0, false, SHAPE(s->C), "final_norm/beta");
}

struct error *parameters_create(struct parameters **out, const struct model_spec *spec)
{
    const int n = 4 + 12 * spec->L;
    struct parameters *p = calloc(1, sizeof *p);
    if (p)
        p->list = calloc((size_t)n, sizeof *p->list);
    if (!p || !p->list) {
        free(p);
        return error_new(ERROR_MEMORY, "no memory for the table of %d parameters", n);
    }
    if (spec->family == MODEL_GPT2)
        add_gpt2(p, spec);
    else
        add_mini_gpt(p, spec);
    if (p->n != n)
        BUG("%d parameters in a table for %d", p->n, n);
    *out = p;
    return NULL;
}

void parameters_destroy(struct parameters *parameters)
{
    if (!parameters)
        return;
    free(parameters->list);
    free(parameters);
}

const struct parameter *parameters_find(const struct parameters *parameters, const char *name)
{
    for (int i = 0; i < parameters->n; i++)
        if (!strcmp(parameters->list[i].name, name))
            return &parameters->list[i];
    return NULL;
}

/* Steele, Lea & Flood 2014, SplitMix64's output function: a good hash of a counter. */
static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* Uniform in [0, 1), 53 bits. */
static double uniform(uint64_t key, uint64_t i)
{
    return (double)(mix(key + mix(i)) >> 11) * 0x1p-53;
}

/* Every value is a function of its place, so threads change nothing; alone it takes 4 s for GPT-2
 * 124M. */
static void initialize(const struct parameter *t, uint64_t key, float *w)
{
    const double scale = (double)t->init_scale;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < t->count; i++) {
        const uint64_t n = (uint64_t)i;
        switch (t->init) {
        case INIT_ZERO:
            w[i] = 0;
            break;
        case INIT_ONE:
            w[i] = 1;
            break;
        case INIT_UNIFORM:
            w[i] = (float)(scale * (2 * uniform(key, n) - 1));
            break;
        case INIT_NORMAL: {    /* Box & Muller 1958 */
            const double radius = sqrt(-2 * log(1 - uniform(key, 2 * n)));
            w[i] = (float)(scale * radius * cos(6.283185307179586 * uniform(key, 2 * n + 1)));
            break;
        }
        }
    }
}

void parameters_initialize(const struct parameters *parameters, uint64_t seed, float *weights)
{
    memset(weights, 0, (size_t)parameters->flat_count * sizeof(float));
    for (int i = 0; i < parameters->n; i++) {
        const struct parameter *t = &parameters->list[i];
        initialize(t, mix(mix(seed) + (uint64_t)i), weights + t->offset);
    }
}
