/* inputs.c - paths and globs to a list of existing regular files. */
#include "data/inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

int64_t file_modified_ns(const struct stat *facts)
{
    return (int64_t)facts->st_mtim.tv_sec * 1000000000 + facts->st_mtim.tv_nsec;
}

void inputs_release(struct inputs *inputs)
{
    for (int i = 0; i < inputs->count; i++)
        free(inputs->files[i].path);
    free(inputs->files);
    *inputs = (struct inputs){0};
}

static struct error *append(struct inputs *inputs, const char *path, const struct stat *facts)
{
    /* Capacity is the next power of two: grow whenever the count is one. */
    if ((inputs->count & (inputs->count - 1)) == 0) {
        const size_t capacity = inputs->count ? 2 * (size_t)inputs->count : 1;
        struct input *const grown = realloc(inputs->files, capacity * sizeof *grown);
        if (!grown)
            return error_new(ERROR_MEMORY, "no memory for a list of %zu input files", capacity);
        inputs->files = grown;
    }
    char *const copy = strdup(path);
    if (!copy)
        return error_new(ERROR_MEMORY, "no memory for the name of input file %s", path);
    inputs->files[inputs->count++] = (struct input){
        .path = copy,
        .bytes = facts->st_size,
        .modified_ns = file_modified_ns(facts),
    };
    return NULL;
}

static struct error *append_regular(struct inputs *inputs, const char *path,
                                    const struct stat *facts)
{
    if (S_ISREG(facts->st_mode))
        return append(inputs, path, facts);
    if (S_ISDIR(facts->st_mode))
        return error_new(ERROR_INPUT,
                         "%s is a directory, expected a text file; \"%s/*\" names the files in it",
                         path, path);
    return error_new(ERROR_INPUT, "%s is not a regular file, expected a text file", path);
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct error *append_matches(struct inputs *inputs, const char *pattern, const char *name)
{
    glob_t found = {0};
    const int rc = glob(pattern, GLOB_NOSORT, NULL, &found);
    struct error *e = NULL;
    if (rc == GLOB_NOMATCH)
        e = error_new(ERROR_IO, "no file matches \"%s\", given as %s data", pattern, name);
    else if (rc == GLOB_NOSPACE)
        e = error_new(ERROR_MEMORY, "no memory for the files that match \"%s\"", pattern);
    else if (rc)
        e = error_errno(ERROR_IO, "cannot look for files that match \"%s\"", pattern);
    else if (found.gl_pathc)
        qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, compare_paths);

    for (size_t i = 0; !e && i < found.gl_pathc; i++) {
        struct stat facts;
        if (stat(found.gl_pathv[i], &facts))
            e = error_errno(ERROR_IO, "cannot read %s, which matches \"%s\"", found.gl_pathv[i],
                            pattern);
        else
            e = append_regular(inputs, found.gl_pathv[i], &facts);
    }
    globfree(&found);
    return e;
}

static struct error *append_argument(struct inputs *inputs, const char *argument, const char *name)
{
    struct stat facts;
    if (!stat(argument, &facts))
        return append_regular(inputs, argument, &facts);
    if (errno == ENOENT && strpbrk(argument, "*?["))
        return append_matches(inputs, argument, name);
    return error_errno(ERROR_IO, "cannot read \"%s\", given as %s data", argument, name);
}

struct error *inputs_expand(struct inputs *out, const char *const *arguments, int count,
                            const char *name)
{
    struct inputs inputs = {0};
    if (count < 1)
        return error_new(ERROR_USAGE, "no %s data given, expected paths of text files or globs",
                         name);
    for (int i = 0; i < count; i++) {
        struct error *e = append_argument(&inputs, arguments[i], name);
        if (e) {
            inputs_release(&inputs);
            return e;
        }
    }
    *out = inputs;
    return NULL;
}

/* ---- a hash of samples ---- */

enum { SAMPLE_BYTES = 1 << 12, MOST_SAMPLES = 64, ALL_SAMPLES = 1 << 12 };    /* of a file, of all */

static struct error *read_sample(int fd, const struct input *file, char *sample, size_t bytes,
                                 int64_t at)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = pread(fd, sample + done, bytes - done, at + (int64_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(ERROR_IO, "cannot read %s", file->path);
        if (n == 0)
            return error_new(ERROR_INPUT, "%s had %lld bytes a moment ago, and ends at byte %lld "
                             "now; start again when nobody writes to it any more", file->path,
                             (long long)file->bytes, (long long)at + (long long)done);
        done += (size_t)n;
    }
    return NULL;
}

/* The beginning, the end and places between; of a file that is not longer than that, all. */
static struct error *hash_file(const struct input *file, int samples, uint64_t *hash)
{
    char sample[SAMPLE_BYTES];
    struct error *e = NULL;
    const bool all = file->bytes <= (int64_t)samples * SAMPLE_BYTES;
    const int64_t last = file->bytes > SAMPLE_BYTES ? file->bytes - SAMPLE_BYTES : 0;
    const int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(ERROR_IO, "cannot open %s", file->path);
    *hash = XXH3_64bits_withSeed(&file->bytes, sizeof file->bytes, *hash);
    for (int i = 0; i < samples && !e; i++) {
        const int64_t at = all ? (int64_t)i * SAMPLE_BYTES
                               : (int64_t)((double)last * i / (samples - 1));
        const int64_t left = file->bytes - at, bytes = left < SAMPLE_BYTES ? left : SAMPLE_BYTES;
        if (bytes <= 0)
            break;
        if (!(e = read_sample(fd, file, sample, (size_t)bytes, at)))
            *hash = XXH3_64bits_withSeed(sample, (size_t)bytes, *hash);
    }
    close(fd);
    return e;
}

struct error *inputs_hash(const struct inputs *inputs, uint64_t *hash)
{
    const int share = ALL_SAMPLES / inputs->count;
    const int samples = share > MOST_SAMPLES ? MOST_SAMPLES : share > 2 ? share : 2;
    *hash = (uint64_t)inputs->count;
    for (int i = 0; i < inputs->count; i++)
        TRY(hash_file(&inputs->files[i], samples, hash));
    return NULL;
}
