/* h5.c - HDF5 behind errors that name file and object. */
#include "formats/h5.h"

#include "formats/h5_types.h"

#include <hdf5.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DIMENSIONS = 8, MOST_TEXT = 1 << 28 };

struct h5_file {
    hid_t id;
    char *path;
    char reason[128];    /* why the system refused the last call, ": No space left on device" */
};

/* One frame of HDF5's stack of errors: the innermost holds the system's words. */
static herr_t keep_reason(unsigned depth, const H5E_error2_t *frame, void *self)
{
    (void)depth;
    struct h5_file *f = self;
    static const char before[] = "error message = '";
    const char *text = frame->desc ? strstr(frame->desc, before) : NULL;
    if (text) {
        text += sizeof before - 1;
        snprintf(f->reason, sizeof f->reason, ": %.*s", (int)strcspn(text, "'"), text);
    }
    return 0;
}

/* Called by HDF5 when a call fails, instead of printing its frames: the error is ours to word. */
static herr_t keep_reasons(hid_t stack, void *self)
{
    return H5Ewalk2(stack, H5E_WALK_UPWARD, keep_reason, self);
}

struct error *h5_failed(const struct h5_file *file, const char *what, const char *object)
{
    return error_new(ERROR_IO, "HDF5 cannot %s %s in %s%s", what, object, file->path, file->reason);
}

static struct error *make_file(struct h5_file **out, const char *path)
{
    /* A file that could not be closed, on a full disk, would crash HDF5's clean-up at exit. Every
     * file is closed here, so there is nothing to clean up. */
    H5dont_atexit();
    /* Freed blocks go back to malloc. HDF5 would keep some of every size it ever had, and a run
     * whose history grows writes a size of its own into every checkpoint. */
    H5set_free_list_limits(0, 0, 0, 0, 0, 0);
    struct h5_file *f = calloc(1, sizeof *f);
    if (f)
        f->path = strdup(path);
    if (!f || !f->path) {
        free(f);
        return error_new(ERROR_MEMORY, "no memory to open %s", path);
    }
    f->id = H5I_INVALID_HID;
    H5Eset_auto2(H5E_DEFAULT, keep_reasons, f);
    *out = f;
    return NULL;
}

static void free_file(struct h5_file *file)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    free(file->path);
    free(file);
}

struct error *h5_create(struct h5_file **out, const char *path, size_t user_bytes)
{
    struct h5_file *f = NULL;
    TRY(make_file(&f, path));
    const hid_t plist = H5Pcreate(H5P_FILE_CREATE);
    if (plist >= 0 && (user_bytes == 0 || H5Pset_userblock(plist, user_bytes) >= 0))
        f->id = H5Fcreate(path, H5F_ACC_TRUNC, plist, H5P_DEFAULT);
    H5Pclose(plist);
    if (f->id < 0) {
        struct error *e = error_new(ERROR_IO, "cannot create %s%s", path, f->reason);
        free_file(f);
        return e;
    }
    *out = f;
    return NULL;
}

struct error *h5_open(struct h5_file **out, const char *path)
{
    struct h5_file *f = NULL;
    TRY(make_file(&f, path));
    f->id = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (f->id < 0) {
        free_file(f);
        return error_new(ERROR_INPUT, "%s is not an HDF5 file, or it is damaged", path);
    }
    *out = f;
    return NULL;
}

struct error *h5_close(struct h5_file *file)
{
    if (!file)
        return NULL;
    struct error *e = NULL;
    if (H5Fclose(file->id) < 0)
        e = error_new(ERROR_IO, "HDF5 cannot finish %s%s", file->path, file->reason);
    free_file(file);
    return e;
}

hid_t h5_file_id(const struct h5_file *file)
{
    return file->id;
}

const char *h5_path(const struct h5_file *file)
{
    return file->path;
}

/* ---- writing ---- */

static hid_t making_groups(void)
{
    const hid_t plist = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(plist, 1);
    return plist;
}

static struct error *write_array(struct h5_file *file, const char *path, const int64_t *shape,
                                 int dimensions, hid_t file_type, hid_t memory_type,
                                 const void *data, uint64_t *offset)
{
    hsize_t dims[MOST_DIMENSIONS];
    for (int i = 0; i < dimensions; i++)
        dims[i] = (hsize_t)shape[i];
    const hid_t links = making_groups();
    const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_layout(plist, H5D_CONTIGUOUS);
    H5Pset_alloc_time(plist, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(plist, H5D_FILL_TIME_NEVER);
    const hid_t space = H5Screate_simple(dimensions, dims, NULL);
    const hid_t set = H5Dcreate2(file->id, path, file_type, space, links, plist, H5P_DEFAULT);
    bool good = set >= 0 && H5Dwrite(set, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
    if (good && offset) {
        *offset = H5Dget_offset(set);
        good = *offset != HADDR_UNDEF;
    }
    if (set >= 0)
        good &= H5Dclose(set) >= 0;
    H5Sclose(space);
    H5Pclose(plist);
    H5Pclose(links);
    return good ? NULL : h5_failed(file, "write", path);
}

struct error *h5_write_floats(struct h5_file *file, const char *path, const int64_t *shape,
                              int dimensions, const float *data, uint64_t *offset)
{
    return write_array(file, path, shape, dimensions, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, data,
                       offset);
}

struct error *h5_write_elements(struct h5_file *file, const char *path, const int64_t *shape,
                                int dimensions, enum element_type type, const void *packed)
{
    const hid_t id = h5_element_type(type);
    struct error *e = write_array(file, path, shape, dimensions, id, id, packed, NULL);
    H5Tclose(id);
    return e;
}

struct error *h5_write_doubles(struct h5_file *file, const char *path, const int64_t *shape,
                               int dimensions, const double *data)
{
    return write_array(file, path, shape, dimensions, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, data,
                       NULL);
}

/* A string type of exactly so many bytes. */
static hid_t text_type(size_t bytes)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, bytes);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

struct error *h5_write_text(struct h5_file *file, const char *path, const char *text, size_t bytes)
{
    const hid_t links = making_groups();
    const hid_t type = text_type(bytes);
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t set = H5Dcreate2(file->id, path, type, space, links, H5P_DEFAULT, H5P_DEFAULT);
    bool good = set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text) >= 0;
    if (set >= 0)
        good &= H5Dclose(set) >= 0;
    H5Sclose(space);
    H5Tclose(type);
    H5Pclose(links);
    return good ? NULL : h5_failed(file, "write", path);
}

struct error *h5_make_group(struct h5_file *file, const char *path)
{
    const hid_t links = making_groups();
    const hid_t group = H5Gcreate2(file->id, path, links, H5P_DEFAULT, H5P_DEFAULT);
    H5Pclose(links);
    return group >= 0 && H5Gclose(group) >= 0 ? NULL : h5_failed(file, "make group", path);
}

static struct error *set_attribute(struct h5_file *file, const char *path, const char *name,
                                   hid_t file_type, hid_t memory_type, const void *value)
{
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t attribute = H5Acreate_by_name(file->id, path, name, file_type, space, H5P_DEFAULT,
                                              H5P_DEFAULT, H5P_DEFAULT);
    bool good = attribute >= 0 && H5Awrite(attribute, memory_type, value) >= 0;
    if (attribute >= 0)
        good &= H5Aclose(attribute) >= 0;
    H5Sclose(space);
    return good ? NULL : h5_failed(file, "write an attribute of", path);
}

struct error *h5_set_int(struct h5_file *file, const char *path, const char *name, int64_t value)
{
    return set_attribute(file, path, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

struct error *h5_set_double(struct h5_file *file, const char *path, const char *name, double value)
{
    return set_attribute(file, path, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

struct error *h5_set_text(struct h5_file *file, const char *path, const char *name,
                          const char *text)
{
    const hid_t type = text_type(*text ? strlen(text) : 1);
    struct error *e = set_attribute(file, path, name, type, type, text);
    H5Tclose(type);
    return e;
}

struct error *h5_set_string(struct h5_file *file, const char *path, const char *name,
                            const char *text)
{
    const hid_t type = text_type(H5T_VARIABLE);
    H5Tset_strpad(type, H5T_STR_NULLTERM);
    struct error *e = set_attribute(file, path, name, type, type, &text);
    H5Tclose(type);
    return e;
}

/* ---- reading ---- */

/* The dataset's dimensions, with its handle left open on success. */
static struct error *open_array(struct h5_file *file, const char *path, hid_t *set, int *dimensions,
                                hsize_t *dims)
{
    *set = H5Dopen2(file->id, path, H5P_DEFAULT);
    if (*set < 0)
        return error_new(ERROR_INPUT, "%s has no %s", file->path, path);
    const hid_t space = H5Dget_space(*set);
    *dimensions = H5Sget_simple_extent_ndims(space);
    const bool good = *dimensions >= 0 && *dimensions <= MOST_DIMENSIONS &&
                      H5Sget_simple_extent_dims(space, dims, NULL) >= 0;
    H5Sclose(space);
    if (good)
        return NULL;
    H5Dclose(*set);
    return h5_failed(file, "read the shape of", path);
}

struct error *h5_read_floats(struct h5_file *file, const char *path, const int64_t *shape,
                             int dimensions, float *data)
{
    hid_t set;
    int n = 0;
    hsize_t dims[MOST_DIMENSIONS];
    TRY(open_array(file, path, &set, &n, dims));
    bool same = n == dimensions;
    for (int i = 0; i < n && same; i++)
        same = dims[i] == (hsize_t)shape[i];
    struct error *e = NULL;
    if (!same)
        e = error_new(ERROR_INPUT, "%s: %s has not the shape the model needs", file->path, path);
    else if (H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        e = h5_failed(file, "read", path);
    H5Dclose(set);
    return e;
}

struct error *h5_read_rows(struct h5_file *file, const char *path, int64_t columns,
                           int64_t most_rows, double **data, int64_t *rows)
{
    hid_t set;
    int n = 0;
    hsize_t dims[MOST_DIMENSIONS] = {0};
    double *values = NULL;
    struct error *e = NULL;
    TRY(open_array(file, path, &set, &n, dims));
    if (n != 2 || dims[1] != (hsize_t)columns || dims[0] > (hsize_t)most_rows)
        e = error_new(ERROR_INPUT, "%s: %s is not a table of %lld columns", file->path, path,
                      (long long)columns);
    else if (!(values = calloc(dims[0] * dims[1] + 1, sizeof *values)))
        e = error_new(ERROR_MEMORY, "no memory for %s of %s", path, file->path);
    else if (H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        e = h5_failed(file, "read", path);
    H5Dclose(set);
    if (e) {
        free(values);
        return e;
    }
    *data = values;
    *rows = (int64_t)dims[0];
    return NULL;
}

/* Memory for a fixed-length string of this type, zero after its end. */
static struct error *text_memory(struct h5_file *file, hid_t type, const char *object, char **text,
                                 size_t *bytes)
{
    *bytes = H5Tget_size(type);
    if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) > 0 || *bytes > MOST_TEXT)
        return error_new(ERROR_INPUT, "%s: %s is not text", file->path, object);
    *text = calloc(*bytes + 1, 1);
    return *text ? NULL : error_new(ERROR_MEMORY, "no memory for %s of %s", object, file->path);
}

struct error *h5_read_text(struct h5_file *file, const char *path, char **text, size_t *bytes)
{
    char *buffer = NULL;
    const hid_t set = H5Dopen2(file->id, path, H5P_DEFAULT);
    if (set < 0)
        return error_new(ERROR_INPUT, "%s has no %s", file->path, path);
    const hid_t type = H5Dget_type(set);
    struct error *e = text_memory(file, type, path, &buffer, bytes);
    if (!e && H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer) < 0)
        e = h5_failed(file, "read", path);
    H5Tclose(type);
    H5Dclose(set);
    if (e)
        free(buffer);
    else
        *text = buffer;
    return e;
}

static struct error *open_attribute(struct h5_file *file, const char *path, const char *name,
                                    hid_t *attribute)
{
    *attribute = H5Aopen_by_name(file->id, path, name, H5P_DEFAULT, H5P_DEFAULT);
    if (*attribute < 0)
        return error_new(ERROR_INPUT, "%s: %s has no attribute %s", file->path, path, name);
    return NULL;
}

static struct error *get_number(struct h5_file *file, const char *path, const char *name,
                                hid_t memory_type, void *value)
{
    hid_t attribute;
    TRY(open_attribute(file, path, name, &attribute));
    const hid_t space = H5Aget_space(attribute);
    const bool good = H5Sget_simple_extent_npoints(space) == 1 &&
                      H5Aread(attribute, memory_type, value) >= 0;
    H5Sclose(space);
    H5Aclose(attribute);
    return good ? NULL : h5_failed(file, "read an attribute of", path);
}

bool h5_has_attribute(struct h5_file *file, const char *path, const char *name)
{
    return H5Aexists_by_name(file->id, path, name, H5P_DEFAULT) > 0;
}

struct error *h5_get_int(struct h5_file *file, const char *path, const char *name, int64_t *value)
{
    return get_number(file, path, name, H5T_NATIVE_INT64, value);
}

struct error *h5_get_double(struct h5_file *file, const char *path, const char *name,
                            double *value)
{
    return get_number(file, path, name, H5T_NATIVE_DOUBLE, value);
}

struct error *h5_get_text(struct h5_file *file, const char *path, const char *name, char **text)
{
    hid_t attribute;
    size_t bytes;
    char *buffer = NULL;
    TRY(open_attribute(file, path, name, &attribute));
    const hid_t type = H5Aget_type(attribute);
    struct error *e = text_memory(file, type, name, &buffer, &bytes);
    if (!e && H5Aread(attribute, type, buffer) < 0)
        e = h5_failed(file, "read an attribute of", path);
    H5Tclose(type);
    H5Aclose(attribute);
    if (e)
        free(buffer);
    else
        *text = buffer;
    return e;
}
