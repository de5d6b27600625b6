/* sample_index.c - the file that tells where every sample of a dataset begins. */
#include "data/sample_index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

enum { PIECE_BYTES = 1 << 16 };    /* hashed at once */

/* The end of the file. Numbers are in the machine's own byte order: the file is a cache. */
struct trailer {
    int64_t samples, sample_bytes, longest_line, unpacked_bytes, file_count;
    uint64_t fingerprint;
    uint64_t key;
    uint64_t check;    /* hash of the fields above and of all that comes before them */
    char magic[8];
};

static const char magic[8] = "GLYIDX\n2";

uint64_t sample_index_key(const struct inputs *inputs, const char *field, int64_t min_bytes)
{
    uint64_t key = XXH3_64bits(&min_bytes, sizeof min_bytes);
    if (field)
        key = XXH3_64bits_withSeed(field, strlen(field), key);
    for (int i = 0; i < inputs->count; i++) {
        const struct input *const file = &inputs->files[i];
        const int64_t facts[2] = {file->bytes, file->modified_ns};
        key = XXH3_64bits_withSeed(file->path, strlen(file->path), key);
        key = XXH3_64bits_withSeed(facts, sizeof facts, key);
    }
    return key;
}

/* Hash of the first `bytes` of the file and of what comes before it in the trailer; false if they
 * cannot be read. */
static bool check_of(uint64_t *check, int fd, int64_t bytes, const struct trailer *trailer)
{
    char piece[PIECE_BYTES];
    uint64_t hash = XXH3_64bits(trailer, offsetof(struct trailer, check));
    for (int64_t at = 0; at < bytes;) {
        const size_t want = bytes - at < PIECE_BYTES ? (size_t)(bytes - at) : PIECE_BYTES;
        if (pread(fd, piece, want, at) != (ssize_t)want)
            return false;
        hash = XXH3_64bits_withSeed(piece, want, hash);
        at += (int64_t)want;
    }
    *check = hash;
    return true;
}

struct error *sample_index_finish(const struct sample_index *index, uint64_t key,
                                  struct spool *spool)
{
    const struct indexed_file *const last = &index->files[index->file_count - 1];
    const int64_t end = last->start + last->bytes;
    struct trailer trailer = {
        .samples = index->samples,
        .sample_bytes = index->sample_bytes,
        .longest_line = index->longest_line,
        .unpacked_bytes = index->unpacked_bytes,
        .file_count = index->file_count,
        .fingerprint = index->fingerprint,
        .key = key,
    };
    memcpy(trailer.magic, magic, sizeof magic);
    TRY(spool_write(spool, &end, sizeof end));
    TRY(spool_write(spool, index->files, (size_t)index->file_count * sizeof *index->files));
    if (!check_of(&trailer.check, spool->fd, spool->bytes, &trailer))
        return error_errno(ERROR_IO, "cannot read back %s", spool->path);
    return spool_write(spool, &trailer, sizeof trailer);
}

static bool read_exactly(int fd, void *buffer, size_t bytes, int64_t offset)
{
    return pread(fd, buffer, bytes, offset) == (ssize_t)bytes;
}

/* Reads trailer and table; false if they are not those of a whole index with this key. */
static bool read_tables(struct sample_index *index, int fd, uint64_t key)
{
    struct trailer t;
    const int64_t bytes = lseek(fd, 0, SEEK_END);
    if (bytes < (int64_t)sizeof t || !read_exactly(fd, &t, sizeof t, bytes - (int64_t)sizeof t))
        return false;
    if (memcmp(t.magic, magic, sizeof magic) != 0 || t.key != key)
        return false;

    /* Not even a damaged trailer may make us allocate or read beyond the file. */
    const int64_t most_files = bytes / (int64_t)sizeof(struct indexed_file);
    const int64_t most_samples = bytes / (int64_t)sizeof(int64_t);
    if (t.file_count < 1 || t.file_count > most_files || t.samples < 1 || t.samples > most_samples)
        return false;
    const int64_t table_at = (t.samples + 1) * (int64_t)sizeof(int64_t);
    const int64_t table_bytes = t.file_count * (int64_t)sizeof(struct indexed_file);
    if (table_at + table_bytes + (int64_t)sizeof t != bytes)
        return false;

    index->files = malloc((size_t)table_bytes);
    if (!index->files || !read_exactly(fd, index->files, (size_t)table_bytes, table_at))
        return false;
    uint64_t check;
    if (!check_of(&check, fd, table_at + table_bytes, &t) || check != t.check)
        return false;
    index->samples = t.samples;
    index->sample_bytes = t.sample_bytes;
    index->longest_line = t.longest_line;
    index->unpacked_bytes = t.unpacked_bytes;
    index->fingerprint = t.fingerprint;
    index->file_count = t.file_count;
    return true;
}

struct error *sample_index_load(struct sample_index *out, int *fd, bool *usable, const char *path,
                                uint64_t key)
{
    *usable = false;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT)
        return NULL;
    if (file < 0)
        return error_errno(ERROR_IO, "cannot open %s", path);

    struct sample_index index = {0};
    if (!read_tables(&index, file, key)) {
        sample_index_release(&index);
        close(file);
        return NULL;
    }
    *out = index;
    *fd = file;
    *usable = true;
    return NULL;
}

void sample_index_release(struct sample_index *index)
{
    free(index->files);
    *index = (struct sample_index){0};
}
