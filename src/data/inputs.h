/* inputs.h - paths and globs, as the user gives them, to a list of existing regular files. */
#ifndef GALLEY_DATA_INPUTS_H
#define GALLEY_DATA_INPUTS_H

#include "base/error.h"

struct inputs {
    char **paths;
    int count;
};

/*
 * Files in order of the arguments. An argument that names an existing file is that file, whatever
 * its name looks like; else * ? [...] make it a pattern, whose matches stand sorted by bytes (not by
 * locale, so that all ranks agree). `name` is what errors call the data: "training". No argument at
 * all, a missing file, a pattern without a match and anything that is not a regular file are errors.
 */
MUST_USE struct error *inputs_expand(struct inputs *out, const char *const *arguments, int count,
                                     const char *name);
void inputs_release(struct inputs *inputs);

#endif
