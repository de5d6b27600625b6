/* manifest.c - writes and checks the manifest in front of an HDF5 file. */
#include "formats/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { CHUNK = 1 << 20, LINE_BYTES = 256, OTHER_LINES = 5 };

static const size_t most_room = (size_t)(MANIFEST_MOST_EXTENTS + OTHER_LINES) * LINE_BYTES;

/* How to mend a file that is not what was written. */
#define MEND "restore it from a copy, or make it again"

/* The first line, "galley checkpoint 1"; its length. */
static size_t first_line(char line[64], const char *kind)
{
    return (size_t)snprintf(line, 64, "galley %s 1\n", kind);
}

size_t manifest_room(int extents)
{
    const size_t need = ((size_t)extents + OTHER_LINES) * LINE_BYTES;
    size_t room = 512;
    while (room < need)
        room *= 2;
    return room;
}

static int by_offset(const void *x, const void *y)
{
    const struct extent *a = x, *b = y;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* Adds [from, to) of the file to the hash. */
static struct error *hash_range(int fd, const char *path, uint64_t from, uint64_t to,
                                XXH3_state_t *state, char *buffer)
{
    while (from < to) {
        const size_t want = to - from < CHUNK ? (size_t)(to - from) : CHUNK;
        const ssize_t n = pread(fd, buffer, want, (off_t)from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(ERROR_IO, "cannot read %s", path);
        if (n == 0)
            return error_new(ERROR_INPUT, "%s ends at byte %" PRIu64 ", expected %" PRIu64
                             " more", path, from, to - from);
        XXH3_64bits_update(state, buffer, (size_t)n);
        from += (uint64_t)n;
    }
    return NULL;
}

/* The hash of all bytes from `start` to `end` that no extent holds. */
static struct error *hash_rest(int fd, const char *path, const struct manifest *m, uint64_t start,
                               uint64_t end, uint64_t *hash)
{
    char *buffer = malloc(CHUNK);
    XXH3_state_t *state = XXH3_createState();
    struct error *e = NULL;
    if (!buffer || !state) {
        e = error_new(ERROR_MEMORY, "no memory to check %s", path);
        goto done;
    }
    XXH3_64bits_reset(state);
    for (int i = 0; i < m->count && !e; i++) {
        e = hash_range(fd, path, start, m->extents[i].offset, state, buffer);
        start = m->extents[i].offset + m->extents[i].bytes;
    }
    if (!e)
        e = hash_range(fd, path, start, end, state, buffer);
    *hash = XXH3_64bits_digest(state);
done:
    free(buffer);
    XXH3_freeState(state);
    return e;
}

static struct error *file_bytes(int fd, const char *path, uint64_t *bytes)
{
    struct stat status;
    if (fstat(fd, &status))
        return error_errno(ERROR_IO, "cannot read %s", path);
    *bytes = (uint64_t)status.st_size;
    return NULL;
}

/* The text, in `room` bytes of memory for the caller to free. */
static struct error *print(const struct manifest *m, const char *kind, uint64_t bytes,
                           uint64_t rest, size_t room, char **out)
{
    char first[64];
    char *text = calloc(room, 1);
    if (!text)
        return error_new(ERROR_MEMORY, "no memory for a manifest of %d arrays", m->count);
    first_line(first, kind);
    size_t used = (size_t)snprintf(text, room, "%sroom %zu\nbytes %" PRIu64 "\n", first, room,
                                   bytes);
    for (int i = 0; i < m->count; i++) {
        const struct extent *x = &m->extents[i];
        used += (size_t)snprintf(text + used, room - used,
                                 "array %s %" PRIu64 " %" PRIu64 " %016" PRIx64 "\n", x->name,
                                 x->offset, x->bytes, x->xxh3);
    }
    used += (size_t)snprintf(text + used, room - used, "rest %016" PRIx64 "\n", rest);
    const uint64_t end = XXH3_64bits(text, used);
    snprintf(text + used, room - used, "end %016" PRIx64 "\n", end);
    *out = text;
    return NULL;
}

static struct error *write_fully(int fd, const char *path, const char *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = pwrite(fd, data + done, bytes - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_errno(ERROR_IO, "cannot write %s", path);
        done += (size_t)n;
    }
    return NULL;
}

struct error *manifest_write(const char *path, const char *kind, struct manifest *manifest,
                             size_t room)
{
    char *text = NULL;
    uint64_t bytes = 0, rest = 0;
    qsort(manifest->extents, (size_t)manifest->count, sizeof *manifest->extents, by_offset);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return error_errno(ERROR_IO, "cannot open %s", path);
    struct error *e = file_bytes(fd, path, &bytes);
    if (!e)
        e = hash_rest(fd, path, manifest, room, bytes, &rest);
    if (!e)
        e = print(manifest, kind, bytes, rest, room, &text);
    if (!e)
        e = write_fully(fd, path, text, room);
    if (close(fd) && !e)
        e = error_errno(ERROR_IO, "cannot write %s", path);
    free(text);
    return e;
}

static struct error *damaged(const char *path, const char *what)
{
    return error_new(ERROR_INPUT, "%s is damaged: %s; " MEND, path, what);
}

/* One line of the manifest into the next extent; its hash was checked, so it is well-formed. */
static bool parse_extent(const char *line, struct extent *x)
{
    return sscanf(line, "array %127s %" SCNu64 " %" SCNu64 " %" SCNx64, x->name, &x->offset,
                  &x->bytes, &x->xxh3) == 4;
}

static struct error *parse(const char *path, char *text, size_t room, uint64_t actual_bytes,
                           struct manifest *m, uint64_t *rest)
{
    uint64_t end_hash, bytes;
    char *end = strstr(text, "\nend ");
    if (!end || sscanf(end + 5, "%" SCNx64, &end_hash) != 1)
        return damaged(path, "the end of its manifest is missing");
    if (XXH3_64bits(text, (size_t)(end + 1 - text)) != end_hash)
        return damaged(path, "its manifest does not hash to what it says");

    /* The last line stands as it was printed, and behind it the room is empty. */
    char last[32];
    const size_t last_bytes = (size_t)snprintf(last, sizeof last, "end %016" PRIx64 "\n", end_hash);
    if ((size_t)(text + room - end - 1) < last_bytes || memcmp(end + 1, last, last_bytes))
        return damaged(path, "the end of its manifest is not as it was written");
    for (const char *c = end + 1 + last_bytes; c < text + room; c++)
        if (*c)
            return damaged(path, "there is something behind its manifest");

    const char *line = strchr(text, '\n') + 1;    /* behind the first one */
    int lines = 0;
    for (const char *c = line; c < end; c++)
        lines += *c == '\n';
    m->extents = calloc((size_t)lines + 1, sizeof *m->extents);
    if (!m->extents)
        return error_new(ERROR_MEMORY, "no memory for the manifest of %s", path);
    uint64_t previous = room;
    for (; line <= end; line = strchr(line, '\n') + 1) {
        struct extent *x = &m->extents[m->count];
        if (sscanf(line, "bytes %" SCNu64, &bytes) == 1) {
            if (bytes != actual_bytes)
                return error_new(ERROR_INPUT, "%s is damaged: it has %" PRIu64 " bytes, expected %"
                                 PRIu64 "; " MEND, path, actual_bytes, bytes);
        } else if (parse_extent(line, x)) {
            if (x->offset < previous || x->bytes > actual_bytes ||
                x->offset > actual_bytes - x->bytes)
                return damaged(path, "its manifest names places outside the file");
            previous = x->offset + x->bytes;
            m->count++;
        } else if (sscanf(line, "rest %" SCNx64, rest) != 1 && strncmp(line, "room ", 5)) {
            return damaged(path, "its manifest has a line of no known kind");
        }
    }
    return NULL;
}

/* The first `room` bytes, null-terminated, for the caller to free. */
static struct error *read_text(int fd, const char *path, const char *kind, char **text,
                               size_t *room)
{
    char head[128] = {0}, first[64];
    const size_t first_bytes = first_line(first, kind);
    size_t bytes;
    if (pread(fd, head, sizeof head - 1, 0) < 0)
        return error_errno(ERROR_IO, "cannot read %s", path);
    if (strncmp(head, first, first_bytes))
        return error_new(ERROR_INPUT, "%s is not a Galley %s, or its beginning is damaged", path,
                         kind);
    if (sscanf(head + first_bytes, "room %zu", &bytes) != 1 || bytes < 512 ||
        bytes > most_room)
        return damaged(path, "its manifest does not say how long it is");
    char *buffer = calloc(bytes + 1, 1);
    if (!buffer)
        return error_new(ERROR_MEMORY, "no memory for the manifest of %s", path);
    if (pread(fd, buffer, bytes, 0) != (ssize_t)bytes) {
        free(buffer);
        return damaged(path, "it is shorter than its manifest");
    }
    *text = buffer;
    *room = bytes;
    return NULL;
}

struct error *manifest_read(const char *path, const char *kind, struct manifest *out)
{
    struct manifest m = {0};
    char *text = NULL;
    size_t room = 0;
    uint64_t bytes = 0, expected = 0, found = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(ERROR_IO, "cannot open %s", path);
    struct error *e = read_text(fd, path, kind, &text, &room);
    if (!e)
        e = file_bytes(fd, path, &bytes);
    if (!e)
        e = parse(path, text, room, bytes, &m, &expected);
    if (!e)
        e = hash_rest(fd, path, &m, room, bytes, &found);
    if (!e && found != expected)
        e = error_new(ERROR_INPUT, "%s is damaged: what is between its arrays hashes to %016" PRIx64
                      ", expected %016" PRIx64 "; " MEND, path, found, expected);
    close(fd);
    free(text);
    if (e) {
        manifest_release(&m);
        return e;
    }
    *out = m;
    return NULL;
}

struct error *manifest_verify(const char *path, const struct manifest *manifest)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(ERROR_IO, "cannot open %s", path);
    char *buffer = malloc(CHUNK);
    XXH3_state_t *state = XXH3_createState();
    struct error *e = NULL;
    if (!buffer || !state)
        e = error_new(ERROR_MEMORY, "no memory to check %s", path);
    for (int i = 0; i < manifest->count && !e; i++) {
        const struct extent *x = &manifest->extents[i];
        XXH3_64bits_reset(state);
        e = hash_range(fd, path, x->offset, x->offset + x->bytes, state, buffer);
        const uint64_t found = XXH3_64bits_digest(state);
        if (!e && found != x->xxh3)
            e = error_new(ERROR_INPUT, "%s is damaged: %s (%" PRIu64 " bytes at %" PRIu64
                          ") hashes to %016" PRIx64 ", expected %016" PRIx64 "; " MEND, path,
                          x->name, x->bytes, x->offset, found, x->xxh3);
    }
    free(buffer);
    XXH3_freeState(state);
    close(fd);
    return e;
}

const struct extent *manifest_find(const struct manifest *manifest, const char *name)
{
    for (int i = 0; i < manifest->count; i++)
        if (!strcmp(manifest->extents[i].name, name))
            return &manifest->extents[i];
    return NULL;
}

void manifest_release(struct manifest *manifest)
{
    free(manifest->extents);
    *manifest = (struct manifest){0};
}
