/*
 * catalog.h - the tensors of one or more weight files: names, shapes, and where their bytes lie.
 *
 * The readers of the formats (safetensors.h, keras_h5.h) fill a catalog from what a file says of
 * itself; catalog_add checks that every tensor lies within its file and has the bytes its shape
 * needs. The bytes themselves are read here, for all formats alike.
 */
#ifndef GALLEY_FORMATS_CATALOG_H
#define GALLEY_FORMATS_CATALOG_H

#include "formats/elements.h"

#include <stdint.h>

enum { CATALOG_NAME_BYTES = 256, CATALOG_DIMENSIONS = 8 };

struct catalog_tensor {
    char name[CATALOG_NAME_BYTES];
    enum element_type type;
    char other_type[16];        /* "I64": not empty where it is none of ours and cannot be read */
    int dimensions;
    int64_t shape[CATALOG_DIMENSIONS];
    int64_t count;              /* elements: the product of the shape */
    uint64_t offset, bytes;     /* in its file */
    int file;
};

struct catalog_file {
    char *path;
    int descriptor;
    uint64_t bytes;
};

struct catalog {
    struct catalog_tensor *tensors;
    int n, capacity;
    struct catalog_file *files;
    int n_files;
};

/* Opens a file for the tensors that are added next. Catalogs begin as {0}. */
MUST_USE struct error *catalog_add_file(struct catalog *catalog, const char *path);
/* The file added last. */
const struct catalog_file *catalog_last_file(const struct catalog *catalog);
/* A tensor of the file added last; name, type, dimensions, shape, offset and bytes are set. */
MUST_USE struct error *catalog_add(struct catalog *catalog, const struct catalog_tensor *tensor);
/* Sorts by name, for catalog_find; a name that is there twice is an error. */
MUST_USE struct error *catalog_finish(struct catalog *catalog);

/* The tensor of that name, or NULL. */
const struct catalog_tensor *catalog_find(const struct catalog *catalog, const char *name);
const char *catalog_path(const struct catalog *catalog, const struct catalog_tensor *tensor);
/* What errors call the catalog: its first file. */
const char *catalog_name(const struct catalog *catalog);
/* An error that says what was found and expected unless the tensor has this shape and a type that
 * can be read. */
MUST_USE struct error *catalog_check(const struct catalog *catalog,
                                     const struct catalog_tensor *tensor, const int64_t *shape,
                                     int dimensions);
/* All elements of a tensor whose type can be read, as floats. */
MUST_USE struct error *catalog_read(const struct catalog *catalog,
                                    const struct catalog_tensor *tensor, float *out);
void catalog_release(struct catalog *catalog);

/* A name of ours, which must fit. */
void catalog_set_name(struct catalog_tensor *tensor, const char *format, ...) PRINTF_LIKE(2, 3);
/* "(256, 3, 85)" into `text`. */
void catalog_print_shape(char *text, size_t bytes, const int64_t *shape, int dimensions);

#endif
