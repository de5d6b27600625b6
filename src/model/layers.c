/* layers.c - resolves parameter names to offsets. */
#include "model/layers.h"

#include <stdio.h>
#include <stdlib.h>

/* -1 where there is no such parameter. */
static int64_t offset_if_any(const struct flat_layout *layout, const char *name)
{
    const struct flat_place *place = flat_layout_find(layout, name);
    return place ? place->offset : -1;
}

static int64_t offset_of(const struct flat_layout *layout, const char *name)
{
    const int64_t offset = offset_if_any(layout, name);
    if (offset < 0)
        BUG("no parameter %s", name);
    return offset;
}

static int64_t layer_offset(const struct flat_layout *layout, int layer, const char *name)
{
    char full[PARAMETER_NAME_BYTES];
    snprintf(full, sizeof full, "decoder_%d/%s", layer, name);
    return offset_of(layout, full);
}

struct error *model_offsets_find(struct model_offsets *out, const struct flat_layout *layout,
                                 int L)
{
    struct layer_offsets *layers = calloc((size_t)L, sizeof *layers);
    if (!layers)
        return error_new(ERROR_MEMORY, "no memory for %d layers", L);
    for (int l = 0; l < L; l++) {
        layers[l] = (struct layer_offsets){
            .qkv = layer_offset(layout, l, "attention/qkv/kernel"),
            .qkv_bias = layer_offset(layout, l, "attention/qkv/bias"),
            .out = layer_offset(layout, l, "attention/output/kernel"),
            .out_bias = layer_offset(layout, l, "attention/output/bias"),
            .norm1 = layer_offset(layout, l, "attention_norm/gamma"),
            .norm1_bias = layer_offset(layout, l, "attention_norm/beta"),
            .up = layer_offset(layout, l, "ffn_intermediate/kernel"),
            .up_bias = layer_offset(layout, l, "ffn_intermediate/bias"),
            .down = layer_offset(layout, l, "ffn_output/kernel"),
            .down_bias = layer_offset(layout, l, "ffn_output/bias"),
            .norm2 = layer_offset(layout, l, "ffn_norm/gamma"),
            .norm2_bias = layer_offset(layout, l, "ffn_norm/beta"),
        };
    }
    const int64_t token = offset_of(layout, "token_embedding");
    const int64_t head = offset_if_any(layout, "head/kernel");
    *out = (struct model_offsets){
        .token = token,
        .position = offset_of(layout, "position_embedding"),
        .head = head >= 0 ? head : token,
        .head_bias = offset_if_any(layout, "head/bias"),
        .tied = head < 0,
        .final_norm = offset_if_any(layout, "final_norm/gamma"),
        .final_norm_bias = offset_if_any(layout, "final_norm/beta"),
        .layers = layers,
    };
    return NULL;
}

void model_offsets_release(struct model_offsets *offsets)
{
    free(offsets->layers);
    offsets->layers = NULL;
}
