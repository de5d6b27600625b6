/* mapping.c - names and shapes of the foreign layouts, and copying between them and ours. */
#include "presets/mapping.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How KerasHub and Hugging Face call a parameter; those of a block behind the name of its layer. */
struct names {
    const char *parameter, *keras, *hugging_face;
};

static const struct names block_names[] = {
    {"attention/qkv/kernel", NULL, "attn.c_attn.weight"},    /* Keras: see add_thirds */
    {"attention/qkv/bias", NULL, "attn.c_attn.bias"},
    {"attention/output/kernel", "_self_attention_layer/output_dense/vars/0", "attn.c_proj.weight"},
    {"attention/output/bias", "_self_attention_layer/output_dense/vars/1", "attn.c_proj.bias"},
    {"attention_norm/gamma", "_self_attention_layer_norm/vars/0", "ln_1.weight"},
    {"attention_norm/beta", "_self_attention_layer_norm/vars/1", "ln_1.bias"},
    {"ffn_intermediate/kernel", "_feedforward_intermediate_dense/vars/0", "mlp.c_fc.weight"},
    {"ffn_intermediate/bias", "_feedforward_intermediate_dense/vars/1", "mlp.c_fc.bias"},
    {"ffn_output/kernel", "_feedforward_output_dense/vars/0", "mlp.c_proj.weight"},
    {"ffn_output/bias", "_feedforward_output_dense/vars/1", "mlp.c_proj.bias"},
    {"ffn_norm/gamma", "_feedforward_layer_norm/vars/0", "ln_2.weight"},
    {"ffn_norm/beta", "_feedforward_layer_norm/vars/1", "ln_2.bias"},
    {NULL, NULL, NULL},
};

static const struct names gpt2_names[] = {
    {"token_embedding", "/layers/reversible_embedding/vars/0", "wte.weight"},
    {"position_embedding", "/layers/position_embedding/vars/0", "wpe.weight"},
    {"final_norm/gamma", "/layers/layer_normalization/vars/0", "ln_f.weight"},
    {"final_norm/beta", "/layers/layer_normalization/vars/1", "ln_f.bias"},
    {NULL, NULL, NULL},
};

static const struct names mini_gpt_names[] = {
    {"token_embedding", "/layers/token_and_position_embedding/token_embedding/vars/0", NULL},
    {"position_embedding", "/layers/token_and_position_embedding/position_embedding/vars/0", NULL},
    {"head/kernel", "/layers/dense/vars/0", NULL},
    {"head/bias", "/layers/dense/vars/1", NULL},
    {NULL, NULL, NULL},
};

void mapping_layer_name(char *name, size_t bytes, enum weight_layout layout, int l)
{
    if (layout == LAYOUT_HUGGING_FACE)
        snprintf(name, bytes, "h.%d", l);
    else if (l == 0)
        snprintf(name, bytes, "/layers/transformer_decoder");
    else
        snprintf(name, bytes, "/layers/transformer_decoder_%d", l);
}

static const struct names *find_names(const struct names *list, const char *parameter)
{
    while (list->parameter && strcmp(list->parameter, parameter))
        list++;
    if (!list->parameter)
        BUG("the parameter %s has no foreign name", parameter);
    return list;
}

/* The whole parameter is one tensor of the same shape. */
static struct mapped_tensor *add_whole(struct mapping *m, const struct parameter *p,
                                       const char *name)
{
    struct mapped_tensor *t = &m->list[m->n++];
    snprintf(t->tensor.name, sizeof t->tensor.name, "%s", name);
    t->tensor.dimensions = p->dimensions;
    memcpy(t->tensor.shape, p->shape, sizeof p->shape);
    t->tensor.count = p->count;
    t->offset = p->offset;
    t->rows = 1;
    t->width = t->stride = p->count;
    if (p->count > m->most_elements)
        m->most_elements = p->count;
    return t;
}

static bool is_qkv(const struct parameter *p)
{
    return strstr(p->name, "/qkv/") != NULL;
}

/* Query, key or value of (C, 3, NH, HS) or (3, NH, HS): the shape without the 3. */
static void add_third(struct mapping *m, const struct parameter *p, const char *name, int third)
{
    struct mapped_tensor *t = add_whole(m, p, name);
    const int at = p->dimensions - 3;    /* where the 3 stands */
    for (int d = at; d < p->dimensions - 1; d++)
        t->tensor.shape[d] = p->shape[d + 1];
    t->tensor.dimensions--;
    t->tensor.count = p->count / 3;
    t->rows = at == 1 ? p->shape[0] : 1;
    t->stride = p->count / t->rows;
    t->width = t->stride / 3;
    t->offset += third * t->width;
}

/* Hugging Face's matrices have two dimensions: (C, 3 NH HS) and (NH HS, C). */
static void add_flattened(struct mapping *m, const struct parameter *p, const char *name)
{
    struct mapped_tensor *t = add_whole(m, p, name);
    int64_t *shape = t->tensor.shape;
    if (is_qkv(p)) {
        t->tensor.dimensions -= 2;
        shape[t->tensor.dimensions - 1] = p->count / (t->tensor.dimensions == 2 ? shape[0] : 1);
    } else if (p->dimensions == 3) {
        t->tensor.dimensions = 2;
        shape[0] = p->shape[0] * p->shape[1];
        shape[1] = p->shape[2];
    }
}

/* Keras has a layer for each of query, key and value: kernel and bias of one stay together. */
static void add_thirds(struct mapping *m, const struct parameter *kernel,
                       const struct parameter *bias, const char *layer)
{
    static const char *const thirds[] = {"query", "key", "value"};
    char name[CATALOG_NAME_BYTES];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s/_self_attention_layer/%s_dense/vars/0", layer, thirds[i]);
        add_third(m, kernel, name, i);
        snprintf(name, sizeof name, "%s/_self_attention_layer/%s_dense/vars/1", layer, thirds[i]);
        add_third(m, bias, name, i);
    }
}

/* Parameter `i` of a block; the bias of query, key and value comes with its kernel, which it
 * follows. */
static void add_block_parameter(struct mapping *m, enum weight_layout layout,
                                const struct parameters *parameters, int i, const char *layer,
                                const char *rest)
{
    char name[CATALOG_NAME_BYTES];
    const struct parameter *p = &parameters->list[i];
    const struct names *names = find_names(block_names, rest);
    if (layout == LAYOUT_HUGGING_FACE) {
        snprintf(name, sizeof name, "%s.%s", layer, names->hugging_face);
        add_flattened(m, p, name);
    } else if (names->keras) {
        snprintf(name, sizeof name, "%s/%s", layer, names->keras);
        add_whole(m, p, name);
    } else if (p->matrix) {
        add_thirds(m, p, p + 1, layer);
    }
}

static void add_parameter(struct mapping *m, enum weight_layout layout,
                          const struct model_spec *spec, const struct parameters *parameters, int i)
{
    int l, end = 0;
    const struct parameter *p = &parameters->list[i];
    if (sscanf(p->name, "decoder_%d/%n", &l, &end) == 1 && end > 0) {
        char layer[64];
        mapping_layer_name(layer, sizeof layer, layout, l);
        add_block_parameter(m, layout, parameters, i, layer, p->name + end);
    } else {
        const struct names *names =
            find_names(spec->family == MODEL_GPT2 ? gpt2_names : mini_gpt_names, p->name);
        add_whole(m, p, layout == LAYOUT_KERAS ? names->keras : names->hugging_face);
    }
}

struct error *mapping_create(struct mapping **out, enum weight_layout layout,
                             const struct model_spec *spec, const struct parameters *parameters)
{
    if (layout == LAYOUT_HUGGING_FACE && spec->family != MODEL_GPT2)
        return error_new(ERROR_USAGE, "Hugging Face has no model of the family %s",
                         spec_family_name(spec->family));
    if (layout == LAYOUT_HUGGING_FACE && spec->C % spec->NH != 0)
        return error_new(ERROR_USAGE, "Hugging Face's GPT-2 cannot have %d channels in %d heads: "
                         "the channels must be a multiple of the heads", spec->C, spec->NH);
    struct mapping *m = calloc(1, sizeof *m);
    if (m)
        m->list = calloc(2 * (size_t)parameters->n, sizeof *m->list);
    if (!m || !m->list) {
        free(m);
        return error_new(ERROR_MEMORY, "no memory for the names of %d parameters", parameters->n);
    }
    for (int i = 0; i < parameters->n; i++)
        add_parameter(m, layout, spec, parameters, i);
    *out = m;
    return NULL;
}

void mapping_destroy(struct mapping *mapping)
{
    if (!mapping)
        return;
    free(mapping->list);
    free(mapping);
}

struct error *mapping_check(const struct mapping *mapping, const struct catalog *catalog,
                            enum weight_layout layout, const struct model_spec *spec)
{
    for (int i = 0; i < mapping->n; i++) {
        const struct catalog_tensor *expected = &mapping->list[i].tensor;
        const struct catalog_tensor *found = catalog_find(catalog, expected->name);
        if (!found) {
            char shape[128];
            catalog_print_shape(shape, sizeof shape, expected->shape, expected->dimensions);
            return error_new(ERROR_INPUT, "%s%s no %s, expected with shape %s",
                             catalog_name(catalog), catalog->n_files > 1 ? " and its shards have"
                                                                         : " has",
                             expected->name, shape);
        }
        TRY(catalog_check(catalog, found, expected->shape, expected->dimensions));
    }
    char next[64];
    mapping_layer_name(next, sizeof next, layout, spec->L);
    const size_t bytes = strlen(next);
    for (int i = 0; i < catalog->n; i++) {
        const char *name = catalog->tensors[i].name;
        if (!strncmp(name, next, bytes) && (name[bytes] == '/' || name[bytes] == '.'))
            return error_new(ERROR_INPUT, "%s holds %s, but the model has only %d layers",
                             catalog_path(catalog, &catalog->tensors[i]), name, spec->L);
    }
    return NULL;
}

struct error *mapping_read(const struct mapping *mapping, const struct catalog *catalog,
                           const struct parameters *parameters, float *flat)
{
    float *all = malloc((size_t)mapping->most_elements * sizeof *all);
    if (!all)
        return error_new(ERROR_MEMORY, "no memory to read %s", catalog_name(catalog));
    memset(flat, 0, (size_t)parameters->flat_count * sizeof *flat);
    struct error *e = NULL;
    for (int i = 0; i < mapping->n && !e; i++) {
        const struct mapped_tensor *t = &mapping->list[i];
        e = catalog_read(catalog, catalog_find(catalog, t->tensor.name), all);
        for (int64_t row = 0; row < t->rows && !e; row++)
            memcpy(flat + t->offset + row * t->stride, all + row * t->width,
                   (size_t)t->width * sizeof *flat);
    }
    free(all);
    return e;
}

void mapping_gather(const struct mapped_tensor *tensor, const float *flat, float *out)
{
    for (int64_t row = 0; row < tensor->rows; row++)
        memcpy(out + row * tensor->width, flat + tensor->offset + row * tensor->stride,
               (size_t)tensor->width * sizeof *out);
}
