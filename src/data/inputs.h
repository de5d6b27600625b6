/* inputs.h - paths and globs, as the user gives them, to a list of existing regular files. */
#ifndef GALLEY_DATA_INPUTS_H
#define GALLEY_DATA_INPUTS_H

#include "base/error.h"

#include <stdint.h>
#include <sys/stat.h>

struct input {
    char *path;
    int64_t bytes;          /* on disk, when it was found */
    int64_t modified_ns;    /* since 1970 */
};

struct inputs {
    struct input *files;
    int count;
};

/*
 * Files in order of the arguments. An argument that names an existing file is that file, whatever
 * its name looks like; else * ? [...] make it a pattern, whose matches stand sorted by bytes (not
 * by locale, so that all ranks agree). `name` is what errors call the data: "training". No argument
 * at all, a missing file, a pattern without a match and anything that is not a regular file are
 * errors.
 */
MUST_USE struct error *inputs_expand(struct inputs *out, const char *const *arguments, int count,
                                     const char *name);
void inputs_release(struct inputs *inputs);

/* Hash of the lengths and of places all over the content, the whole of small files: tells inputs of
 * the same lengths apart without reading all of them. Not of names and times, so that copies are
 * equal. */
MUST_USE struct error *inputs_hash(const struct inputs *inputs, uint64_t *hash);

/* Time of the last change of a file, in nanoseconds since 1970. */
int64_t file_modified_ns(const struct stat *facts);

#endif
