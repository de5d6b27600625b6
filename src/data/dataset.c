/*
 * dataset.c - text files as one numbered sequence of samples.
 *
 * Text and index are read with pread, not through mmap. A mapping turns a truncated file or a
 * failed disk into SIGBUS, which no check beforehand can rule out, and its pages count as resident
 * memory of every rank; pread turns them into an error. It costs three system calls, 1.8 us a
 * sample, where tokenizing 128 tokens takes 7 (tests/bench/bench_data.c, 2026-11, one core of an
 * AMD EPYC).
 */
#include "data/dataset.h"

#include "data/inputs.h"
#include "data/prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PIECE_BYTES = 1 << 16,      /* of one read; a longer line takes several */
    SPARE_DESCRIPTORS = 256,    /* for everything but the input files */
};

struct dataset {
    char *name;
    struct inputs inputs;
    struct prepared_text text;
    int *fds;    /* one a file; -1: packed, read it from text.unpacked_fd */
};

/* ---- Opening ---- */

static struct error *no_memory(const struct dataset_options *options)
{
    return error_new(ERROR_MEMORY, "no memory to open the %s data", options->name);
}

/* One descriptor a plain file may be more than the soft limit, often 1024, allows. */
static void allow_descriptors(int64_t files)
{
    const rlim_t need = (rlim_t)files + SPARE_DESCRIPTORS;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= need)
        return;
    limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);    /* if refused, open will say so */
}

/* Whether the open file is still the one that was scanned. */
static struct error *check_unchanged(const struct dataset *d, int64_t file)
{
    const struct indexed_file *const then = &d->text.index.files[file];
    const char *const path = d->inputs.files[file].path;
    struct stat now;
    if (fstat(d->fds[file], &now))
        return error_errno(ERROR_IO, "cannot read %s", path);
    if (now.st_size != then->disk_bytes)
        return error_new(ERROR_INPUT, "%s changed since it was scanned, from %lld to %lld bytes; "
                         "%s data must stay as it is while it is used", path,
                         (long long)then->disk_bytes, (long long)now.st_size, d->name);
    if (file_modified_ns(&now) != then->modified_ns)
        return error_new(ERROR_INPUT, "%s was written to since it was scanned; %s data must stay "
                         "as it is while it is used", path, d->name);
    return NULL;
}

static struct error *open_files(struct dataset *d, const struct dataset_options *options)
{
    d->fds = malloc((size_t)d->text.index.file_count * sizeof *d->fds);
    if (!d->fds)
        return no_memory(options);
    int64_t plain = 0;
    for (int64_t i = 0; i < d->text.index.file_count; i++) {
        d->fds[i] = -1;
        plain += d->text.index.files[i].unpacked_at < 0;
    }
    allow_descriptors(plain);
    for (int64_t i = 0; i < d->text.index.file_count; i++) {
        if (d->text.index.files[i].unpacked_at >= 0)
            continue;
        d->fds[i] = open(d->inputs.files[i].path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (d->fds[i] < 0)
            return error_errno(ERROR_IO, "cannot open %s (file %lld of %lld of the %s data)",
                               d->inputs.files[i].path, (long long)i + 1,
                               (long long)d->text.index.file_count, options->name);
        TRY(check_unchanged(d, i));
    }
    return NULL;
}

struct error *dataset_open(struct dataset **out, const struct dataset_options *options)
{
    struct error *e;
    struct dataset *d = calloc(1, sizeof *d);
    if (!d)
        return no_memory(options);
    d->text.index_fd = d->text.unpacked_fd = -1;
    d->name = strdup(options->name);
    if (!d->name) {
        e = no_memory(options);
        goto fail;
    }
    if ((e = inputs_expand(&d->inputs, options->inputs, options->input_count, options->name)) ||
        (e = prepare_text(&d->text, &d->inputs, options)) || (e = open_files(d, options)))
        goto fail;
    *out = d;
    return NULL;

fail:
    dataset_close(d);
    return e;
}

void dataset_close(struct dataset *dataset)
{
    if (!dataset)
        return;
    for (int64_t i = 0; dataset->fds && i < dataset->text.index.file_count; i++)
        if (dataset->fds[i] >= 0)
            close(dataset->fds[i]);
    free(dataset->fds);
    prepared_text_release(&dataset->text);
    inputs_release(&dataset->inputs);
    free(dataset->name);
    free(dataset);
}

/* ---- Facts ---- */

const char *dataset_name(const struct dataset *dataset)
{
    return dataset->name;
}

int64_t dataset_samples(const struct dataset *dataset)
{
    return dataset->text.index.samples;
}

int64_t dataset_bytes(const struct dataset *dataset)
{
    return dataset->text.index.sample_bytes;
}

uint64_t dataset_fingerprint(const struct dataset *dataset)
{
    return dataset->text.index.fingerprint;
}

size_t dataset_scratch_bytes(const struct dataset *dataset)
{
    return (size_t)dataset->text.index.longest_line + 2;    /* and a byte before and after it */
}

/* ---- Samples ---- */

static struct error *damaged_index(const struct dataset *d)
{
    return error_new(ERROR_INPUT, "the index of the %s data is damaged; remove %s.index from the "
                     "run's cache folder, it is then made anew", d->name, d->name);
}

/* Some bytes, up to a piece; 0 at the end of the file. */
static struct error *read_piece(int fd, char *to, size_t bytes, int64_t offset, const char *path,
                                size_t *got)
{
    ssize_t n;
    do
        n = pread(fd, to, bytes < PIECE_BYTES ? bytes : PIECE_BYTES, offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_errno(ERROR_IO, "cannot read %s at byte %lld", path, (long long)offset);
    *got = (size_t)n;
    return NULL;
}

static int64_t file_of(const struct dataset *d, int64_t address)
{
    int64_t low = 0, high = d->text.index.file_count;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (d->text.index.files[middle].start <= address)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Where a sample begins, its file, and how many bytes from there on may belong to its line: those
 * up to the next sample or the end of the file. */
static struct error *locate(const struct dataset *d, int64_t index, int64_t *file, int64_t *offset,
                            int64_t *room)
{
    if (index < 0 || index >= d->text.index.samples)
        BUG("sample %lld of %lld", (long long)index, (long long)d->text.index.samples);
    int64_t address[2];    /* of this sample and of the next, or of the end of all text */
    const ssize_t n = pread(d->text.index_fd, address, sizeof address,
                            index * (int64_t)sizeof *address);
    if (n < 0)
        return error_errno(ERROR_IO, "cannot read the index of the %s data", d->name);
    if (n != sizeof address || address[0] < 0 || address[1] <= address[0])
        return damaged_index(d);
    const int64_t i = file_of(d, address[0]);
    const struct indexed_file *const f = &d->text.index.files[i];
    const int64_t end = f->start + f->bytes < address[1] ? f->start + f->bytes : address[1];
    if (end <= address[0])
        return damaged_index(d);
    *file = i;
    *offset = address[0] - f->start;
    *room = end - address[0];
    return NULL;
}

static size_t remove_cr(char *text, size_t bytes)
{
    size_t kept = 0;
    for (size_t i = 0; i < bytes; i++)
        if (text[i] != '\r')
            text[kept++] = text[i];
    return kept;
}

struct error *dataset_sample(const struct dataset *dataset, int64_t index, char *scratch,
                             const char **text, size_t *bytes)
{
    const struct dataset *const d = dataset;
    int64_t file, offset, room;
    TRY(locate(d, index, &file, &offset, &room));
    const struct indexed_file *const f = &d->text.index.files[file];
    const bool packed = f->unpacked_at >= 0;
    if (!packed)
        TRY(check_unchanged(d, file));

    /* The byte before the line is read too: it must end another, or this is not the start of a line
     * any more. */
    const char separator = (char)f->separator;
    const size_t before = offset > 0;
    const int fd = packed ? d->text.unpacked_fd : d->fds[file];
    const int64_t from = (packed ? f->unpacked_at : 0) + offset - (int64_t)before;
    const bool to_end = offset + room == f->bytes;
    const size_t line_room = room <= d->text.index.longest_line ? (size_t)room
                                                           : (size_t)d->text.index.longest_line + 1;
    const size_t want = before + line_room;
    size_t have = 0, got = 1;
    char *feed = NULL;
    while (!feed && have < want && got) {
        TRY(read_piece(fd, scratch + have, want - have, from + (int64_t)have,
                       d->inputs.files[file].path, &got));
        const size_t skip = have == 0 && got ? before : 0;
        feed = memchr(scratch + have + skip, separator, got - skip);
        have += got;
    }
    const bool complete = feed || (have == want && to_end && line_room == (size_t)room);
    if (!complete || (before && scratch[0] != separator)) {
        if (!packed)
            TRY(check_unchanged(d, file));    /* it may have changed while it was read */
        return error_new(ERROR_INPUT, "%s%s is not as it was when it was scanned: no whole line at "
                         "byte %lld", packed ? "the unpacked text of " : "",
                         d->inputs.files[file].path, (long long)offset);
    }

    char *const line = scratch + before;
    const size_t raw = feed ? (size_t)(feed - line) : have - before;
    *bytes = separator == '\n' && memchr(line, '\r', raw) ? remove_cr(line, raw) : raw;
    *text = line;
    return NULL;
}

struct error *dataset_sample_is_json(const struct dataset *dataset, int64_t index, bool *json)
{
    int64_t file = 0, offset, room;
    TRY(locate(dataset, index, &file, &offset, &room));
    *json = dataset->text.index.files[file].separator == '\0';
    return NULL;
}

/* Separators in so many bytes of a file; -1 if it cannot be read. */
static int64_t separators_before(int fd, int64_t from, int64_t bytes, char separator,
                                 const char *path)
{
    char piece[PIECE_BYTES];
    int64_t count = 0;
    for (int64_t done = 0; done < bytes;) {
        const int64_t left = bytes - done;
        size_t got = 0;
        struct error *e = read_piece(fd, piece, left < PIECE_BYTES ? (size_t)left : PIECE_BYTES,
                                     from + done, path, &got);
        error_destroy(e);
        if (e || !got)
            return -1;
        for (size_t i = 0; i < got; i++)
            count += piece[i] == separator;
        done += (int64_t)got;
    }
    return count;
}

void dataset_where(const struct dataset *dataset, int64_t index, const char **path, int64_t *line)
{
    const struct dataset *const d = dataset;
    int64_t file, offset, room;
    struct error *e = locate(d, index, &file, &offset, &room);
    error_destroy(e);
    *path = d->inputs.files[e ? 0 : file].path;
    *line = 0;
    if (e)
        return;
    const int64_t unpacked_at = d->text.index.files[file].unpacked_at;
    const bool packed = unpacked_at >= 0;
    *line = 1 + separators_before(packed ? d->text.unpacked_fd : d->fds[file],
                                  packed ? unpacked_at : 0, offset,
                                  (char)d->text.index.files[file].separator, *path);
}
