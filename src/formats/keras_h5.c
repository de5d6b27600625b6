/* keras_h5.c - Keras's files of weights. */
#include "formats/keras_h5.h"

#include "formats/h5.h"
#include "formats/h5_catalog.h"
#include "formats/json.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_INDEX = 1 << 26 };

/* ---- reading ---- */

/* A part of a path as old versions of Keras spell it, and as it is spelled now. */
static const struct {
    const char *old, *new;
} spellings[] = {
    {"_layer_checkpoint_dependencies", "layers"},
    {"_query_dense", "query_dense"},
    {"_key_dense", "key_dense"},
    {"_value_dense", "value_dense"},
    {"_output_dense", "output_dense"},
};

static const char backbone[] = "/layers/gpt2_backbone/";

/* No spelling is longer than what it replaces, so the path changes in place. */
static void respell(char *path)
{
    char *to = path;
    for (const char *from = path; *from == '/';) {
        const size_t n = strcspn(from + 1, "/");
        const char *part = from + 1;
        size_t bytes = n;
        for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
            if (strlen(spellings[i].old) == n && !memcmp(spellings[i].old, part, n)) {
                part = spellings[i].new;
                bytes = strlen(part);
                break;
            }
        }
        *to++ = '/';
        memmove(to, part, bytes);
        to += bytes;
        from += 1 + n;
    }
    *to = '\0';
    if (!strncmp(path, backbone, sizeof backbone - 1))
        memmove(path, path + sizeof backbone - 2, strlen(path + sizeof backbone - 2) + 1);
}

static struct error *add_file(struct catalog *catalog, const char *path)
{
    const int first = catalog->n;
    TRY(h5_catalog(catalog, path));
    for (int i = first; i < catalog->n; i++)
        respell(catalog->tensors[i].name);
    return NULL;
}

struct error *keras_h5_catalog(struct catalog *catalog, const char *path)
{
    TRY(add_file(catalog, path));
    return catalog_finish(catalog);
}

/* One file that the index names, unless it is there already. */
static struct error *add_shard(struct catalog *catalog, const cJSON *entry, const char *key,
                               const char *folder, const char *index_path)
{
    char *path;
    if (!cJSON_IsString(entry) || !*entry->valuestring || strchr(entry->valuestring, '/'))
        return error_new(ERROR_INPUT, "%s: weight_map gives no file name for %s", index_path, key);
    if (asprintf(&path, "%s/%s", folder, entry->valuestring) < 0)
        return error_new(ERROR_MEMORY, "no memory for a path");
    bool there = false;
    for (int i = 0; i < catalog->n_files && !there; i++)
        there = !strcmp(catalog->files[i].path, path);
    struct error *e = there ? NULL : add_file(catalog, path);
    free(path);
    return e;
}

/* An entry of the index: a file name, or a list of them. */
static struct error *add_shards(struct catalog *catalog, const cJSON *entry, const char *folder,
                                const char *index_path)
{
    if (!cJSON_IsArray(entry))
        return add_shard(catalog, entry, entry->string, folder, index_path);
    const cJSON *file;
    cJSON_ArrayForEach(file, entry)
        TRY(add_shard(catalog, file, entry->string, folder, index_path));
    return NULL;
}

struct error *keras_h5_catalog_index(struct catalog *catalog, const char *folder,
                                     const char *index_path)
{
    cJSON *index;
    const cJSON *map = NULL, *entry;
    TRY(json_open(&index, index_path, MOST_INDEX));
    struct error *e = json_get_object(index, "weight_map", index_path, &map);
    cJSON_ArrayForEach(entry, map)
        if (!e)
            e = add_shards(catalog, entry, folder, index_path);
    cJSON_Delete(index);
    return e ? e : catalog_finish(catalog);
}

/* ---- writing ---- */

struct keras_h5_writer {
    struct h5_file *file;
    char *path;
};

struct error *keras_h5_create(struct keras_h5_writer **out, const char *path)
{
    struct keras_h5_writer *w = calloc(1, sizeof *w);
    if (w)
        w->path = strdup(path);
    struct error *e = w && w->path ? h5_create(&w->file, path, 0)
                                   : error_new(ERROR_MEMORY, "no memory to write %s", path);
    if (e) {
        if (w)
            free(w->path);
        free(w);
        return e;
    }
    *out = w;
    return NULL;
}

struct error *keras_h5_add_layer(struct keras_h5_writer *writer, const char *parent,
                                 const char *path, const char *name)
{
    char group[CATALOG_NAME_BYTES];
    snprintf(group, sizeof group, "%s%s/vars", parent, path);
    TRY(h5_make_group(writer->file, group));
    return h5_set_string(writer->file, group, "name", name);
}

struct error *keras_h5_add(struct keras_h5_writer *writer, const struct catalog_tensor *tensor,
                           const float *data)
{
    int64_t count = 1;
    for (int i = 0; i < tensor->dimensions; i++)
        count *= tensor->shape[i];
    const size_t bytes = (size_t)count * element_bytes(tensor->type);
    void *packed = malloc(bytes + 1);
    if (!packed)
        return error_new(ERROR_MEMORY, "no memory for %s of %s (%zu bytes)", tensor->name,
                         writer->path, bytes);
    elements_from_floats(tensor->type, data, packed, count);
    struct error *e = h5_write_elements(writer->file, tensor->name, tensor->shape,
                                        tensor->dimensions, tensor->type, packed);
    free(packed);
    if (!e && tensor->type == ELEMENT_BF16)
        e = h5_set_string(writer->file, tensor->name, "dtype", "bfloat16");
    return e;
}

struct error *keras_h5_close(struct keras_h5_writer *writer)
{
    if (!writer)
        return NULL;
    struct error *e = h5_close(writer->file);
    const int fd = e ? -1 : open(writer->path, O_RDONLY | O_CLOEXEC);
    if (!e && (fd < 0 || fsync(fd)))
        e = error_errno(ERROR_IO, "cannot flush %s to disk", writer->path);
    if (fd >= 0)
        close(fd);
    free(writer->path);
    free(writer);
    return e;
}
