/* catalog.c - collecting, finding and reading tensors of weight files. */
#include "formats/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1 << 20, SHAPE_BYTES = 128 };

struct error *catalog_add_file(struct catalog *catalog, const char *path)
{
    struct stat status;
    struct catalog_file *files =
        realloc(catalog->files, ((size_t)catalog->n_files + 1) * sizeof *files);
    if (!files)
        return error_new(ERROR_MEMORY, "no memory to open %s", path);
    catalog->files = files;
    struct catalog_file *f = &files[catalog->n_files];
    *f = (struct catalog_file){.path = strdup(path), .descriptor = -1};
    if (!f->path)
        return error_new(ERROR_MEMORY, "no memory to open %s", path);
    catalog->n_files++;
    f->descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (f->descriptor < 0 || fstat(f->descriptor, &status))
        return error_errno(ERROR_INPUT, "cannot read %s", path);
    if (!S_ISREG(status.st_mode))
        return error_new(ERROR_INPUT, "%s is not a file", path);
    f->bytes = (uint64_t)status.st_size;
    return NULL;
}

const struct catalog_file *catalog_last_file(const struct catalog *catalog)
{
    return &catalog->files[catalog->n_files - 1];
}

/* The product of the shape, or -1 where it is no sensible number of elements. */
static int64_t count_elements(const int64_t *shape, int dimensions)
{
    int64_t count = 1;
    for (int i = 0; i < dimensions; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(count, shape[i], &count))
            return -1;
    return count > INT64_MAX / 8 ? -1 : count;
}

struct error *catalog_add(struct catalog *catalog, const struct catalog_tensor *tensor)
{
    const struct catalog_file *file = catalog_last_file(catalog);
    const int64_t count = count_elements(tensor->shape, tensor->dimensions);
    const bool known = !*tensor->other_type;
    if (count < 0 || (known && tensor->bytes != (uint64_t)count * element_bytes(tensor->type))) {
        char shape[SHAPE_BYTES];
        catalog_print_shape(shape, sizeof shape, tensor->shape, tensor->dimensions);
        return error_new(ERROR_INPUT, "%s: %s has %llu bytes, which is not what its shape %s needs",
                         file->path, tensor->name, (unsigned long long)tensor->bytes, shape);
    }
    if (tensor->offset > file->bytes || tensor->bytes > file->bytes - tensor->offset)
        return error_new(ERROR_INPUT, "%s: %s should be %llu bytes at %llu, but the file has only "
                         "%llu bytes; it was cut off or is damaged", file->path, tensor->name,
                         (unsigned long long)tensor->bytes, (unsigned long long)tensor->offset,
                         (unsigned long long)file->bytes);
    if (catalog->n == catalog->capacity) {
        const int capacity = catalog->capacity > 0 ? 2 * catalog->capacity : 64;
        struct catalog_tensor *tensors =
            realloc(catalog->tensors, (size_t)capacity * sizeof *tensors);
        if (!tensors)
            return error_new(ERROR_MEMORY, "no memory for %d tensors of %s", capacity, file->path);
        catalog->tensors = tensors;
        catalog->capacity = capacity;
    }
    struct catalog_tensor *t = &catalog->tensors[catalog->n++];
    *t = *tensor;
    t->count = count;
    t->file = catalog->n_files - 1;
    return NULL;
}

static int by_name(const void *x, const void *y)
{
    const struct catalog_tensor *a = x, *b = y;
    return strcmp(a->name, b->name);
}

struct error *catalog_finish(struct catalog *catalog)
{
    if (catalog->n > 0)
        qsort(catalog->tensors, (size_t)catalog->n, sizeof *catalog->tensors, by_name);
    for (int i = 1; i < catalog->n; i++) {
        const struct catalog_tensor *a = &catalog->tensors[i - 1], *b = &catalog->tensors[i];
        if (strcmp(a->name, b->name))
            continue;
        if (a->file == b->file)
            return error_new(ERROR_INPUT, "%s holds %s twice", catalog_path(catalog, b), b->name);
        return error_new(ERROR_INPUT, "%s and %s both hold %s", catalog_path(catalog, a),
                         catalog_path(catalog, b), b->name);
    }
    return NULL;
}

const struct catalog_tensor *catalog_find(const struct catalog *catalog, const char *name)
{
    struct catalog_tensor key;
    if (strlen(name) >= sizeof key.name)
        return NULL;
    strcpy(key.name, name);
    return catalog->n > 0 ? bsearch(&key, catalog->tensors, (size_t)catalog->n,
                                    sizeof *catalog->tensors, by_name)
                          : NULL;
}

const char *catalog_path(const struct catalog *catalog, const struct catalog_tensor *tensor)
{
    return catalog->files[tensor->file].path;
}

const char *catalog_name(const struct catalog *catalog)
{
    return catalog->n_files > 0 ? catalog->files[0].path : "no file";
}

void catalog_set_name(struct catalog_tensor *tensor, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(tensor->name, sizeof tensor->name, format, arguments);
    va_end(arguments);
    if (n < 0 || n >= (int)sizeof tensor->name)
        BUG("the name of a tensor has %d bytes", n);
}

void catalog_print_shape(char *text, size_t bytes, const int64_t *shape, int dimensions)
{
    size_t used = (size_t)snprintf(text, bytes, "(");
    for (int i = 0; i < dimensions && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%lld", i ? ", " : "",
                                 (long long)shape[i]);
    if (used < bytes)
        snprintf(text + used, bytes - used, ")");
}

struct error *catalog_check(const struct catalog *catalog, const struct catalog_tensor *tensor,
                            const int64_t *shape, int dimensions)
{
    char found[SHAPE_BYTES], expected[SHAPE_BYTES];
    if (*tensor->other_type)
        return error_new(ERROR_INPUT, "%s: %s is of type %s, expected float32, float16 or bfloat16",
                         catalog_path(catalog, tensor), tensor->name, tensor->other_type);
    if (tensor->dimensions == dimensions &&
        !memcmp(tensor->shape, shape, (size_t)dimensions * sizeof *shape))
        return NULL;
    catalog_print_shape(found, sizeof found, tensor->shape, tensor->dimensions);
    catalog_print_shape(expected, sizeof expected, shape, dimensions);
    return error_new(ERROR_INPUT, "%s: %s has shape %s, expected %s", catalog_path(catalog, tensor),
                     tensor->name, found, expected);
}

static struct error *read_bytes(const struct catalog_file *file, uint64_t offset, void *out,
                                size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n =
            pread(file->descriptor, (char *)out + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(ERROR_IO, "cannot read %s", file->path);
        if (n == 0)
            return error_new(ERROR_INPUT, "%s became shorter while it was read", file->path);
        done += (size_t)n;
    }
    return NULL;
}

struct error *catalog_read(const struct catalog *catalog, const struct catalog_tensor *tensor,
                           float *out)
{
    const struct catalog_file *file = &catalog->files[tensor->file];
    const size_t each = element_bytes(tensor->type);
    if (tensor->type == ELEMENT_F32)
        return read_bytes(file, tensor->offset, out, tensor->bytes);
    void *chunk = malloc(CHUNK_BYTES);
    if (!chunk)
        return error_new(ERROR_MEMORY, "no memory to read %s", file->path);
    struct error *e = NULL;
    const int64_t most = (int64_t)(CHUNK_BYTES / each);
    for (int64_t i = 0; i < tensor->count && !e; i += most) {
        const int64_t n = tensor->count - i < most ? tensor->count - i : most;
        e = read_bytes(file, tensor->offset + (uint64_t)i * each, chunk, (size_t)n * each);
        if (!e)
            elements_to_floats(tensor->type, chunk, out + i, n);
    }
    free(chunk);
    return e;
}

void catalog_release(struct catalog *catalog)
{
    for (int i = 0; i < catalog->n_files; i++) {
        if (catalog->files[i].descriptor >= 0)
            close(catalog->files[i].descriptor);
        free(catalog->files[i].path);
    }
    free(catalog->files);
    free(catalog->tensors);
    *catalog = (struct catalog){0};
}
