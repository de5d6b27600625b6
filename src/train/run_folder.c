/* run_folder.c - making, locking and writing the folder of a run. */
#include "train/run_folder.h"

#include "formats/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

struct run_folder {
    char path[PATH_BYTES];
    int lock;             /* descriptor of .lock, -1: not held */
    FILE *metrics, *samples;
    bool broken;          /* a row could not be written */
    struct error *failure;    /* why, until it is told */
};

/* path/name; paths were checked to fit. */
static void join(char *out, const struct run_folder *f, const char *name)
{
    snprintf(out, PATH_BYTES + 64, "%s/%s", f->path, name);
}

struct error *run_folder_make(const char *path)
{
    char part[PATH_BYTES + 64];
    snprintf(part, sizeof part, "%s", path);
    for (char *c = part + 1; *c; c++) {
        if (*c != '/')
            continue;
        *c = '\0';
        if (mkdir(part, 0777) && errno != EEXIST)
            return error_errno(ERROR_IO, "cannot make the folder %s", part);
        *c = '/';
    }
    if (mkdir(part, 0777) && errno != EEXIST)
        return error_errno(ERROR_IO, "cannot make the folder %s", part);
    return NULL;
}

static struct error *take_lock(struct run_folder *f)
{
    char path[PATH_BYTES + 64], text[256] = {0}, host[128] = "?";
    join(path, f, ".lock");
    f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (f->lock < 0)
        return error_errno(ERROR_IO, "cannot write in the run folder %s; choose another with "
                           "run.folder", f->path);
    if (flock(f->lock, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK)
            return error_errno(ERROR_IO, "cannot lock %s", path);
        if (read(f->lock, text, sizeof text - 1) <= 0)
            snprintf(text, sizeof text, "another process");
        return error_new(ERROR_USAGE, "the run folder %s is in use by %s; wait for it, end it, or "
                         "choose another with run.folder", f->path, text);
    }
    gethostname(host, sizeof host - 1);
    const int n = snprintf(text, sizeof text, "process %ld on host %s", (long)getpid(), host);
    if (ftruncate(f->lock, 0) || write(f->lock, text, (size_t)n) != n)
        return error_errno(ERROR_IO, "cannot write %s", path);
    return NULL;
}

/* Removes what writers killed half-way left: partial checkpoints. */
static struct error *clean(struct run_folder *f)
{
    char path[PATH_BYTES + 64];
    join(path, f, "checkpoints");
    DIR *folder = opendir(path);
    if (!folder)
        return error_errno(ERROR_IO, "cannot read the folder %s", path);
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        const size_t n = strlen(entry->d_name);
        if (entry->d_name[0] == '.' && n > 8 && !strcmp(entry->d_name + n - 8, ".partial"))
            unlinkat(dirfd(folder), entry->d_name, 0);    /* harmless where it fails */
    }
    closedir(folder);
    return NULL;
}

struct error *run_folder_open(struct run_folder **out, const char *path)
{
    char sub[PATH_BYTES + 64];
    struct error *e;
    struct run_folder *f = calloc(1, sizeof *f);
    if (!f)
        return error_new(ERROR_MEMORY, "no memory for the run folder (%zu bytes)", sizeof *f);
    f->lock = -1;
    if (!*path || strlen(path) >= sizeof f->path - 64) {
        e = error_new(ERROR_USAGE, "run.folder must be a path of 1 to %zu bytes",
                      sizeof f->path - 65);
        goto fail;
    }
    snprintf(f->path, sizeof f->path, "%s", path);
    if ((e = run_folder_make(path)))
        goto fail;
    join(sub, f, "checkpoints");
    if ((e = run_folder_make(sub)))
        goto fail;
    join(sub, f, "cache");
    if ((e = run_folder_make(sub)))
        goto fail;
    join(sub, f, "flight");
    if ((e = run_folder_make(sub)))
        goto fail;
    if ((e = take_lock(f)) || (e = clean(f)))
        goto fail;
    *out = f;
    return NULL;

fail:
    run_folder_close(f);
    return e;
}

void run_folder_close(struct run_folder *folder)
{
    if (!folder)
        return;
    if (folder->metrics)
        fclose(folder->metrics);
    if (folder->samples)
        fclose(folder->samples);
    if (folder->lock >= 0)
        close(folder->lock);
    error_destroy(folder->failure);
    free(folder);
}

struct error *run_folder_write_config(struct run_folder *folder, const char *yaml)
{
    char path[PATH_BYTES + 64];
    join(path, folder, "config.yaml");
    return output_write(path, yaml, strlen(yaml));
}

/* The step of a row, or -1: rows begin {"step": N. */
static long long row_step(const char *row)
{
    long long step;
    return sscanf(row, "{\"step\": %lld", &step) == 1 || sscanf(row, "{\"step\":%lld", &step) == 1
               ? step
               : -1;
}

/* Copies the rows up to `step` to a new file that takes the old one's place. A last row without
 * line feed was cut off by a kill and is dropped. */
static struct error *keep_rows(const char *path, int64_t step)
{
    char partial[PATH_BYTES + 128];
    char *row = NULL;
    size_t capacity = 0;
    FILE *old = fopen(path, "re");
    if (!old)
        return errno == ENOENT ? NULL : error_errno(ERROR_IO, "cannot read %s", path);
    snprintf(partial, sizeof partial, "%s.partial", path);
    FILE *new = fopen(partial, "we");
    if (!new) {
        fclose(old);
        return error_errno(ERROR_IO, "cannot write %s", partial);
    }
    bool good = true;
    for (ssize_t n = getline(&row, &capacity, old); n > 0; n = getline(&row, &capacity, old))
        if (row[n - 1] == '\n' && row_step(row) >= 0 && row_step(row) <= step)
            good &= fwrite(row, 1, (size_t)n, new) == (size_t)n;
    free(row);
    fclose(old);
    good &= !fclose(new);
    if (!good || rename(partial, path))
        return error_errno(ERROR_IO, "cannot write %s", path);
    return NULL;
}

static struct error *start_log(struct run_folder *f, const char *name, int64_t step, FILE **file)
{
    char path[PATH_BYTES + 64];
    join(path, f, name);
    TRY(keep_rows(path, step));
    *file = fopen(path, "ae");
    return *file ? NULL : error_errno(ERROR_IO, "cannot write %s", path);
}

struct error *run_folder_start_logs(struct run_folder *folder, int64_t step)
{
    TRY(start_log(folder, "metrics.jsonl", step, &folder->metrics));
    return start_log(folder, "samples.jsonl", step, &folder->samples);
}

static void add_row(struct run_folder *f, FILE *file, const char *name, const char *json)
{
    if (f->broken || (fprintf(file, "%s\n", json) >= 0 && !fflush(file)))
        return;
    f->failure = error_errno(ERROR_IO, "cannot write %s/%s", f->path, name);
    f->broken = true;
}

void run_folder_add_metrics(struct run_folder *folder, const char *json)
{
    add_row(folder, folder->metrics, "metrics.jsonl", json);
}

void run_folder_add_sample(struct run_folder *folder, const char *json)
{
    add_row(folder, folder->samples, "samples.jsonl", json);
}

struct error *run_folder_check(struct run_folder *folder)
{
    struct error *e = folder->failure;
    folder->failure = NULL;
    return e;
}
