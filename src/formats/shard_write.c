/*
 * shard_write.c - writes a token shard, whole or not at all.
 *
 * The file is written under another name (output.h) chunk by chunk and closed; then the manifest
 * goes into its first bytes, and is checked against what the file holds.
 */
#include "formats/h5_chunks.h"
#include "formats/manifest.h"
#include "formats/output.h"
#include "formats/shard_format.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

const struct shard_number shard_numbers[] = {
    {"tokens", offsetof(struct shard_facts, tokens)},
    {"documents", offsetof(struct shard_facts, documents)},
    {"first_token", offsetof(struct shard_facts, first_token)},
    {"shard", offsetof(struct shard_facts, shard)},
    {"shards", offsetof(struct shard_facts, shards)},
    {"largest_token", offsetof(struct shard_facts, largest_token)},
    {"vocabulary_size", offsetof(struct shard_facts, vocabulary_size)},
    {"end_token", offsetof(struct shard_facts, end_token)},
    {"start_token", offsetof(struct shard_facts, start_token)},
    {"tokenizer", offsetof(struct shard_facts, tokenizer)},
    {"made_from", offsetof(struct shard_facts, made_from)},
};
const int shard_number_count = sizeof shard_numbers / sizeof shard_numbers[0];

_Static_assert(SHARD_MOST_TOKENS / (SHARD_CHUNK_BYTES / 4) + SHARD_MOST_TOKENS / SHARD_CHUNK_DOCUMENTS <=
                   MANIFEST_MOST_EXTENTS, "a manifest has no room for the largest shard");

/* One of the two arrays, while it is written. */
struct array {
    const char *path;
    enum h5_integer type;
    int64_t count;             /* in all */
    int64_t written;           /* handed over so far */
    int64_t chunk;             /* elements of one */
    size_t width;
    struct h5_chunks *chunks;
    char *buffer;              /* the chunk being filled */
};

struct shard_writer {
    struct output output;
    struct shard_facts facts;
    struct h5_file *file;
    struct array tokens, documents;
    struct manifest manifest;
    size_t room;
};

static int64_t chunks_of(const struct array *a)
{
    return (a->count + a->chunk - 1) / a->chunk;
}

static void close_array(struct array *a)
{
    h5_chunks_close(a->chunks);
    free(a->buffer);
    a->chunks = NULL;
    a->buffer = NULL;
}

static struct error *open_array(struct shard_writer *w, struct array *a)
{
    if (!a->count)
        return NULL;
    a->buffer = malloc(SHARD_CHUNK_BYTES);
    if (!a->buffer)
        return error_new(ERROR_MEMORY, "no memory to write %s", w->output.path);
    return h5_chunks_create(&a->chunks, w->file, a->path, a->type, a->count, a->chunk);
}

static struct error *flush_chunk(struct shard_writer *w, struct array *a)
{
    const int64_t index = (a->written - 1) / a->chunk;
    const size_t used = (size_t)(a->written - index * a->chunk) * a->width;
    struct extent *const x = &w->manifest.extents[w->manifest.count];
    memset(a->buffer + used, 0, SHARD_CHUNK_BYTES - used);
    TRY(h5_chunks_write(a->chunks, index, a->buffer, &x->offset));
    snprintf(x->name, sizeof x->name, SHARD_EXTENT, a->path, (long long)index);
    x->bytes = SHARD_CHUNK_BYTES;
    x->xxh3 = XXH3_64bits(a->buffer, SHARD_CHUNK_BYTES);
    w->manifest.count++;
    return NULL;
}

static struct error *append(struct shard_writer *w, struct array *a, const void *data,
                            int64_t count)
{
    const char *from = data;
    if (count < 0 || count > a->count - a->written)
        BUG("%lld elements of %s for the %lld that are left", (long long)count, a->path,
            (long long)(a->count - a->written));
    while (count) {
        const int64_t in_chunk = a->written % a->chunk;
        const int64_t n = count < a->chunk - in_chunk ? count : a->chunk - in_chunk;
        memcpy(a->buffer + (size_t)in_chunk * a->width, from, (size_t)n * a->width);
        a->written += n;
        from += (size_t)n * a->width;
        count -= n;
        if (a->written % a->chunk == 0 || a->written == a->count)
            TRY(flush_chunk(w, a));
    }
    return NULL;
}

struct error *shard_write_tokens(struct shard_writer *writer, const void *tokens, int64_t count)
{
    return append(writer, &writer->tokens, tokens, count);
}

struct error *shard_write_documents(struct shard_writer *writer, const int64_t *places,
                                    int64_t count)
{
    return append(writer, &writer->documents, places, count);
}

/* ---- beginning and end ---- */

static struct error *begin(struct shard_writer *w)
{
    const struct shard_facts *const f = &w->facts;
    w->tokens = (struct array){
        .path = SHARD_TOKENS, .type = f->width == 2 ? H5_UINT16 : H5_UINT32, .count = f->tokens,
        .chunk = shard_chunk_tokens(f), .width = (size_t)f->width,
    };
    w->documents = (struct array){
        .path = SHARD_DOCUMENTS, .type = H5_INT64, .count = f->documents,
        .chunk = SHARD_CHUNK_DOCUMENTS, .width = sizeof(int64_t),
    };
    const int extents = (int)(chunks_of(&w->tokens) + chunks_of(&w->documents));
    w->manifest.extents = calloc((size_t)extents, sizeof *w->manifest.extents);
    if (!w->manifest.extents)
        return error_new(ERROR_MEMORY, "no memory for the %d chunks of %s", extents,
                         w->output.path);
    w->room = manifest_room(extents);
    TRY(h5_create(&w->file, w->output.partial, w->room));
    TRY(open_array(w, &w->tokens));
    return open_array(w, &w->documents);
}

struct error *shard_create(struct shard_writer **out, const char *path,
                           const struct shard_facts *facts)
{
    if (facts->tokens < 1 || facts->tokens > SHARD_MOST_TOKENS || facts->documents < 0 ||
        facts->documents > facts->tokens || (facts->width != 2 && facts->width != 4))
        BUG("a shard of %lld tokens of %d bytes, %lld documents", (long long)facts->tokens,
            facts->width, (long long)facts->documents);
    struct shard_writer *w = calloc(1, sizeof *w);
    if (!w)
        return error_new(ERROR_MEMORY, "no memory to write %s", path);
    w->facts = *facts;
    struct error *e = output_begin(&w->output, path, false, true);
    if (!e)
        e = begin(w);
    if (e) {
        shard_discard(w);
        return e;
    }
    *out = w;
    return NULL;
}

static struct error *write_attributes(const struct shard_writer *w)
{
    TRY(h5_set_text(w->file, "/", "description", "A token shard of Galley, a GPT trainer: a "
                    "stretch of one long text. In Python: h5py.File(path)['tokens'][:1000]; "
                    "documents begin at the places in 'documents'."));
    TRY(h5_set_int(w->file, "/", "format", SHARD_FORMAT));
    TRY(h5_set_text(w->file, "/", "part", w->facts.part));
    TRY(h5_set_text(w->file, "/", "tokenizer_kind", w->facts.tokenizer_kind));
    for (int i = 0; i < shard_number_count; i++) {
        const int64_t *const value =
            (const void *)((const char *)&w->facts + shard_numbers[i].offset);
        TRY(h5_set_int(w->file, "/", shard_numbers[i].name, *value));
    }
    return NULL;
}

/*
 * HDF5 before 1.14.4 gives the place of a chunk without the bytes before its own beginning, later
 * ones with them. What stands there decides.
 */
static struct error *place_extents(struct shard_writer *w)
{
    char *const buffer = malloc(SHARD_CHUNK_BYTES);
    const int fd = open(w->output.partial, O_RDONLY | O_CLOEXEC);
    struct error *e = NULL;
    if (!buffer)
        e = error_new(ERROR_MEMORY, "no memory to write %s", w->output.path);
    else if (fd < 0)
        e = error_errno(ERROR_IO, "cannot open %s", w->output.partial);
    const struct extent *const first = &w->manifest.extents[0];
    const bool as_given =
        !e && pread(fd, buffer, SHARD_CHUNK_BYTES, (off_t)first->offset) == SHARD_CHUNK_BYTES &&
        XXH3_64bits(buffer, SHARD_CHUNK_BYTES) == first->xxh3;
    for (int i = 0; i < w->manifest.count && !as_given; i++)
        w->manifest.extents[i].offset += w->room;
    if (fd >= 0)
        close(fd);
    free(buffer);
    return e;
}

static struct error *close_file(struct shard_writer *w)
{
    close_array(&w->tokens);
    close_array(&w->documents);
    struct h5_file *const file = w->file;
    w->file = NULL;
    return h5_close(file);
}

struct error *shard_finish(struct shard_writer *writer, int64_t largest_token)
{
    struct shard_writer *const w = writer;
    if (w->tokens.written != w->tokens.count || w->documents.written != w->documents.count)
        BUG("%s was given %lld of %lld tokens, %lld of %lld documents", w->output.path,
            (long long)w->tokens.written, (long long)w->tokens.count,
            (long long)w->documents.written, (long long)w->documents.count);
    w->facts.largest_token = largest_token;
    struct error *e;
    if (!(e = write_attributes(w)) && !(e = close_file(w)) && !(e = place_extents(w)) &&
        !(e = manifest_write(w->output.partial, "shard", &w->manifest, w->room)) &&
        !(e = shard_verify(w->output.partial)))
        e = output_end(&w->output, NULL);
    shard_discard(w);
    return e;
}

void shard_discard(struct shard_writer *writer)
{
    if (!writer)
        return;
    error_destroy(writer->file ? close_file(writer) : NULL);
    output_discard(&writer->output);
    manifest_release(&writer->manifest);
    free(writer);
}
