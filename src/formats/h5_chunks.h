/* h5_chunks.h - integer arrays of HDF5 files in chunks, written one after the other. */
#ifndef GALLEY_FORMATS_H5_CHUNKS_H
#define GALLEY_FORMATS_H5_CHUNKS_H

#include "formats/h5.h"

enum h5_integer { H5_UINT16, H5_UINT32, H5_INT64 };

struct h5_chunks;

/* A one-dimensional array of `count` elements, at least 1, in chunks of `chunk`, without filters
 * and times: the same content makes the same bytes. The file stays open until h5_chunks_close. */
MUST_USE struct error *h5_chunks_create(struct h5_chunks **out, struct h5_file *file,
                                        const char *path, enum h5_integer type, int64_t count,
                                        int64_t chunk);
/* Chunk `index`, from 0 and in order; a whole one, also at the end. `*offset` is where it begins in
 * the file. */
MUST_USE struct error *h5_chunks_write(struct h5_chunks *chunks, int64_t index, const void *data,
                                       uint64_t *offset);
/* NULL is fine. */
void h5_chunks_close(struct h5_chunks *chunks);

#endif
