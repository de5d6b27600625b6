/*
 * prepare.c - the index and the unpacked text of input files: from the cache, or made by a scan.
 *
 * In a cache folder they are NAME.index and NAME.text. The index says which inputs it belongs to,
 * and is written last: it never stands beside a text of other inputs.
 */
#include "data/prepare.h"

#include "data/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The names of both in a cache folder. */
struct cache {
    const char *folder;
    char *index_name, *text_name;
    char *index_path, *text_path;
};

static struct error *no_memory(const struct dataset_options *options)
{
    return error_new(ERROR_MEMORY, "no memory to open the %s data", options->name);
}

static void cache_release(struct cache *cache)
{
    free(cache->index_name);
    free(cache->text_name);
    free(cache->index_path);
    free(cache->text_path);
}

/* "a" + "b" + "c" in new memory, or NULL. */
static char *concatenate(const char *a, const char *b, const char *c)
{
    char *text;
    return asprintf(&text, "%s%s%s", a, b, c) < 0 ? NULL : text;
}

static struct error *cache_name(struct cache *out, const struct dataset_options *options)
{
    struct cache cache = {
        .folder = options->cache_folder,
        .index_name = concatenate(options->name, ".index", ""),
        .text_name = concatenate(options->name, ".text", ""),
    };
    if (cache.index_name && cache.text_name) {
        cache.index_path = concatenate(cache.folder, "/", cache.index_name);
        cache.text_path = concatenate(cache.folder, "/", cache.text_name);
    }
    if (!cache.index_path || !cache.text_path) {
        cache_release(&cache);
        return no_memory(options);
    }
    *out = cache;
    return NULL;
}

/* Opens what an earlier open left; false if it is not of these inputs, or not whole. */
static struct error *open_cached(struct prepared_text *out, const struct cache *cache, uint64_t key,
                                 bool *usable)
{
    struct prepared_text text = {.index_fd = -1, .unpacked_fd = -1};
    TRY(sample_index_load(&text.index, &text.index_fd, usable, cache->index_path, key));
    if (*usable && text.index.unpacked_bytes) {
        struct stat facts;
        text.unpacked_fd = open(cache->text_path, O_RDONLY | O_CLOEXEC);
        *usable = text.unpacked_fd >= 0 && !fstat(text.unpacked_fd, &facts) &&
                  facts.st_size == text.index.unpacked_bytes;
    }
    if (*usable)
        *out = text;
    else
        prepared_text_release(&text);
    return NULL;
}

static struct error *scan_inputs(struct sample_index *out, const struct inputs *inputs,
                                 const struct dataset_options *options,
                                 const struct scan_options *scan, struct spool *addresses,
                                 struct spool *unpacked)
{
    /* The files found before, not the patterns: a file that came since must not slip in. */
    const char **const paths = calloc((size_t)inputs->count, sizeof *paths);
    if (!paths)
        return no_memory(options);
    for (int i = 0; i < inputs->count; i++)
        paths[i] = inputs->files[i].path;
    struct source *source;
    struct error *e = source_open(&source, &(struct source_options){
        .inputs = paths, .input_count = inputs->count, .field = options->field,
        .name = options->name, .block_bytes = SOURCE_BLOCK_BYTES});
    free(paths);
    if (e)
        return e;
    e = scan_text(out, source, scan, addresses, unpacked);
    source_close(source);
    return e;
}

/* Scans into the cache, or into unnamed files where `cache` is NULL. */
static struct error *build(struct prepared_text *out, const struct inputs *inputs,
                           const struct dataset_options *options, const struct cache *cache,
                           uint64_t key)
{
    const char *const temporary = options->temporary_folder ? options->temporary_folder : "/tmp";
    const struct scan_options scan = {
        .name = options->name,
        .min_bytes = options->min_bytes,
        .show_progress = options->show_progress,
        .folder = cache ? cache->folder : temporary,
        .text_name = cache ? cache->text_name : NULL,
    };
    struct sample_index index = {0};
    struct spool addresses = {.fd = -1}, unpacked = {.fd = -1};
    struct error *e;
    if ((e = spool_create(&addresses, scan.folder, cache ? cache->index_name : NULL)) ||
        (e = scan_inputs(&index, inputs, options, &scan, &addresses, &unpacked)) ||
        (e = sample_index_finish(&index, key, &addresses)))
        goto done;
    if (cache) {
        unlink(cache->index_path);
        unlink(cache->text_path);
    }
    if ((e = spool_publish(&unpacked)) || (e = spool_publish(&addresses)))
        goto done;
    *out = (struct prepared_text){
        .index = index,
        .index_fd = spool_take(&addresses),
        .unpacked_fd = spool_take(&unpacked),
    };
    index = (struct sample_index){0};

done:
    sample_index_release(&index);
    spool_release(&addresses);
    spool_release(&unpacked);
    return e;
}

struct error *prepare_text(struct prepared_text *out, const struct inputs *inputs,
                           const struct dataset_options *options)
{
    const uint64_t key = sample_index_key(inputs, options->field, options->min_bytes);
    if (!options->cache_folder)
        return build(out, inputs, options, NULL, key);

    if (!options->cache_read_only && mkdir(options->cache_folder, 0777) && errno != EEXIST)
        return error_errno(ERROR_IO, "cannot create the folder %s for the %s data",
                           options->cache_folder, options->name);
    struct cache cache = {0};
    TRY(cache_name(&cache, options));
    bool usable = false;
    struct error *e = open_cached(out, &cache, key, &usable);
    if (!e && !usable)
        e = build(out, inputs, options, options->cache_read_only ? NULL : &cache, key);
    cache_release(&cache);
    return e;
}

void prepared_text_release(struct prepared_text *text)
{
    if (text->index_fd >= 0)
        close(text->index_fd);
    if (text->unpacked_fd >= 0)
        close(text->unpacked_fd);
    sample_index_release(&text->index);
    *text = (struct prepared_text){.index_fd = -1, .unpacked_fd = -1};
}
