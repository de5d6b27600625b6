/* shard_file.c - reads token shards. */
#include "formats/shard_file.h"

#include "formats/h5.h"
#include "formats/manifest.h"
#include "formats/shard_format.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

/* How to mend a shard that is not what was written. */
#define MEND_SHARD "restore it from a copy, or remove it and start galley tokenize again"

struct chunk {
    uint64_t offset, xxh3;
    atomic_bool good;    /* it was read whole and is what was written */
};

struct shard {
    char *path;
    int fd;
    struct stat opened;
    struct shard_facts facts;
    uint64_t fingerprint;
    struct chunk *tokens, *documents;
    int64_t token_chunks, document_chunks;
};

int shard_is_one(const char *head, size_t bytes)
{
    static const char first[] = "galley shard ";
    return bytes >= sizeof first - 1 && !memcmp(head, first, sizeof first - 1);
}

/* ---- opening ---- */

static struct error *read_name(struct h5_file *file, const char *name, char *out)
{
    char *text;
    TRY(h5_get_text(file, "/", name, &text));
    snprintf(out, SHARD_NAME_BYTES, "%s", text);
    free(text);
    return NULL;
}

static struct error *read_facts(struct shard *s, struct h5_file *file)
{
    int64_t format;
    TRY(h5_get_int(file, "/", "format", &format));
    if (format != SHARD_FORMAT)
        return error_new(ERROR_INPUT, "%s is of format %lld, expected %d: another version of "
                         "Galley wrote it; use that one, or tokenize the text anew",
                         s->path, (long long)format, SHARD_FORMAT);
    for (int i = 0; i < shard_number_count; i++) {
        int64_t *const value = (void *)((char *)&s->facts + shard_numbers[i].offset);
        TRY(h5_get_int(file, "/", shard_numbers[i].name, value));
    }
    TRY(read_name(file, "part", s->facts.part));
    return read_name(file, "tokenizer_kind", s->facts.tokenizer_kind);
}

/* The chunks of an array, in order, from the manifest's extents. */
static struct error *take_chunks(struct shard *s, const struct manifest *m, const char *array,
                                 struct chunk **chunks, int64_t *count)
{
    const size_t length = strlen(array);
    *chunks = calloc((size_t)m->count + 1, sizeof **chunks);
    if (!*chunks)
        return error_new(ERROR_MEMORY, "no memory for the %d chunks of %s", m->count, s->path);
    for (int i = 0; i < m->count; i++) {
        const struct extent *const x = &m->extents[i];
        if (strncmp(x->name, array, length) != 0 || x->name[length] != ':')
            continue;
        const long long index = strtoll(x->name + length + 1, NULL, 10);
        if (index < 0 || index >= m->count || (*chunks)[index].offset ||
            x->bytes != SHARD_CHUNK_BYTES)
            return error_new(ERROR_INPUT, "%s is no shard as we write them: chunk %s; " MEND_SHARD,
                             s->path, x->name);
        (*chunks)[index].offset = x->offset;
        (*chunks)[index].xxh3 = x->xxh3;
        (*count)++;
    }
    for (int64_t i = 0; i < *count; i++)
        if (!(*chunks)[i].offset)
            return error_new(ERROR_INPUT, "%s has no chunk %lld of %s; " MEND_SHARD, s->path,
                             (long long)i, array);
    return NULL;
}

static struct error *check_counts(struct shard *s)
{
    const struct shard_facts *const f = &s->facts;
    s->facts.width = shard_width(f->vocabulary_size);
    const int64_t per_chunk = shard_chunk_tokens(f);
    if (f->tokens < 1 || (f->tokens - 1) / per_chunk + 1 != s->token_chunks || f->documents < 0 ||
        (f->documents + SHARD_CHUNK_DOCUMENTS - 1) / SHARD_CHUNK_DOCUMENTS != s->document_chunks ||
        f->largest_token < 0 || f->largest_token >= f->vocabulary_size)
        return error_new(ERROR_INPUT, "%s contradicts itself: %lld tokens in %lld chunks, %lld "
                         "documents in %lld, largest token %lld of a "
                         "vocabulary of %lld; " MEND_SHARD,
                         s->path,
                         (long long)f->tokens, (long long)s->token_chunks, (long long)f->documents,
                         (long long)s->document_chunks, (long long)f->largest_token,
                         (long long)f->vocabulary_size);
    return NULL;
}

/* Its hashes hash to the whole's. */
static void take_fingerprint(struct shard *s, const struct manifest *m)
{
    uint64_t hash = (uint64_t)s->facts.tokens;
    for (int i = 0; i < m->count; i++)
        hash = XXH3_64bits_withSeed(&m->extents[i].xxh3, sizeof m->extents[i].xxh3, hash);
    s->fingerprint = hash;
}

static struct error *open_content(struct shard *s)
{
    struct manifest manifest = {0};
    struct h5_file *file = NULL;
    struct error *e, *closing;
    if ((e = manifest_read(s->path, "shard", &manifest)))
        return e;
    if ((e = h5_open(&file, s->path)))
        goto done;
    e = read_facts(s, file);
    closing = h5_close(file);
    if (e)
        error_destroy(closing);
    else
        e = closing;
    if (e ||
        (e = take_chunks(s, &manifest, SHARD_TOKENS, &s->tokens, &s->token_chunks)) ||
        (e = take_chunks(s, &manifest, SHARD_DOCUMENTS, &s->documents, &s->document_chunks)))
        goto done;
    e = check_counts(s);
    take_fingerprint(s, &manifest);
done:
    manifest_release(&manifest);
    return e;
}

struct error *shard_open(struct shard **out, const char *path)
{
    struct error *e;
    struct shard *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory to open %s", path);
    s->fd = -1;
    s->path = strdup(path);
    if (!s->path) {
        e = error_new(ERROR_MEMORY, "no memory to open %s", path);
        goto fail;
    }
    s->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0 || fstat(s->fd, &s->opened)) {
        e = error_errno(ERROR_IO, "cannot open %s", path);
        goto fail;
    }
    if ((e = open_content(s)))
        goto fail;
    /* Chunks are read whole, in any order; what the system would read ahead is for other ranks. */
    (void)posix_fadvise(s->fd, 0, 0, POSIX_FADV_RANDOM);
    *out = s;
    return NULL;

fail:
    shard_close(s);
    return e;
}

void shard_close(struct shard *shard)
{
    if (!shard)
        return;
    if (shard->fd >= 0)
        close(shard->fd);
    free(shard->tokens);
    free(shard->documents);
    free(shard->path);
    free(shard);
}

const struct shard_facts *shard_facts(const struct shard *shard)
{
    return &shard->facts;
}

uint64_t shard_fingerprint(const struct shard *shard)
{
    return shard->fingerprint;
}

/* ---- reading ---- */

static struct error *check_unchanged(const struct shard *s)
{
    struct stat now;
    if (fstat(s->fd, &now))
        return error_errno(ERROR_IO, "cannot read %s", s->path);
    if (now.st_size != s->opened.st_size)
        return error_new(ERROR_INPUT, "%s changed while it was used, from %lld to %lld bytes; "
                         "restore it, and start the same command again", s->path,
                         (long long)s->opened.st_size, (long long)now.st_size);
    if (now.st_mtim.tv_sec != s->opened.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != s->opened.st_mtim.tv_nsec)
        return error_new(ERROR_INPUT, "%s was written to while it was used; restore it, and start "
                         "the same command again", s->path);
    return NULL;
}

static struct error *read_bytes(const struct shard *s, void *out, size_t bytes, uint64_t offset)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = pread(s->fd, (char *)out + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(ERROR_IO, "cannot read %s at byte %" PRIu64, s->path, offset + done);
        if (n == 0) {
            TRY(check_unchanged(s));
            return error_new(ERROR_INPUT, "%s ends at byte %" PRIu64 ", expected %zu more; "
                             MEND_SHARD, s->path, offset + done, bytes - done);
        }
        done += (size_t)n;
    }
    return NULL;
}

/* Bytes of a chunk; the first time it is touched all of it is read and checked. */
static struct error *read_from_chunk(const struct shard *s, struct chunk *chunk, const char *array,
                                     int64_t index, size_t from, size_t bytes, void *out,
                                     void *scratch)
{
    if (atomic_load_explicit(&chunk->good, memory_order_relaxed))
        return read_bytes(s, out, bytes, chunk->offset + from);
    TRY(read_bytes(s, scratch, SHARD_CHUNK_BYTES, chunk->offset));
    const uint64_t found = XXH3_64bits(scratch, SHARD_CHUNK_BYTES);
    if (found != chunk->xxh3)
        return error_new(ERROR_INPUT, "%s is damaged: chunk %lld of %s (%d bytes at %" PRIu64
                         ") hashes to %016" PRIx64 ", expected %016" PRIx64 "; " MEND_SHARD,
                         s->path, (long long)index, array, SHARD_CHUNK_BYTES, chunk->offset, found,
                         chunk->xxh3);
    atomic_store_explicit(&chunk->good, true, memory_order_relaxed);
    memcpy(out, (const char *)scratch + from, bytes);
    return NULL;
}

static struct error *read_array(const struct shard *s, struct chunk *chunks, const char *array,
                                size_t width, int64_t first, int64_t count, void *out,
                                void *scratch)
{
    const int64_t per_chunk = (int64_t)(SHARD_CHUNK_BYTES / width);
    char *to = out;
    TRY(check_unchanged(s));
    while (count) {
        const int64_t index = first / per_chunk, in_chunk = first % per_chunk;
        const int64_t n = count < per_chunk - in_chunk ? count : per_chunk - in_chunk;
        TRY(read_from_chunk(s, &chunks[index], array, index, (size_t)in_chunk * width,
                            (size_t)n * width, to, scratch));
        to += (size_t)n * width;
        first += n;
        count -= n;
    }
    return NULL;
}

struct error *shard_read(struct shard *shard, int64_t first, int64_t count, void *out,
                         void *scratch)
{
    if (first < 0 || count < 0 || first > shard->facts.tokens - count)
        BUG("tokens %lld to %lld of %lld", (long long)first, (long long)(first + count),
            (long long)shard->facts.tokens);
    return read_array(shard, shard->tokens, SHARD_TOKENS, (size_t)shard->facts.width, first, count,
                      out, scratch);
}

struct error *shard_read_documents(struct shard *shard, int64_t first, int64_t count,
                                   int64_t *places, void *scratch)
{
    if (first < 0 || count < 0 || first > shard->facts.documents - count)
        BUG("documents %lld to %lld of %lld", (long long)first, (long long)(first + count),
            (long long)shard->facts.documents);
    return read_array(shard, shard->documents, SHARD_DOCUMENTS, sizeof *places, first, count,
                      places, scratch);
}

struct error *shard_verify(const char *path)
{
    struct manifest manifest;
    TRY(manifest_read(path, "shard", &manifest));
    struct error *e = manifest_verify(path, &manifest);
    manifest_release(&manifest);
    return e;
}
