/* inputs.c - paths and globs to a list of existing regular files. */
#include "data/inputs.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

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
