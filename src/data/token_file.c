/* token_file.c - files of tokens: recognised, opened, read. */
#include "data/token_file.h"

#include "data/token_header.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

enum {
    HEAD_BYTES = 1 << 12,       /* of a file, that are looked at to recognise it */
    SAMPLES = 64,               /* of the content, for the fingerprint */
    SAMPLE_BYTES = 1 << 12,
    PLACE_TOKENS = 1 << 10,     /* checked against the vocabulary at each of as many places */
};

struct token_file {
    char *path;
    const char *format;
    int64_t vocabulary_size;
    int64_t tokens;
    struct shard *shard;        /* ours; the rest is for the others */
    int fd;
    struct stat opened;
    int width;                  /* bytes of a token: 1, 2 or 4 */
    int64_t start;              /* bytes before the first token */
    uint64_t index_hash;        /* of Megatron's .idx */
};

/* ---- reading bytes ---- */

static struct error *check_unchanged(const struct token_file *f)
{
    struct stat now;
    if (fstat(f->fd, &now))
        return error_errno(ERROR_IO, "cannot read %s", f->path);
    if (now.st_size != f->opened.st_size)
        return error_new(ERROR_INPUT, "%s changed while it was used, from %lld to %lld bytes; "
                         "restore it, and start the same command again", f->path,
                         (long long)f->opened.st_size, (long long)now.st_size);
    if (now.st_mtim.tv_sec != f->opened.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != f->opened.st_mtim.tv_nsec)
        return error_new(ERROR_INPUT, "%s was written to while it was used; restore it, and start "
                         "the same command again", f->path);
    return NULL;
}

/* As many as there are, up to `bytes`. */
static struct error *read_up_to(int fd, const char *path, void *out, size_t bytes, int64_t offset,
                                size_t *got)
{
    *got = 0;
    while (*got < bytes) {
        const ssize_t n = pread(fd, (char *)out + *got, bytes - *got, offset + (int64_t)*got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(ERROR_IO, "cannot read %s", path);
        if (n == 0)
            break;
        *got += (size_t)n;
    }
    return NULL;
}

static struct error *read_exactly(const struct token_file *f, void *out, size_t bytes,
                                  int64_t offset)
{
    size_t got;
    TRY(read_up_to(f->fd, f->path, out, bytes, offset, &got));
    if (got == bytes)
        return NULL;
    TRY(check_unchanged(f));
    return error_new(ERROR_INPUT, "%s ends at byte %lld, expected %zu more; copy it again", f->path,
                     (long long)offset + (long long)got, bytes - got);
}

/* ---- recognising ---- */

static bool has_suffix(const char *path, const char *suffix)
{
    const size_t n = strlen(path), s = strlen(suffix);
    return n > s && !strcmp(path + n - s, suffix);
}

static const char megatron_magic[9] = "MMIDIDX\0";

static struct error *read_head(const char *path, char *head, size_t *bytes)
{
    *bytes = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(ERROR_IO, "cannot open %s", path);
    struct error *e = read_up_to(fd, path, head, HEAD_BYTES, 0, bytes);
    close(fd);
    return e;
}

/* The other file of a Megatron pair, for the caller to free; NULL if there is none. One that is
 * damaged is an error: without it the tokens would be read with another width. */
static struct error *megatron_index(const char *path, char **out)
{
    char *index = NULL, head[HEAD_BYTES];
    size_t bytes;
    *out = NULL;
    if (!has_suffix(path, ".bin"))
        return NULL;
    if (asprintf(&index, "%.*s.idx", (int)strlen(path) - 4, path) < 0)
        return error_new(ERROR_MEMORY, "no memory for the name of the index of %s", path);
    if (access(index, F_OK)) {
        free(index);
        return NULL;
    }
    struct error *e = read_head(index, head, &bytes);
    if (!e && (bytes < sizeof megatron_magic || memcmp(head, megatron_magic, sizeof megatron_magic)))
        e = error_new(ERROR_INPUT, "%s does not begin as a Megatron index does, so that %s beside "
                      "it cannot be read; restore it, or remove it if it is something else", index,
                      path);
    if (e) {
        free(index);
        return e;
    }
    *out = index;
    return NULL;
}

/* Neither packed nor text, in which no byte is 0. */
static bool may_be_bare(const char *head, size_t bytes)
{
    const bool packed = bytes >= 4 && (!memcmp(head, "\x1f\x8b", 2) ||
                                       !memcmp(head, "\x28\xb5\x2f\xfd", 4) ||
                                       !memcmp(head, "\x89HDF", 4) || !memcmp(head, "PK\3\4", 4));
    return !packed && memchr(head, '\0', bytes);
}

struct error *token_file_is_one(const char *path, bool *tokens)
{
    char head[HEAD_BYTES];
    size_t bytes;
    TRY(read_head(path, head, &bytes));
    char *index;
    TRY(megatron_index(path, &index));
    *tokens = shard_is_one(head, bytes) || token_header_is_one(head, bytes) || index ||
              (bytes >= sizeof megatron_magic &&
               !memcmp(head, megatron_magic, sizeof megatron_magic)) ||
              (has_suffix(path, ".bin") && may_be_bare(head, bytes));
    free(index);
    return NULL;
}

/* ---- opening ---- */

static struct error *open_with_header(struct token_file *f, const char *head, size_t bytes)
{
    struct token_header header;
    TRY(token_header_parse(&header, head, bytes, f->path));
    f->format = header.format;
    f->width = header.width;
    f->start = TOKEN_HEADER_BYTES;
    f->tokens = header.tokens;
    const int64_t expected = f->start + f->tokens * f->width;
    if (f->opened.st_size != expected)
        return error_new(ERROR_INPUT, "%s says that it holds %lld tokens, which makes %lld bytes; "
                         "it has %lld: copy it again, whole", f->path, (long long)f->tokens,
                         (long long)expected, (long long)f->opened.st_size);
    return NULL;
}

static struct error *open_bare(struct token_file *f, const char *head, size_t bytes)
{
    if (has_suffix(f->path, ".h5"))    /* a shard whose beginning is damaged is not to be read as
                                        * ids */
        return error_new(ERROR_INPUT, "%s is named as a shard of tokens, but does not begin as "
                         "one; restore it from a copy, or remove it and start galley "
                         "tokenize again", f->path);
    if (bytes && !may_be_bare(head, bytes))
        return error_new(ERROR_INPUT, "%s is no file of tokens, but text or packed; make shards of "
                         "it with galley tokenize, or set data.kind to lines", f->path);
    f->format = "bare uint16";
    f->width = 2;
    f->tokens = f->opened.st_size / 2;
    if (f->opened.st_size % 2)
        return error_new(ERROR_INPUT, "%s has an odd number of bytes (%lld), so it is not uint16, "
                         "and it is no other format of tokens either; copy it again, "
                         "or convert it", f->path,
                         (long long)f->opened.st_size);
    return NULL;
}

/* Megatron's index: after the magic number uint64 version 1, the type of a token (uint8), int64
 * numbers of sequences and documents, and per sequence its length (int32) and where it begins
 * (int64). */
struct megatron_header {
    int64_t sequences;
    uint8_t type;
};

static struct error *read_megatron_header(struct token_file *f, int fd, const char *index,
                                          struct megatron_header *out)
{
    enum { HEADER_BYTES = 34 };
    char header[HEADER_BYTES];
    size_t got;
    uint64_t version;
    int64_t documents;
    struct stat status;
    TRY(read_up_to(fd, index, header, HEADER_BYTES, 0, &got));
    if (got < HEADER_BYTES || fstat(fd, &status))
        return error_new(ERROR_INPUT, "%s is truncated: %zu bytes, expected at least %d; "
                         "copy it again",
                         index, got, HEADER_BYTES);
    memcpy(&version, header + 9, sizeof version);
    memcpy(&out->sequences, header + 18, sizeof out->sequences);
    memcpy(&documents, header + 26, sizeof documents);
    out->type = (uint8_t)header[17];
    if (version != 1)
        return error_new(ERROR_INPUT, "%s is of version %llu, expected 1; write it anew with "
                         "Megatron's preprocess_data.py", index,
                         (unsigned long long)version);
    static const struct { const char *name; int width; } types[] = {
        [1] = {"Megatron, uint8", 1}, [4] = {"Megatron, int32", 4}, [8] = {"Megatron, uint16", 2},
    };
    if (out->type >= sizeof types / sizeof types[0] || !types[out->type].width)
        return error_new(ERROR_INPUT, "%s holds tokens of type %d, expected 1 (uint8), 4 (int32) "
                         "or 8 (uint16); write the pair anew with one of these", index, out->type);
    f->format = types[out->type].name;
    f->width = types[out->type].width;
    const int64_t most = status.st_size / 12;
    if (out->sequences < 1 || out->sequences > most || documents < 0 || documents > most ||
        HEADER_BYTES + 12 * out->sequences + 8 * documents > status.st_size)
        return error_new(ERROR_INPUT, "%s says that it lists %lld sequences and %lld documents; "
                         "its %lld bytes are too few; copy it again", index,
                         (long long)out->sequences,
                         (long long)documents, (long long)status.st_size);
    return NULL;
}

/* Sequences must follow each other without a gap, as every writer puts them: then the .bin is one
 * sequence of tokens. */
static struct error *check_megatron_sequences(struct token_file *f, int fd, const char *index,
                                              const struct megatron_header *header)
{
    enum { AT_ONCE = 4096, LENGTHS_AT = 34 };
    int32_t lengths[AT_ONCE];
    int64_t begins[AT_ONCE], expected = 0;
    for (int64_t i = 0; i < header->sequences; i += AT_ONCE) {
        const int64_t left = header->sequences - i;
        const size_t n = left < AT_ONCE ? (size_t)left : AT_ONCE;
        size_t got_lengths, got_begins;
        TRY(read_up_to(fd, index, lengths, n * 4, LENGTHS_AT + 4 * i, &got_lengths));
        TRY(read_up_to(fd, index, begins, n * 8, LENGTHS_AT + 4 * header->sequences + 8 * i,
                       &got_begins));
        if (got_lengths != n * 4 || got_begins != n * 8)
            return error_new(ERROR_INPUT, "%s changed while it was read", index);
        for (size_t k = 0; k < n; k++) {
            if (lengths[k] < 0 || begins[k] != expected)
                return error_new(ERROR_INPUT, "%s: sequence %lld begins at byte %lld with %d "
                                 "tokens, expected byte %lld: the sequences of %s must "
                                 "follow each other",
                                 index, (long long)i + (long long)k, (long long)begins[k],
                                 lengths[k], (long long)expected, f->path);
            expected += (int64_t)lengths[k] * f->width;
        }
        f->index_hash = XXH3_64bits_withSeed(lengths, n * 4, f->index_hash);
    }
    if (expected != f->opened.st_size)
        return error_new(ERROR_INPUT, "%s lists %lld bytes of tokens, %s has %lld; copy both "
                         "again, they are one data set", index,
                         (long long)expected, f->path, (long long)f->opened.st_size);
    f->tokens = expected / f->width;
    return NULL;
}

static struct error *open_megatron(struct token_file *f, const char *index)
{
    struct megatron_header header;
    const int fd = open(index, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(ERROR_IO, "cannot open %s", index);
    struct error *e = read_megatron_header(f, fd, index, &header);
    if (!e)
        e = check_megatron_sequences(f, fd, index, &header);
    close(fd);
    return e;
}

static struct error *open_shard(struct token_file *f)
{
    TRY(shard_open(&f->shard, f->path));
    const struct shard_facts *const facts = shard_facts(f->shard);
    f->format = facts->width == 2 ? "Galley shard, uint16" : "Galley shard, uint32";
    f->width = facts->width;
    f->tokens = facts->tokens;
    if (facts->largest_token >= f->vocabulary_size)
        return error_new(ERROR_INPUT, "%s holds token %lld; the vocabulary has only %lld entries",
                         f->path, (long long)facts->largest_token, (long long)f->vocabulary_size);
    return NULL;
}

static struct error *open_content(struct token_file *f)
{
    char head[HEAD_BYTES];
    size_t bytes;
    TRY(read_head(f->path, head, &bytes));
    if (shard_is_one(head, bytes))
        return open_shard(f);
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0 || fstat(f->fd, &f->opened))
        return error_errno(ERROR_IO, "cannot open %s", f->path);
    char *index;
    TRY(megatron_index(f->path, &index));
    struct error *e = index                              ? open_megatron(f, index)
                      : token_header_is_one(head, bytes) ? open_with_header(f, head, bytes)
                                                         : open_bare(f, head, bytes);
    free(index);
    if (!e && f->tokens < 1)
        e = error_new(ERROR_INPUT, "%s holds no tokens; leave it out", f->path);
    return e;
}

/* Other people's files do not say what their largest token is, and reading all of them would take
 * long: places all over the file tell at once where tokens are of another vocabulary, or no
 * tokens. */
static struct error *check_places(const struct token_file *f)
{
    const int64_t count = f->tokens < PLACE_TOKENS ? f->tokens : PLACE_TOKENS;
    int32_t tokens[PLACE_TOKENS];
    char *scratch = malloc(token_file_scratch_bytes(count));
    if (!scratch)
        return error_new(ERROR_MEMORY, "no memory to read %s", f->path);
    struct error *e = NULL;
    for (int i = 0; !e && i < SAMPLES; i++)
        e = token_file_read(f, (int64_t)((double)(f->tokens - count) * i / (SAMPLES - 1)), count,
                            tokens, scratch);
    free(scratch);
    return e;
}

struct error *token_file_open(struct token_file **out, const char *path, int64_t vocabulary_size)
{
    struct token_file *f = calloc(1, sizeof *f);
    if (!f)
        return error_new(ERROR_MEMORY, "no memory to open %s", path);
    f->fd = -1;
    f->vocabulary_size = vocabulary_size;
    f->path = strdup(path);
    if (f->path && has_suffix(path, ".idx"))    /* the tokens are in the other one */
        memcpy(f->path + strlen(path) - 4, ".bin", 4);
    struct error *e = f->path ? open_content(f)
                              : error_new(ERROR_MEMORY, "no memory to open %s", path);
    if (!e && !f->shard)
        e = check_places(f);
    if (e) {
        token_file_close(f);
        return e;
    }
    *out = f;
    return NULL;
}

void token_file_close(struct token_file *file)
{
    if (!file)
        return;
    shard_close(file->shard);
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    free(file);
}

const char *token_file_path(const struct token_file *file)
{
    return file->path;
}

const char *token_file_format(const struct token_file *file)
{
    return file->format;
}

int64_t token_file_tokens(const struct token_file *file)
{
    return file->tokens;
}

struct shard *token_file_shard(const struct token_file *file)
{
    return file->shard;
}

struct error *token_file_fingerprint(const struct token_file *file, uint64_t *fingerprint)
{
    const struct token_file *const f = file;
    char sample[SAMPLE_BYTES];
    if (f->shard) {
        *fingerprint = shard_fingerprint(f->shard);
        return NULL;
    }
    /* The beginning with the header, the end, and places between. */
    const int64_t size = f->opened.st_size, bytes = size < SAMPLE_BYTES ? size : SAMPLE_BYTES;
    uint64_t hash = XXH3_64bits_withSeed(&size, sizeof size, f->index_hash);
    for (int i = 0; i < SAMPLES; i++) {
        const int64_t at = (int64_t)((double)(size - bytes) * i / (SAMPLES - 1));
        TRY(read_exactly(f, sample, (size_t)bytes, at));
        hash = XXH3_64bits_withSeed(sample, (size_t)bytes, hash);
    }
    *fingerprint = hash;
    return NULL;
}

/* ---- reading tokens ---- */

size_t token_file_scratch_bytes(int64_t count)
{
    return SHARD_CHUNK_BYTES + (size_t)count * sizeof(int32_t);
}

/* Widens, and returns the largest as unsigned, so that a negative one is too large. */
static uint32_t widen(const void *raw, int width, int64_t count, int32_t *tokens)
{
    uint32_t most = 0;
    if (width == 2) {
        const uint16_t *const from = raw;
        for (int64_t i = 0; i < count; i++) {
            most = from[i] > most ? from[i] : most;
            tokens[i] = from[i];
        }
    } else if (width == 4) {
        const uint32_t *const from = raw;
        for (int64_t i = 0; i < count; i++) {
            most = from[i] > most ? from[i] : most;
            tokens[i] = (int32_t)from[i];
        }
    } else {
        const uint8_t *const from = raw;
        for (int64_t i = 0; i < count; i++) {
            most = from[i] > most ? from[i] : most;
            tokens[i] = from[i];
        }
    }
    return most;
}

struct error *token_file_read(const struct token_file *file, int64_t first, int64_t count,
                              int32_t *tokens, void *scratch)
{
    const struct token_file *const f = file;
    char *const raw = (char *)scratch + SHARD_CHUNK_BYTES;
    if (f->shard) {
        TRY(shard_read(f->shard, first, count, raw, scratch));
    } else {
        TRY(check_unchanged(f));
        TRY(read_exactly(f, raw, (size_t)count * (size_t)f->width, f->start + first * f->width));
    }
    const uint32_t most = widen(raw, f->width, count, tokens);
    if ((int64_t)most < f->vocabulary_size)
        return NULL;
    int64_t at = 0;
    while ((uint32_t)tokens[at] != most)
        at++;
    return error_new(ERROR_INPUT, "%s holds token %u at place %lld; the vocabulary has only %lld "
                     "entries, so it was made with another tokenizer", f->path, most,
                     (long long)(first + at), (long long)f->vocabulary_size);
}
