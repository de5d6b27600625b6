/* h5_chunks.c - integer arrays in chunks. */
#include "formats/h5_chunks.h"

#include "formats/h5_types.h"

#include <stdlib.h>
#include <string.h>

struct h5_chunks {
    struct h5_file *file;
    hid_t set;
    char *path;
    hsize_t chunk;
    size_t chunk_bytes;
};

static hid_t type_of(enum h5_integer type)
{
    switch (type) {
    case H5_UINT16:
        return H5T_STD_U16LE;
    case H5_UINT32:
        return H5T_STD_U32LE;
    case H5_INT64:
        return H5T_STD_I64LE;
    }
    BUG("integer type %d is unknown", (int)type);
}

static hid_t create_set(const struct h5_file *file, const char *path, hid_t type, hsize_t count,
                        hsize_t chunk)
{
    const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(plist, 1, &chunk);
    H5Pset_alloc_time(plist, H5D_ALLOC_TIME_INCR);
    H5Pset_fill_time(plist, H5D_FILL_TIME_NEVER);
    H5Pset_obj_track_times(plist, false);
    const hsize_t most = count > chunk ? count : chunk;    /* HDF5 wants room for a whole chunk */
    const hid_t space = H5Screate_simple(1, &count, &most);
    const hid_t set = H5Dcreate2(h5_file_id(file), path, type, space, H5P_DEFAULT, plist,
                                 H5P_DEFAULT);
    H5Sclose(space);
    H5Pclose(plist);
    return set;
}

struct error *h5_chunks_create(struct h5_chunks **out, struct h5_file *file, const char *path,
                               enum h5_integer type, int64_t count, int64_t chunk)
{
    struct h5_chunks *c = calloc(1, sizeof *c);
    if (c)
        c->path = strdup(path);
    if (!c || !c->path) {
        free(c);
        return error_new(ERROR_MEMORY, "no memory to write %s of %s", path, h5_path(file));
    }
    c->file = file;
    c->chunk = (hsize_t)chunk;
    c->chunk_bytes = (size_t)chunk * H5Tget_size(type_of(type));
    c->set = create_set(file, path, type_of(type), (hsize_t)count, c->chunk);
    if (c->set < 0) {
        struct error *e = h5_failed(file, "make", path);
        h5_chunks_close(c);
        return e;
    }
    *out = c;
    return NULL;
}

struct error *h5_chunks_write(struct h5_chunks *chunks, int64_t index, const void *data,
                              uint64_t *offset)
{
    const hsize_t first = (hsize_t)index * chunks->chunk;
    unsigned mask;
    haddr_t address = HADDR_UNDEF;
    hsize_t bytes = 0;
    if (H5Dwrite_chunk(chunks->set, H5P_DEFAULT, 0, &first, chunks->chunk_bytes, data) < 0 ||
        H5Dget_chunk_info_by_coord(chunks->set, &first, &mask, &address, &bytes) < 0 ||
        address == HADDR_UNDEF || bytes != chunks->chunk_bytes)
        return h5_failed(chunks->file, "write", chunks->path);
    *offset = address;
    return NULL;
}

void h5_chunks_close(struct h5_chunks *chunks)
{
    if (!chunks)
        return;
    if (chunks->set >= 0)
        H5Dclose(chunks->set);
    free(chunks->path);
    free(chunks);
}
