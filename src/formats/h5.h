/*
 * h5.h - the little of HDF5 that Galley needs, with errors that name file and object.
 *
 * Arrays are contiguous, little-endian, without filters, so that their place in the file is known
 * and anybody can map them. HDF5's own error stack is kept silent. Not thread-safe.
 */
#ifndef GALLEY_FORMATS_H5_H
#define GALLEY_FORMATS_H5_H

#include "base/error.h"
#include "formats/elements.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct h5_file;

/* A new file whose first `user_bytes` (0, or a power of two of at least 512) HDF5 leaves alone. */
MUST_USE struct error *h5_create(struct h5_file **out, const char *path, size_t user_bytes);
MUST_USE struct error *h5_open(struct h5_file **out, const char *path);
/* Writes out what is buffered; an error means the file is not whole. Ends `file` in any case. */
MUST_USE struct error *h5_close(struct h5_file *file);
const char *h5_path(const struct h5_file *file);

/* Paths are absolute; groups on the way are made. `*offset` is where the bytes begin in the
 * file. */
MUST_USE struct error *h5_write_floats(struct h5_file *file, const char *path, const int64_t *shape,
                                       int dimensions, const float *data, uint64_t *offset);
/* Packed elements of any of our types; bfloat16, which HDF5 does not know, as opaque pairs of
 * bytes. */
MUST_USE struct error *h5_write_elements(struct h5_file *file, const char *path,
                                         const int64_t *shape, int dimensions,
                                         enum element_type type, const void *packed);
MUST_USE struct error *h5_write_doubles(struct h5_file *file, const char *path,
                                        const int64_t *shape, int dimensions, const double *data);
/* A scalar UTF-8 string of exactly `bytes` bytes (at least 1). */
MUST_USE struct error *h5_write_text(struct h5_file *file, const char *path, const char *text,
                                     size_t bytes);
MUST_USE struct error *h5_make_group(struct h5_file *file, const char *path);

/* Attributes of an object that is there. */
MUST_USE struct error *h5_set_int(struct h5_file *file, const char *path, const char *name,
                                  int64_t value);
MUST_USE struct error *h5_set_double(struct h5_file *file, const char *path, const char *name,
                                     double value);
MUST_USE struct error *h5_set_text(struct h5_file *file, const char *path, const char *name,
                                   const char *text);
/* The same as a string of variable length, as h5py writes one. */
MUST_USE struct error *h5_set_string(struct h5_file *file, const char *path, const char *name,
                                     const char *text);

/* Arrays must have exactly the expected shape. */
MUST_USE struct error *h5_read_floats(struct h5_file *file, const char *path, const int64_t *shape,
                                      int dimensions, float *data);
/* A (rows, columns) array; `*data` is for the caller to free, `*rows` at most `most_rows`. */
MUST_USE struct error *h5_read_rows(struct h5_file *file, const char *path, int64_t columns,
                                    int64_t most_rows, double **data, int64_t *rows);
/* `*text` is null-terminated beyond its bytes, for the caller to free. */
MUST_USE struct error *h5_read_text(struct h5_file *file, const char *path, char **text,
                                    size_t *bytes);
bool h5_has_attribute(struct h5_file *file, const char *path, const char *name);
MUST_USE struct error *h5_get_int(struct h5_file *file, const char *path, const char *name,
                                  int64_t *value);
MUST_USE struct error *h5_get_double(struct h5_file *file, const char *path, const char *name,
                                     double *value);
/* `*text` is for the caller to free. */
MUST_USE struct error *h5_get_text(struct h5_file *file, const char *path, const char *name,
                                   char **text);

#endif
