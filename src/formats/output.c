/* output.c - writing beside, renaming at the end. */
#include "formats/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

/* A file, or a folder with all in it; one that is not there is fine. */
static struct error *remove_all(const char *path)
{
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) && errno != ENOENT)
        return error_errno(ERROR_IO, "cannot remove %s", path);
    return NULL;
}

/* What stands in the way may go only if it looks like a model. */
static struct error *check_folder(const char *path)
{
    static const char *const known[] = {
        ".", "..", "*.json", "*.txt", "*.h5", "*.safetensors", "*.bin", "assets", "checkpoints",
        "cache", "config.yaml", "*.jsonl", ".lock",
    };
    struct error *e = NULL;
    DIR *folder = opendir(path);
    if (!folder)
        return error_errno(ERROR_IO, "cannot read the folder %s", path);
    for (const struct dirent *entry = readdir(folder); entry && !e; entry = readdir(folder)) {
        bool fits = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            fits |= !fnmatch(known[i], entry->d_name, 0);
        if (!fits)
            e = error_new(ERROR_USAGE, "%s holds %s, which is no part of a model, so it is not "
                          "overwritten; remove it yourself, or choose another name", path,
                          entry->d_name);
    }
    closedir(folder);
    return e;
}

static struct error *check_target(const char *path, bool folder, bool overwrite)
{
    struct stat status;
    if (lstat(path, &status))
        return errno == ENOENT ? NULL : error_errno(ERROR_IO, "cannot write %s", path);
    if (!overwrite)
        return error_new(ERROR_USAGE, "%s is there already; choose another name, or --overwrite",
                         path);
    if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode))
        return error_new(ERROR_USAGE, "%s is neither a file nor a folder; choose another name",
                         path);
    if (S_ISDIR(status.st_mode) != folder)
        return error_new(ERROR_USAGE, "%s is a %s, and a %s would be written; choose another name",
                         path, folder ? "file" : "folder", folder ? "folder" : "file");
    return folder ? check_folder(path) : NULL;
}

/* `path` without slashes at its end, and PARENT/.NAME.partial. */
static struct error *make_paths(struct output *o, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    o->path = strndup(path, n);
    const char *slash = o->path ? strrchr(o->path, '/') : NULL;
    const char *name = slash ? slash + 1 : o->path;
    if (!o->path || asprintf(&o->partial, "%.*s.%s.partial", (int)(name - o->path), o->path,
                             name) < 0) {
        o->partial = NULL;
        return error_new(ERROR_MEMORY, "no memory for a path");
    }
    if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
        return error_new(ERROR_USAGE, "\"%s\" is not a name to write to", path);
    return NULL;
}

static void release(struct output *o)
{
    free(o->path);
    free(o->partial);
    *o = (struct output){0};
}

struct error *output_begin(struct output *output, const char *path, bool folder, bool overwrite)
{
    *output = (struct output){0};
    struct error *e = make_paths(output, path);
    if (!e)
        e = check_target(output->path, folder, overwrite);
    if (!e)
        e = remove_all(output->partial);
    if (!e && folder && mkdir(output->partial, 0777))
        e = error_errno(ERROR_IO, "cannot make the folder %s", output->partial);
    if (e)
        release(output);
    return e;
}

static int sync_path(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    const int result = fsync(fd);
    close(fd);
    return result;
}

/* A file's bytes, or the entries of a folder, which reach the disk with the folder itself. */
static int sync_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)walk;
    return type == FTW_F || type == FTW_D ? sync_path(path) : 0;
}

/* The new name. */
static struct error *sync_parent(const struct output *o)
{
    const char *const slash = strrchr(o->path, '/');
    char *const parent = slash ? strndup(o->path, (size_t)(slash - o->path) + 1) : strdup(".");
    if (!parent)
        return error_new(ERROR_MEMORY, "no memory for a path");
    struct error *e =
        sync_path(parent) ? error_errno(ERROR_IO, "cannot flush %s to disk", parent) : NULL;
    free(parent);
    return e;
}

/* A folder cannot be renamed onto one that holds something: that one steps aside first. */
static struct error *move_into_place(const struct output *o)
{
    char *old;
    if (!rename(o->partial, o->path))
        return NULL;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return error_errno(ERROR_IO, "cannot rename %s to %s", o->partial, o->path);
    if (asprintf(&old, "%s.old", o->partial) < 0)
        return error_new(ERROR_MEMORY, "no memory for a path");
    struct error *e = remove_all(old);
    if (!e && (rename(o->path, old) || rename(o->partial, o->path)))
        e = error_errno(ERROR_IO, "cannot rename %s to %s", o->partial, o->path);
    if (!e)
        e = remove_all(old);
    free(old);
    return e;
}

struct error *output_end(struct output *output, struct error *e)
{
    if (!e && nftw(output->partial, sync_entry, 16, FTW_PHYS))
        e = error_errno(ERROR_IO, "cannot flush %s to disk", output->partial);
    if (!e)
        e = move_into_place(output);
    if (!e)
        e = sync_parent(output);
    output_discard(output);    /* where it has its name, nothing is left to remove */
    return e;
}

void output_discard(struct output *output)
{
    if (output->partial)
        error_destroy(remove_all(output->partial));    /* there is nobody to tell */
    release(output);
}

struct error *output_write(const char *path, const void *data, size_t bytes)
{
    struct output output;
    TRY(output_begin(&output, path, false, true));
    struct error *e = NULL;
    FILE *const file = fopen(output.partial, "we");
    bool good = file && fwrite(data, 1, bytes, file) == bytes;
    if (file)
        good &= !fclose(file);
    if (!good)
        e = error_errno(ERROR_IO, "cannot write %s", path);
    return output_end(&output, e);
}
