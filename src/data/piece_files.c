/*
 * piece_files.c - the tokens of one piece of the input, kept in files.
 *
 * Nothing is flushed to disk here: a kill loses nothing that was written, and after a failure of
 * power piece_find sees by the hashes what did not survive, which is then made again.
 */
#include "data/piece_files.h"

#include "data/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

static const char *const part_names[PARTS] = {"training", "validation"};

struct part_writer {
    struct spool tokens, starts;
    XXH3_state_t *tokens_hash, *starts_hash;
    int64_t *placed;            /* starts counted from the beginning of the piece */
    int64_t placed_capacity;
    struct part_summary summary;
};

struct piece_writer {
    char *folder;
    int number, width;
    struct part_writer parts[PARTS];
};

/* The end of a .done file. */
struct done {
    struct piece_summary summary;
    int64_t width;
    uint64_t check;    /* hash of all above */
};

static void file_name(char out[64], int number, enum part part, const char *what)
{
    snprintf(out, 64, "piece-%06d.%s.%s", number, part_names[part], what);
}

static void done_name(char out[64], int number)
{
    snprintf(out, 64, "piece-%06d.done", number);
}

/* ---- writing ---- */

static struct error *open_part(struct piece_writer *w, enum part part)
{
    struct part_writer *const p = &w->parts[part];
    char name[64];
    p->summary.largest = -1;
    p->tokens_hash = XXH3_createState();
    p->starts_hash = XXH3_createState();
    if (!p->tokens_hash || !p->starts_hash)
        return error_new(ERROR_MEMORY, "no memory to write tokens to %s", w->folder);
    XXH3_64bits_reset(p->tokens_hash);
    XXH3_64bits_reset(p->starts_hash);
    file_name(name, w->number, part, "tokens");
    TRY(spool_create(&p->tokens, w->folder, name));
    file_name(name, w->number, part, "starts");
    return spool_create(&p->starts, w->folder, name);
}

struct error *piece_writer_open(struct piece_writer **out, const char *folder, int number,
                                int width)
{
    struct piece_writer *w = calloc(1, sizeof *w);
    if (!w)
        return error_new(ERROR_MEMORY, "no memory to write tokens to %s", folder);
    w->number = number;
    w->width = width;
    w->folder = strdup(folder);
    struct error *e = w->folder ? NULL : error_new(ERROR_MEMORY, "no memory to write to %s",
                                                   folder);
    for (int part = 0; part < PARTS; part++)
        w->parts[part].tokens.fd = w->parts[part].starts.fd = -1;
    for (int part = 0; part < PARTS && !e; part++)
        e = open_part(w, (enum part)part);
    if (e) {
        piece_writer_discard(w);
        return e;
    }
    *out = w;
    return NULL;
}

int64_t largest_token(const void *tokens, int width, int64_t count)
{
    uint32_t most = 0;
    if (width == 2)
        for (int64_t i = 0; i < count; i++)
            most = ((const uint16_t *)tokens)[i] > most ? ((const uint16_t *)tokens)[i] : most;
    else
        for (int64_t i = 0; i < count; i++)
            most = ((const uint32_t *)tokens)[i] > most ? ((const uint32_t *)tokens)[i] : most;
    return count ? (int64_t)most : -1;
}

struct error *piece_writer_add(struct piece_writer *writer, enum part part, const void *tokens,
                               int64_t token_count, const int64_t *starts, int64_t document_count)
{
    struct part_writer *const p = &writer->parts[part];
    if (document_count > p->placed_capacity) {
        int64_t *const grown = realloc(p->placed, (size_t)document_count * sizeof *grown);
        if (!grown)
            return error_new(ERROR_MEMORY, "no memory for %lld documents",
                             (long long)document_count);
        p->placed = grown;
        p->placed_capacity = document_count;
    }
    for (int64_t i = 0; i < document_count; i++)
        p->placed[i] = p->summary.tokens + starts[i];
    const size_t token_bytes = (size_t)token_count * (size_t)writer->width;
    const size_t start_bytes = (size_t)document_count * sizeof *p->placed;
    XXH3_64bits_update(p->tokens_hash, tokens, token_bytes);
    XXH3_64bits_update(p->starts_hash, p->placed, start_bytes);
    const int64_t largest = largest_token(tokens, writer->width, token_count);
    p->summary.largest = largest > p->summary.largest ? largest : p->summary.largest;
    p->summary.tokens += token_count;
    p->summary.documents += document_count;
    TRY(spool_write(&p->tokens, tokens, token_bytes));
    return spool_write(&p->starts, p->placed, start_bytes);
}

static struct error *write_done(const struct piece_writer *w, const struct piece_summary *summary)
{
    char name[64];
    struct done done = {.summary = *summary, .width = w->width};
    struct spool spool = {.fd = -1};
    done.check = XXH3_64bits(&done, offsetof(struct done, check));
    done_name(name, w->number);
    struct error *e = spool_create(&spool, w->folder, name);
    if (!e)
        e = spool_write(&spool, &done, sizeof done);
    if (!e)
        e = spool_name(&spool);
    spool_release(&spool);
    return e;
}

struct error *piece_writer_finish(struct piece_writer *writer, int64_t text_bytes,
                                  struct piece_summary *summary)
{
    struct error *e = NULL;
    struct piece_summary result = {.text_bytes = text_bytes};
    for (int part = 0; part < PARTS && !e; part++) {
        struct part_writer *const p = &writer->parts[part];
        p->summary.tokens_xxh3 = XXH3_64bits_digest(p->tokens_hash);
        p->summary.starts_xxh3 = XXH3_64bits_digest(p->starts_hash);
        result.parts[part] = p->summary;
        if (!(e = spool_name(&p->tokens)))
            e = spool_name(&p->starts);
    }
    if (!e)
        e = write_done(writer, &result);
    piece_writer_discard(writer);
    TRY(e);
    *summary = result;
    return NULL;
}

void piece_writer_discard(struct piece_writer *writer)
{
    if (!writer)
        return;
    for (int part = 0; part < PARTS; part++) {
        struct part_writer *const p = &writer->parts[part];
        spool_release(&p->tokens);
        spool_release(&p->starts);
        XXH3_freeState(p->tokens_hash);
        XXH3_freeState(p->starts_hash);
        free(p->placed);
    }
    free(writer->folder);
    free(writer);
}

/* ---- reading ---- */

static struct error *read_exactly(int fd, const char *name, void *out, size_t bytes, int64_t offset)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = pread(fd, (char *)out + done, bytes - done, offset + (int64_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(ERROR_IO, "cannot read %s", name);
        if (n == 0)
            return error_new(ERROR_IO, "%s ends at byte %lld, expected %zu more", name,
                             (long long)offset + (long long)done, bytes - done);
        done += (size_t)n;
    }
    return NULL;
}

static int open_in(const char *folder, const char *name, char **path)
{
    if (asprintf(path, "%s/%s", folder, name) < 0) {
        *path = NULL;
        return -1;
    }
    return open(*path, O_RDONLY | O_CLOEXEC);
}

/* Whether the file has so many bytes, of this hash. */
static bool holds(const char *folder, const char *name, int64_t bytes, uint64_t xxh3)
{
    enum { AT_ONCE = 1 << 20 };
    char *path;
    const int fd = open_in(folder, name, &path);
    char *const buffer = malloc(AT_ONCE);
    XXH3_state_t *const hash = XXH3_createState();
    bool good = fd >= 0 && buffer && hash && lseek(fd, 0, SEEK_END) == bytes;
    if (good)
        XXH3_64bits_reset(hash);
    for (int64_t at = 0; good && at < bytes;) {
        const size_t want = bytes - at < AT_ONCE ? (size_t)(bytes - at) : AT_ONCE;
        good = pread(fd, buffer, want, at) == (ssize_t)want;
        if (good)
            XXH3_64bits_update(hash, buffer, want);
        at += (int64_t)want;
    }
    good = good && XXH3_64bits_digest(hash) == xxh3;
    if (fd >= 0)
        close(fd);
    XXH3_freeState(hash);
    free(buffer);
    free(path);
    return good;
}

struct error *piece_find(const char *folder, int number, int width, bool *found,
                         struct piece_summary *summary)
{
    char name[64], *path;
    struct done done;
    done_name(name, number);
    const int fd = open_in(folder, name, &path);
    *found = fd >= 0 && read(fd, &done, sizeof done) == sizeof done &&
             done.check == XXH3_64bits(&done, offsetof(struct done, check)) && done.width == width;
    if (fd >= 0)
        close(fd);
    if (!path)
        return error_new(ERROR_MEMORY, "no memory to look into %s", folder);
    free(path);
    for (int part = 0; part < PARTS && *found; part++) {
        const struct part_summary *const p = &done.summary.parts[part];
        file_name(name, number, (enum part)part, "tokens");
        *found = holds(folder, name, p->tokens * width, p->tokens_xxh3);
        file_name(name, number, (enum part)part, "starts");
        *found = *found && holds(folder, name, p->documents * 8, p->starts_xxh3);
    }
    if (*found)
        *summary = done.summary;
    return NULL;
}

struct error *piece_reader_open(struct piece_reader *out, const char *folder, int number,
                                enum part part)
{
    char name[64], *starts_path;
    struct piece_reader r;
    file_name(name, number, part, "tokens");
    r.tokens_fd = open_in(folder, name, &r.name);
    file_name(name, number, part, "starts");
    r.starts_fd = open_in(folder, name, &starts_path);
    struct error *e = NULL;
    if (r.tokens_fd < 0 || r.starts_fd < 0)
        e = error_errno(ERROR_IO, "cannot open %s/%s", folder, name);
    free(starts_path);
    if (e) {
        piece_reader_close(&r);
        return e;
    }
    *out = r;
    return NULL;
}

void piece_reader_close(struct piece_reader *reader)
{
    if (reader->tokens_fd >= 0)
        close(reader->tokens_fd);
    if (reader->starts_fd >= 0)
        close(reader->starts_fd);
    free(reader->name);
    *reader = (struct piece_reader){.tokens_fd = -1, .starts_fd = -1};
}

struct error *piece_read_tokens(const struct piece_reader *reader, int width, int64_t first,
                                int64_t count, void *tokens)
{
    return read_exactly(reader->tokens_fd, reader->name, tokens, (size_t)count * (size_t)width,
                        first * width);
}

struct error *piece_read_starts(const struct piece_reader *reader, int64_t first, int64_t count,
                                int64_t *starts)
{
    return read_exactly(reader->starts_fd, reader->name, starts, (size_t)count * sizeof *starts,
                        first * (int64_t)sizeof *starts);
}
