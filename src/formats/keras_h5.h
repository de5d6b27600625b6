/*
 * keras_h5.h - Keras's HDF5 files of weights (.weights.h5): reading by one set of names, writing.
 *
 * A variable is the dataset PATH/vars/N of its layer. How paths are spelled changed over the
 * versions of Keras; a catalog holds them as Keras 3.6 and later write them:
 *   _layer_checkpoint_dependencies/... (2.13)        -> layers/...
 *   .../_query_dense/... (3.0, and the like)         -> .../query_dense/...
 *   layers/gpt2_backbone/... (of a GPT2CausalLM)     -> /...
 */
#ifndef GALLEY_FORMATS_KERAS_H5_H
#define GALLEY_FORMATS_KERAS_H5_H

#include "formats/catalog.h"

/* The tensors of one file. */
MUST_USE struct error *keras_h5_catalog(struct catalog *catalog, const char *path);
/* Of all files that FOLDER's model.weights.json names. */
MUST_USE struct error *keras_h5_catalog_index(struct catalog *catalog, const char *folder,
                                              const char *index_path);

struct keras_h5_writer;

MUST_USE struct error *keras_h5_create(struct keras_h5_writer **out, const char *path);
/* The group PARENT PATH/vars with the attribute `name`, which Keras writes for every layer, also
 * for those without variables. Paths begin with '/'; "" is the model itself. */
MUST_USE struct error *keras_h5_add_layer(struct keras_h5_writer *writer, const char *parent,
                                          const char *path, const char *name);
/* A variable; its name is the dataset's path, its layer is there. */
MUST_USE struct error *keras_h5_add(struct keras_h5_writer *writer,
                                    const struct catalog_tensor *tensor, const float *data);
/* Ends the writer in any case; flushed to disk where it returns NULL. */
MUST_USE struct error *keras_h5_close(struct keras_h5_writer *writer);

#endif
