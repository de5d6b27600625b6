/* layers.c - resolves parameter names to offsets. */
#include "model/layers.h"

#include <stdio.h>
#include <stdlib.h>

/* -1 where there is no such parameter. */
static int64_t offset_if_any(const struct parameters *parameters, const char *name)
{
    const struct parameter *t = parameters_find(parameters, name);
    return t ? t->offset : -1;
}

static int64_t offset_of(const struct parameters *parameters, const char *name)
{
    const struct parameter *t = parameters_find(parameters, name);
    if (!t)
        BUG("no parameter %s", name);
    return t->offset;
}

static int64_t layer_offset(const struct parameters *parameters, int layer, const char *name)
{
    char full[PARAMETER_NAME_BYTES];
    snprintf(full, sizeof full, "decoder_%d/%s", layer, name);
    return offset_of(parameters, full);
}

struct error *model_offsets_find(struct model_offsets *out, const struct parameters *parameters,
                                 int L)
{
    struct layer_offsets *layers = calloc((size_t)L, sizeof *layers);
    if (!layers)
        return error_new(ERROR_MEMORY, "no memory for %d layers", L);
    for (int l = 0; l < L; l++) {
        layers[l] = (struct layer_offsets){
            .qkv = layer_offset(parameters, l, "attention/qkv/kernel"),
            .qkv_bias = layer_offset(parameters, l, "attention/qkv/bias"),
            .out = layer_offset(parameters, l, "attention/output/kernel"),
            .out_bias = layer_offset(parameters, l, "attention/output/bias"),
            .norm1 = layer_offset(parameters, l, "attention_norm/gamma"),
            .norm1_bias = layer_offset(parameters, l, "attention_norm/beta"),
            .up = layer_offset(parameters, l, "ffn_intermediate/kernel"),
            .up_bias = layer_offset(parameters, l, "ffn_intermediate/bias"),
            .down = layer_offset(parameters, l, "ffn_output/kernel"),
            .down_bias = layer_offset(parameters, l, "ffn_output/bias"),
            .norm2 = layer_offset(parameters, l, "ffn_norm/gamma"),
            .norm2_bias = layer_offset(parameters, l, "ffn_norm/beta"),
        };
    }
    const int64_t token = offset_of(parameters, "token_embedding");
    const int64_t head = offset_if_any(parameters, "head/kernel");
    *out = (struct model_offsets){
        .token = token,
        .position = offset_of(parameters, "position_embedding"),
        .head = head >= 0 ? head : token,
        .head_bias = offset_if_any(parameters, "head/bias"),
        .tied = head < 0,
        .final_norm = offset_if_any(parameters, "final_norm/gamma"),
        .final_norm_bias = offset_if_any(parameters, "final_norm/beta"),
        .layers = layers,
    };
    return NULL;
}

void model_offsets_release(struct model_offsets *offsets)
{
    free(offsets->layers);
    offsets->layers = NULL;
}
