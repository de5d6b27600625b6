/*
 * mapping.h - which tensors of a foreign file hold which of our parameters.
 *
 * Both foreign layouts store kernels as (in, out), as we do, so nothing is ever transposed. They
 * differ in names, in shapes of the same elements, and in query, key and value: Keras has a kernel
 * (C, NH, HS) for each, Hugging Face one (C, 3 C) for all three, which is ours (C, 3, NH, HS)
 * element for element.
 */
#ifndef GALLEY_PRESETS_MAPPING_H
#define GALLEY_PRESETS_MAPPING_H

#include "formats/catalog.h"
#include "model/parameters.h"

enum weight_layout { LAYOUT_KERAS, LAYOUT_HUGGING_FACE };

/* A tensor as the file has it, and the elements of the flat buffer it is: `rows` runs of `width`
 * elements, `stride` apart, from `offset` on. */
struct mapped_tensor {
    struct catalog_tensor tensor;    /* name, dimensions, shape and count are set */
    int64_t offset, rows, width, stride;
};

struct mapping {
    struct mapped_tensor *list;      /* in the order of the parameters */
    int n;
    int64_t most_elements;           /* of the largest tensor */
};

/* Keras names are those of formats/keras_h5.h, Hugging Face's have no "transformer." in front. */
MUST_USE struct error *mapping_create(struct mapping **out, enum weight_layout layout,
                                      const struct model_spec *spec,
                                      const struct parameters *parameters);
void mapping_destroy(struct mapping *mapping);

/* That the file has every tensor with the shape it must have, and no layers beyond them. */
MUST_USE struct error *mapping_check(const struct mapping *mapping, const struct catalog *catalog,
                                     enum weight_layout layout, const struct model_spec *spec);
/* Every tensor into the flat buffer; the gaps become zeros. */
MUST_USE struct error *mapping_read(const struct mapping *mapping, const struct catalog *catalog,
                                    const struct parameters *parameters, float *flat);
/* One tensor out of the flat buffer into `out`, tensor.count elements. */
void mapping_gather(const struct mapped_tensor *tensor, const float *flat, float *out);

/* "/layers/transformer_decoder_1", "h.1": where layer `l` begins. */
void mapping_layer_name(char *name, size_t bytes, enum weight_layout layout, int l);

#endif
