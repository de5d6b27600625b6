/* reader.c - the bytes of one file or pipe, unpacked if it is gzip or zstd. */
#include "data/reader.h"

#include "data/inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>
#include <zstd.h>

enum {
    PACKED_BYTES = 1 << 18,     /* read from the file at once */
    CALL_BYTES = 1 << 30,       /* the most one call to zlib or read() is asked for */
    GZIP_WINDOW = 15 + 16,      /* zlib's largest window, gzip header expected */
    ZSTD_WINDOW = 31,           /* zstd's largest window, log2: what `zstd --long=31` writes */
    HEAD_BYTES = 16,            /* that say what a file is */
};

struct reader {
    char *path;
    int fd;
    struct file_facts facts;
    int64_t consumed;
    int64_t left;               /* of a plain file, to be read; INT64_MAX: all there is */
    int wake_fd;                /* of a pipe: ends its waiting; -1: a file */
    atomic_llong *heard;        /* of a pipe: bytes that came; or NULL */
    char peeked[READER_PEEK_BYTES];    /* unpacked, and to be read again */
    size_t peeked_used, peeked_bytes;

    /* For packed files, and the first bytes of a pipe. */
    struct error *(*unpack)(struct reader *, char *, size_t, size_t *);
    char *packed;
    size_t packed_used, packed_bytes;
    bool at_end;       /* nothing follows what is in `packed` */
    bool in_stream;    /* within a gzip member or zstd frame */
    bool gzip_ready;
    z_stream gzip;
    ZSTD_DStream *zstd;
};

/* Until the pipe has bytes or has ended. A fifo that no writer has opened yet has neither. */
static struct error *wait_for_pipe(const struct reader *r)
{
    struct pollfd fds[] = {{.fd = r->fd, .events = POLLIN}, {.fd = r->wake_fd, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR)
            return error_errno(ERROR_IO, "cannot wait for %s", r->path);
    return fds[1].revents ? error_new(ERROR_INTERRUPTED, "reading %s was ended", r->path) : NULL;
}

/* Up to `capacity` bytes; 0 at the end. */
static struct error *read_some(struct reader *r, char *buffer, size_t capacity, size_t *got)
{
    ssize_t n;
    do {
        if (r->wake_fd >= 0)
            TRY(wait_for_pipe(r));
        n = read(r->fd, buffer, capacity < CALL_BYTES ? capacity : CALL_BYTES);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0)
        return error_errno(ERROR_IO, "cannot read %s at byte %lld", r->path,
                           (long long)r->consumed);
    r->consumed += n;
    if (r->heard)
        atomic_fetch_add(r->heard, n);
    *got = (size_t)n;
    return NULL;
}

static struct error *read_plain(struct reader *r, char *buffer, size_t capacity, size_t *got)
{
    size_t done = 0, n = 1;
    if ((int64_t)capacity > r->left)
        capacity = (size_t)r->left;
    if (r->packed_used < r->packed_bytes) {    /* read to recognise a pipe's packing */
        const size_t held = r->packed_bytes - r->packed_used;
        done = held < capacity ? held : capacity;
        memcpy(buffer, r->packed + r->packed_used, done);
        r->packed_used += done;
    }
    while (done < capacity && n) {
        TRY(read_some(r, buffer + done, capacity - done, &n));
        done += n;
    }
    if (r->left != INT64_MAX)
        r->left -= (int64_t)done;
    *got = done;
    return NULL;
}

static struct error *refill(struct reader *r)
{
    if (r->packed_used < r->packed_bytes || r->at_end)
        return NULL;
    r->packed_used = r->packed_bytes = 0;
    TRY(read_some(r, r->packed, PACKED_BYTES, &r->packed_bytes));
    r->at_end = r->packed_bytes == 0;
    return NULL;
}

/* How to mend what is not whole. */
static const char *fetch_again(const struct reader *r)
{
    return r->wake_fd < 0 ? "copy or download it again"
                          : "send all of it again from its beginning, and look at what "
                            "ended the writer";
}

static struct error *truncated(const struct reader *r, const char *packing)
{
    return error_new(ERROR_INPUT, "%s is truncated: its %s data stops in the middle, at "
                     "byte %lld; %s",
                     r->path, packing, (long long)r->consumed, fetch_again(r));
}

static struct error *damaged(const struct reader *r, const char *packing, const char *found)
{
    const int64_t at = r->consumed - (int64_t)(r->packed_bytes - r->packed_used);
    return error_new(ERROR_INPUT, "%s is damaged: its %s data is wrong near byte %lld (%s); %s",
                     r->path, packing, (long long)at, found, fetch_again(r));
}

static struct error *unpack_gzip(struct reader *r, char *buffer, size_t capacity, size_t *got)
{
    z_stream *const z = &r->gzip;
    size_t done = 0;
    while (done < capacity) {
        TRY(refill(r));
        const size_t left = r->packed_bytes - r->packed_used;
        if (!left) {
            if (r->in_stream)
                return truncated(r, "gzip");
            break;
        }
        if (!r->in_stream) {
            if (r->packed[r->packed_used] == 0) {    /* tapes and some tools pad with zeros */
                r->packed_used++;
                continue;
            }
            inflateReset(z);
            r->in_stream = true;
        }

        const size_t room = capacity - done < CALL_BYTES ? capacity - done : CALL_BYTES;
        z->next_in = (Bytef *)(r->packed + r->packed_used);
        z->avail_in = (uInt)left;
        z->next_out = (Bytef *)(buffer + done);
        z->avail_out = (uInt)room;
        const int rc = inflate(z, Z_NO_FLUSH);
        r->packed_used = r->packed_bytes - z->avail_in;
        done += room - z->avail_out;
        if (rc == Z_MEM_ERROR)
            return error_new(ERROR_MEMORY, "no memory to unpack %s", r->path);
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
            return damaged(r, "gzip", z->msg ? z->msg : "needs a dictionary");
        r->in_stream = rc != Z_STREAM_END;
    }
    *got = done;
    return NULL;
}

static struct error *unpack_zstd(struct reader *r, char *buffer, size_t capacity, size_t *got)
{
    ZSTD_outBuffer out = {.dst = buffer, .size = capacity};
    while (out.pos < capacity) {
        TRY(refill(r));
        ZSTD_inBuffer in = {.src = r->packed, .size = r->packed_bytes, .pos = r->packed_used};
        if (in.pos == in.size && !r->in_stream)
            break;
        const bool starved = in.pos == in.size;    /* what comes out now was held back before */
        const size_t before = out.pos;
        const size_t rc = ZSTD_decompressStream(r->zstd, &out, &in);
        r->packed_used = in.pos;
        if (ZSTD_isError(rc))
            return damaged(r, "zstd", ZSTD_getErrorName(rc));
        r->in_stream = rc != 0;
        if (starved && r->in_stream && out.pos == before)
            return truncated(r, "zstd");
    }
    *got = out.pos;
    return NULL;
}

/* What a file begins with, for those that are not text. */
static const struct signature {
    const char *bytes;
    size_t length;
    const char *name;    /* NULL: gzip or zstd, which are read */
    enum packing packing;
    const char *remedy;
} signatures[] = {
    {"\x1f\x8b", 2, NULL, PACKING_GZIP, NULL},
    {"\x28\xb5\x2f\xfd", 4, NULL, PACKING_ZSTD, NULL},
    {"\xfd" "7zXZ", 6, "xz data", PACKING_NONE, "xz -dc unpacks it"},
    {"BZh91AY&SY", 10, "bzip2 data", PACKING_NONE, "bzip2 -dc unpacks it"},
    {"PK\3\4", 4, "a zip archive", PACKING_NONE, "unzip -p unpacks it"},
    {"\x89HDF\r\n\x1a\n", 8, "an HDF5 file", PACKING_NONE,
     "galley inspect says whether it is one of ours"},
    {"galley shard ", 13, "a token shard", PACKING_NONE,
     "it can be trained on as a file, with data.kind tokens or auto and with no text beside it"},
    {"galley checkpoint ", 18, "a checkpoint", PACKING_NONE, "run.start_from takes it"},
    {"PAR1", 4, "a Parquet file", PACKING_NONE, "convert it to JSON lines"},
    {"\xff\xfe", 2, "UTF-16 text", PACKING_NONE, "iconv -f UTF-16 -t UTF-8 converts it"},
    {"\xfe\xff", 2, "UTF-16 text", PACKING_NONE, "iconv -f UTF-16 -t UTF-8 converts it"},
};

/* The first bytes; those of a pipe stay in `packed`. */
static struct error *read_head(struct reader *r, char head[HEAD_BYTES], size_t *bytes)
{
    if (r->wake_fd < 0) {
        const ssize_t n = pread(r->fd, head, HEAD_BYTES, 0);
        *bytes = n < 0 ? 0 : (size_t)n;
        return n < 0 ? error_errno(ERROR_IO, "cannot read %s", r->path) : NULL;
    }
    r->packed = malloc(PACKED_BYTES);
    if (!r->packed)
        return error_new(ERROR_MEMORY, "no memory to read %s", r->path);
    for (size_t got = 1; got && r->packed_bytes < HEAD_BYTES; r->packed_bytes += got)
        TRY(read_some(r, r->packed + r->packed_bytes, PACKED_BYTES - r->packed_bytes, &got));
    *bytes = r->packed_bytes < HEAD_BYTES ? r->packed_bytes : HEAD_BYTES;
    memcpy(head, r->packed, *bytes);
    return NULL;
}

static struct error *recognise(struct reader *r)
{
    char head[HEAD_BYTES];
    size_t n = 0;
    TRY(read_head(r, head, &n));
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const struct signature *const s = &signatures[i];
        if (n < s->length || memcmp(head, s->bytes, s->length) != 0)
            continue;
        if (s->name)
            return error_new(ERROR_INPUT, "%s is %s, expected UTF-8 text, plain, gzip or zstd; %s",
                             r->path, s->name, s->remedy);
        r->facts.packing = s->packing;
        return NULL;
    }
    /* Skippable frames (50..5f 2a 4d 18) may come before zstd's first real one. */
    if (n >= 4 && (head[0] & 0xf0) == 0x50 && !memcmp(head + 1, "\x2a\x4d\x18", 3))
        r->facts.packing = PACKING_ZSTD;
    return NULL;
}

static struct error *prepare_unpacking(struct reader *r)
{
    if (r->facts.packing == PACKING_NONE) {
        r->unpack = read_plain;
        return NULL;
    }
    if (!r->packed)
        r->packed = malloc(PACKED_BYTES);
    if (!r->packed)
        goto no_memory;
    if (r->facts.packing == PACKING_GZIP) {
        if (inflateInit2(&r->gzip, GZIP_WINDOW) != Z_OK)
            goto no_memory;
        r->gzip_ready = true;
        r->unpack = unpack_gzip;
    } else {
        r->zstd = ZSTD_createDStream();
        if (!r->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax,
                                                            ZSTD_WINDOW)))
            goto no_memory;
        r->unpack = unpack_zstd;
    }
    return NULL;

no_memory:
    return error_new(ERROR_MEMORY, "no memory to unpack %s", r->path);
}

/* Without O_NONBLOCK opening a fifo waits for a writer, perhaps for ever. */
static struct error *open_descriptor(struct reader *r, const char *path)
{
    const bool standard_input = r->wake_fd >= 0 && path[0] == '-';
    r->fd = standard_input ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                           : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat facts;
    if (r->fd < 0 || fstat(r->fd, &facts))
        return error_errno(ERROR_IO, "cannot open %s", r->path);
    if (r->wake_fd >= 0)
        return NULL;
    if (!S_ISREG(facts.st_mode))
        return error_new(ERROR_INPUT, "%s is not a regular file, expected a text file", path);
    r->facts.bytes = facts.st_size;
    r->facts.modified_ns = file_modified_ns(&facts);
    (void)posix_fadvise(r->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return NULL;
}

static struct error *name_reader(struct reader *r, const char *path)
{
    const bool standard_input = r->wake_fd >= 0 && path[0] == '-';
    const char *const prefix = standard_input ? "standard input" : "";
    if (asprintf(&r->path, "%s%s", prefix, path + standard_input) >= 0)
        return NULL;
    r->path = NULL;
    return error_new(ERROR_MEMORY, "no memory to read %s", path);
}

static struct error *open_any(struct reader **out, const char *path, int wake_fd,
                              atomic_llong *heard)
{
    struct error *e;
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return error_new(ERROR_MEMORY, "no memory to read %s", path);
    r->fd = -1;
    r->wake_fd = wake_fd;
    r->heard = heard;
    r->left = INT64_MAX;
    if ((e = name_reader(r, path)) || (e = open_descriptor(r, path)) || (e = recognise(r)) ||
        (e = prepare_unpacking(r))) {
        reader_close(r);
        return e;
    }
    *out = r;
    return NULL;
}

struct error *reader_open(struct reader **out, const char *path)
{
    return open_any(out, path, -1, NULL);
}

struct error *reader_open_pipe(struct reader **out, const char *path, int wake_fd,
                               atomic_llong *heard)
{
    return open_any(out, path, wake_fd, heard);
}

struct error *reader_open_range(struct reader **out, const char *path, int64_t from, int64_t to)
{
    struct reader *r;
    TRY(reader_open(&r, path));
    struct error *e = NULL;
    if (r->facts.packing != PACKING_NONE)
        e = error_new(ERROR_INPUT, "%s is packed now, and was not before", path);
    else if (lseek(r->fd, from, SEEK_SET) < 0)
        e = error_errno(ERROR_IO, "cannot read %s at byte %lld", path, (long long)from);
    if (e) {
        reader_close(r);
        return e;
    }
    r->left = to - from;
    *out = r;
    return NULL;
}

void reader_close(struct reader *reader)
{
    if (!reader)
        return;
    if (reader->gzip_ready)
        inflateEnd(&reader->gzip);
    ZSTD_freeDStream(reader->zstd);
    free(reader->packed);
    if (reader->fd >= 0)
        close(reader->fd);
    free(reader->path);
    free(reader);
}

struct error *reader_read(struct reader *reader, char *buffer, size_t capacity, size_t *got)
{
    const size_t held = reader->peeked_bytes - reader->peeked_used;
    const size_t first = held < capacity ? held : capacity;
    if (first)
        memcpy(buffer, reader->peeked + reader->peeked_used, first);
    reader->peeked_used += first;
    TRY(reader->unpack(reader, buffer + first, capacity - first, got));
    *got += first;
    return NULL;
}

struct error *reader_peek(struct reader *reader, char *buffer, size_t bytes, size_t *got)
{
    if (bytes > READER_PEEK_BYTES || reader->peeked_bytes)
        BUG("peeking at %zu bytes", bytes);
    TRY(reader->unpack(reader, reader->peeked, bytes, &reader->peeked_bytes));
    memcpy(buffer, reader->peeked, reader->peeked_bytes);
    *got = reader->peeked_bytes;
    return NULL;
}

const char *reader_name(const struct reader *reader)
{
    return reader->path;
}

const struct file_facts *reader_facts(const struct reader *reader)
{
    return &reader->facts;
}

int64_t reader_consumed(const struct reader *reader)
{
    return reader->consumed;
}
