/* safetensors.c - reading and checking headers, writing files. */
#include "formats/safetensors.h"

#include "formats/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The format's own limit on headers; and what an index of a model in very many files may take. */
enum { MOST_HEADER = 100000000, MOST_INDEX = 1 << 26, CHUNK_ELEMENTS = 1 << 18 };

static const double most_offset = 0x1p53;    /* whole numbers that JSON's doubles hold exactly */

static const struct {
    const char *name;
    enum element_type type;
} types[] = {{"F32", ELEMENT_F32}, {"F16", ELEMENT_F16}, {"BF16", ELEMENT_BF16}};
enum { TYPES = sizeof types / sizeof types[0] };

/* ---- reading ---- */

static bool is_whole(const cJSON *item)
{
    return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= most_offset &&
           (double)(int64_t)item->valuedouble >= item->valuedouble;
}

static void set_type(struct catalog_tensor *t, const char *dtype)
{
    for (int i = 0; i < TYPES; i++) {
        if (!strcmp(types[i].name, dtype)) {
            t->type = types[i].type;
            return;
        }
    }
    snprintf(t->other_type, sizeof t->other_type, "%s", *dtype ? dtype : "nothing");
}

/* One member of the header; `start` is where the tensors begin in the file. */
static struct error *parse_tensor(const char *path, const cJSON *item, uint64_t start,
                                  struct catalog_tensor *t)
{
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    const cJSON *first = cJSON_GetArrayItem(offsets, 0), *last = cJSON_GetArrayItem(offsets, 1);
    *t = (struct catalog_tensor){0};
    if (!item->string || strlen(item->string) >= sizeof t->name)
        return error_new(ERROR_INPUT, "%s: a tensor's name is longer than %zu bytes", path,
                         sizeof t->name - 1);
    strcpy(t->name, item->string);
    if (!cJSON_IsString(dtype) || !cJSON_IsArray(shape) || !cJSON_IsArray(offsets) ||
        !is_whole(first) || !is_whole(last) || last->next ||
        last->valuedouble < first->valuedouble)
        return error_new(ERROR_INPUT, "%s: the header's entry of %s is not {\"dtype\", \"shape\", "
                         "\"data_offsets\": [BEGIN, END]}", path, t->name);
    const cJSON *size;
    cJSON_ArrayForEach(size, shape)
    {
        if (t->dimensions == CATALOG_DIMENSIONS || !is_whole(size))
            return error_new(ERROR_INPUT, "%s: the shape of %s is not at most %d whole numbers",
                             path, t->name, CATALOG_DIMENSIONS);
        t->shape[t->dimensions++] = (int64_t)size->valuedouble;
    }
    set_type(t, dtype->valuestring);
    t->offset = start + (uint64_t)first->valuedouble;
    t->bytes = (uint64_t)last->valuedouble - (uint64_t)first->valuedouble;
    return NULL;
}

static int by_offset(const void *x, const void *y)
{
    const struct catalog_tensor *a = x, *b = y;
    return a->offset != b->offset ? (a->offset > b->offset) - (a->offset < b->offset)
                                  : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

/* The tensors must lie one after the other from `start` to the end of the file. */
static struct error *check_places(struct catalog_tensor *tensors, int n, uint64_t start,
                                  const struct catalog_file *file)
{
    uint64_t at = start;
    if (n > 0)
        qsort(tensors, (size_t)n, sizeof *tensors, by_offset);
    for (int i = 0; i < n; i++) {
        if (tensors[i].offset != at)
            return error_new(ERROR_INPUT, "%s: %s begins at %" PRIu64 ", expected %" PRIu64
                             ": tensors overlap or leave a hole", file->path, tensors[i].name,
                             tensors[i].offset - start, at - start);
        at += tensors[i].bytes;
    }
    if (at != file->bytes)
        return error_new(ERROR_INPUT,
                         "%s has %" PRIu64 " bytes, expected %" PRIu64 " by its header; "
                         "it was cut off or is damaged", file->path, file->bytes, at);
    return NULL;
}

static struct error *add_all(struct catalog *catalog, const cJSON *header, uint64_t start)
{
    const struct catalog_file *file = catalog_last_file(catalog);
    const int first = catalog->n;
    const cJSON *item;
    if (!cJSON_IsObject(header))
        return error_new(ERROR_INPUT, "%s: its header is not a JSON object", file->path);
    cJSON_ArrayForEach(item, header)
    {
        struct catalog_tensor t;
        if (item->string && !strcmp(item->string, "__metadata__"))
            continue;
        TRY(parse_tensor(file->path, item, start, &t));
        TRY(catalog_add(catalog, &t));
    }
    return check_places(catalog->tensors + first, catalog->n - first, start, file);
}

/* The header's text, for the caller to free. */
static struct error *read_header(const struct catalog_file *file, char **text, uint64_t *bytes)
{
    unsigned char length[8];
    uint64_t n = 0;
    if (file->bytes < sizeof length ||
        pread(file->descriptor, length, sizeof length, 0) != (ssize_t)sizeof length)
        return error_new(ERROR_INPUT, "%s is not a safetensors file: it has only %" PRIu64 " bytes",
                         file->path, file->bytes);
    for (int i = 0; i < 8; i++)
        n |= (uint64_t)length[i] << (8 * i);
    if (n > file->bytes - sizeof length || n > MOST_HEADER)
        return error_new(ERROR_INPUT, "%s says its header has %" PRIu64 " bytes, but the file has %"
                         PRIu64 " (and %d are the most); it is not a safetensors file, or it is "
                         "damaged", file->path, n, file->bytes, MOST_HEADER);
    char *buffer = malloc((size_t)n + 1);
    if (!buffer)
        return error_new(ERROR_MEMORY, "no memory for the header of %s (%" PRIu64 " bytes)",
                         file->path, n);
    const ssize_t got = pread(file->descriptor, buffer, (size_t)n, sizeof length);
    if (got != (ssize_t)n || memchr(buffer, '\0', (size_t)n)) {
        free(buffer);
        return error_new(ERROR_INPUT, "%s: its header cannot be read, or is not text", file->path);
    }
    buffer[n] = '\0';
    *text = buffer;
    *bytes = n;
    return NULL;
}

struct error *safetensors_catalog(struct catalog *catalog, const char *path)
{
    char *text = NULL, *name;
    uint64_t bytes = 0;
    cJSON *header = NULL;
    TRY(catalog_add_file(catalog, path));
    TRY(read_header(catalog_last_file(catalog), &text, &bytes));
    if (asprintf(&name, "%s: its header", path) < 0) {
        free(text);
        return error_new(ERROR_MEMORY, "no memory to read %s", path);
    }
    struct error *e = json_parse(&header, text, (size_t)bytes, name);
    free(name);
    free(text);
    if (!e)
        e = add_all(catalog, header, 8 + bytes);
    cJSON_Delete(header);
    return e;
}

/* ---- sharded ---- */

/* Whether an earlier entry of the index names the same file. */
static bool is_repeated(const cJSON *first, const cJSON *entry)
{
    for (const cJSON *other = first; other != entry; other = other->next)
        if (cJSON_IsString(other) && !strcmp(other->valuestring, entry->valuestring))
            return true;
    return false;
}

static struct error *add_shards(struct catalog *catalog, const cJSON *map, const char *folder,
                                const char *index_path)
{
    const cJSON *previous = NULL, *entry;
    cJSON_ArrayForEach(entry, map)
    {
        if (!cJSON_IsString(entry) || !*entry->valuestring || strchr(entry->valuestring, '/'))
            return error_new(ERROR_INPUT, "%s: weight_map gives no file name for %s", index_path,
                             entry->string);
        /* Runs of one file are the rule: compared first, so that this is linear for them. */
        const bool same = previous && !strcmp(previous->valuestring, entry->valuestring);
        previous = entry;
        if (same || is_repeated(map->child, entry))
            continue;
        char *path;
        if (asprintf(&path, "%s/%s", folder, entry->valuestring) < 0)
            return error_new(ERROR_MEMORY, "no memory for a path");
        struct error *e = safetensors_catalog(catalog, path);
        free(path);
        TRY(e);
    }
    return catalog_finish(catalog);
}

/* That each tensor of the index is in the file it names. */
static struct error *check_index(const struct catalog *catalog, const cJSON *map,
                                 const char *index_path)
{
    const cJSON *entry;
    cJSON_ArrayForEach(entry, map)
    {
        const struct catalog_tensor *t = catalog_find(catalog, entry->string);
        const char *path = t ? catalog_path(catalog, t) : "";
        const char *slash = strrchr(path, '/');
        if (!t || strcmp(slash ? slash + 1 : path, entry->valuestring))
            return error_new(ERROR_INPUT, "%s says that %s holds %s, which it does not", index_path,
                             entry->valuestring, entry->string);
    }
    return NULL;
}

struct error *safetensors_catalog_index(struct catalog *catalog, const char *folder,
                                        const char *index_path)
{
    cJSON *index;
    const cJSON *map;
    TRY(json_open(&index, index_path, MOST_INDEX));
    struct error *e = json_get_object(index, "weight_map", index_path, &map);
    if (!e)
        e = add_shards(catalog, map, folder, index_path);
    if (!e)
        e = check_index(catalog, map, index_path);
    cJSON_Delete(index);
    return e;
}

/* ---- writing ---- */

struct safetensors_writer {
    FILE *file;
    char *path;
    const struct catalog_tensor *tensors;
    int n, next;
    void *chunk;
};

static const char *type_name(enum element_type type)
{
    int i = 0;
    while (types[i].type != type)
        i++;
    return types[i].name;
}

static int64_t count_of(const struct catalog_tensor *t)
{
    int64_t count = 1;
    for (int i = 0; i < t->dimensions; i++)
        count *= t->shape[i];
    return count;
}

/* Names are ours: nothing in them needs escapes. */
static struct error *write_header(struct safetensors_writer *w)
{
    char *text = NULL;
    size_t bytes = 0;
    uint64_t at = 0;
    FILE *memory = open_memstream(&text, &bytes);
    if (!memory)
        return error_new(ERROR_MEMORY, "no memory for the header of %s", w->path);
    fprintf(memory, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int i = 0; i < w->n; i++) {
        const struct catalog_tensor *t = &w->tensors[i];
        const uint64_t size = (uint64_t)count_of(t) * element_bytes(t->type);
        fprintf(memory, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name, type_name(t->type));
        for (int d = 0; d < t->dimensions; d++)
            fprintf(memory, "%s%lld", d ? "," : "", (long long)t->shape[d]);
        fprintf(memory, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, at + size);
        at += size;
    }
    fputc('}', memory);
    for (long end = ftell(memory); end % 8 != 0; end++)    /* so that tensors begin aligned */
        fputc(' ', memory);
    if (fclose(memory)) {
        free(text);
        return error_new(ERROR_MEMORY, "no memory for the header of %s", w->path);
    }
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)bytes >> (8 * i));
    const bool good = fwrite(length, 1, sizeof length, w->file) == sizeof length &&
                      fwrite(text, 1, bytes, w->file) == bytes;
    free(text);
    return good ? NULL : error_errno(ERROR_IO, "cannot write %s", w->path);
}

struct error *safetensors_create(struct safetensors_writer **out, const char *path,
                                 const struct catalog_tensor *tensors, int n)
{
    struct error *e = NULL;
    struct safetensors_writer *w = calloc(1, sizeof *w);
    if (w) {
        *w = (struct safetensors_writer){.tensors = tensors, .n = n, .path = strdup(path),
                                         .chunk = malloc(CHUNK_ELEMENTS * sizeof(float))};
    }
    if (!w || !w->path || !w->chunk)
        e = error_new(ERROR_MEMORY, "no memory to write %s", path);
    else if (!(w->file = fopen(path, "wbe")))
        e = error_errno(ERROR_IO, "cannot write %s", path);
    else
        e = write_header(w);
    if (e) {
        error_destroy(safetensors_close(w));
        return e;
    }
    *out = w;
    return NULL;
}

struct error *safetensors_add(struct safetensors_writer *writer, const float *data)
{
    if (writer->next == writer->n)
        BUG("%s is planned for %d tensors", writer->path, writer->n);
    const struct catalog_tensor *t = &writer->tensors[writer->next++];
    const int64_t count = count_of(t);
    const size_t each = element_bytes(t->type);
    for (int64_t i = 0; i < count; i += CHUNK_ELEMENTS) {
        const int64_t n = count - i < CHUNK_ELEMENTS ? count - i : CHUNK_ELEMENTS;
        elements_from_floats(t->type, data + i, writer->chunk, n);
        if (fwrite(writer->chunk, each, (size_t)n, writer->file) != (size_t)n)
            return error_errno(ERROR_IO, "cannot write %s", writer->path);
    }
    return NULL;
}

struct error *safetensors_close(struct safetensors_writer *writer)
{
    if (!writer)
        return NULL;
    bool good = writer->file && writer->next == writer->n && !fflush(writer->file) &&
                !fsync(fileno(writer->file));
    if (writer->file)
        good &= !fclose(writer->file);
    struct error *e = good ? NULL : error_errno(ERROR_IO, "cannot write %s", writer->path);
    free(writer->path);
    free(writer->chunk);
    free(writer);
    return e;
}
