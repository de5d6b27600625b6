/*
 * safetensors.h - Hugging Face's format of weights: a JSON header, then the tensors' bytes.
 *
 * A file is 8 bytes of header length, the header {"NAME": {"dtype", "shape", "data_offsets"}, ...},
 * and the tensors one after the other without holes. Reading believes nothing it did not check:
 * lengths, nesting, ranges, overlaps, names that come twice.
 */
#ifndef GALLEY_FORMATS_SAFETENSORS_H
#define GALLEY_FORMATS_SAFETENSORS_H

#include "formats/catalog.h"

/* Adds the tensors of one file. */
MUST_USE struct error *safetensors_catalog(struct catalog *catalog, const char *path);
/* Adds the tensors of all files that FOLDER's index (model.safetensors.index.json) names, and
 * checks that each file holds what the index says. */
MUST_USE struct error *safetensors_catalog_index(struct catalog *catalog, const char *folder,
                                                 const char *index_path);

struct safetensors_writer;

/* Begins a file of `n` tensors, of which name, type, dimensions and shape are read; they are
 * borrowed until the end. */
MUST_USE struct error *safetensors_create(struct safetensors_writer **out, const char *path,
                                          const struct catalog_tensor *tensors, int n);
/* The next tensor's elements. */
MUST_USE struct error *safetensors_add(struct safetensors_writer *writer, const float *data);
/* Ends the writer in any case; flushed to disk where it returns NULL and every tensor was added. */
MUST_USE struct error *safetensors_close(struct safetensors_writer *writer);

#endif
