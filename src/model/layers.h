/*
 * layers.h - where a model's parameters stand, by layer; for src/model only.
 *
 * A view resolves names once, so that forward, backward and decoding read fields.
 */
#ifndef GALLEY_MODEL_LAYERS_H
#define GALLEY_MODEL_LAYERS_H

#include "device/dtype.h"
#include "model/flat_layout.h"

/* Offsets into the flat buffers in device memory, in elements. */
struct layer_offsets {
    int64_t qkv, qkv_bias, out, out_bias, norm1, norm1_bias;
    int64_t up, up_bias, down, down_bias, norm2, norm2_bias;
};

struct model_offsets {
    int64_t token, position;
    int64_t head, head_bias;    /* of a tied head: the token table's, and -1 as there is no bias */
    bool tied;
    int64_t final_norm, final_norm_bias;    /* -1 where the family has none */
    struct layer_offsets *layers;    /* L of them */
};

MUST_USE struct error *model_offsets_find(struct model_offsets *out,
                                          const struct flat_layout *layout, int L);
void model_offsets_release(struct model_offsets *offsets);

#endif
