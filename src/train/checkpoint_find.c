/* checkpoint_find.c - which checkpoints a run folder has: the newest good one, the old ones to
 * drop. */
#include "train/checkpoint.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Steps of all step-N.h5 in a folder. */
struct steps {
    int64_t *list;    /* newest first */
    int count;
};

static int newest_first(const void *x, const void *y)
{
    const int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a < b) - (a > b);
}

static bool parse_step(const char *name, int64_t *step)
{
    long long value;
    int end = 0;
    if (sscanf(name, "step-%lld.h5%n", &value, &end) != 1 || end == 0 || name[end])
        return false;
    *step = value;
    return true;
}

static struct error *list_steps(const char *run_folder, struct steps *out)
{
    char path[4400];
    snprintf(path, sizeof path, "%s/checkpoints", run_folder);
    *out = (struct steps){0};
    DIR *folder = opendir(path);
    if (!folder && errno == ENOENT)
        return NULL;
    if (!folder)
        return error_errno(ERROR_IO, "cannot read the folder %s", path);
    int capacity = 0;
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        int64_t step;
        if (!parse_step(entry->d_name, &step))
            continue;
        if (out->count == capacity) {
            capacity = capacity > 0 ? 2 * capacity : 64;
            int64_t *list = realloc(out->list, (size_t)capacity * sizeof *list);
            if (!list) {
                closedir(folder);
                free(out->list);
                return error_new(ERROR_MEMORY, "no memory for a list of %d checkpoints", capacity);
            }
            out->list = list;
        }
        out->list[out->count++] = step;
    }
    closedir(folder);
    if (out->count > 0)
        qsort(out->list, (size_t)out->count, sizeof *out->list, newest_first);
    return NULL;
}

struct error *checkpoint_path_of(const char *run_folder, int64_t step, char **path)
{
    if (asprintf(path, "%s/checkpoints/step-%08lld.h5", run_folder, (long long)step) < 0)
        return error_new(ERROR_MEMORY, "no memory for a path");
    return NULL;
}

struct error *checkpoint_prune(const char *run_folder, int keep, int64_t verified_step,
                               int64_t best_step)
{
    if (keep == 0)
        return NULL;
    struct steps steps;
    TRY(list_steps(run_folder, &steps));
    struct error *e = NULL;
    int kept = 0;
    for (int i = 0; i < steps.count && !e; i++) {
        char *path = NULL;
        /* Of steps to come: passed over when the run resumed before them, and not ours to count. */
        if (steps.list[i] > verified_step || kept++ < keep || steps.list[i] == best_step)
            continue;
        e = checkpoint_path_of(run_folder, steps.list[i], &path);
        if (!e && unlink(path) && errno != ENOENT)
            e = error_errno(ERROR_IO, "cannot delete the old checkpoint %s", path);
        free(path);
    }
    free(steps.list);
    return e;
}

struct error *checkpoint_find_newest(const char *run_folder, char **path)
{
    struct steps steps;
    struct error *last = NULL;
    *path = NULL;
    TRY(list_steps(run_folder, &steps));
    for (int i = 0; i < steps.count; i++) {
        char *candidate = NULL;
        struct error *e = checkpoint_path_of(run_folder, steps.list[i], &candidate);
        if (!e)
            e = checkpoint_verify(candidate);
        if (!e) {
            *path = candidate;
            break;
        }
        log_warning("%s; trying the one before", error_message(e));
        error_destroy(last);
        last = e;
        free(candidate);
    }
    free(steps.list);
    if (!*path && last)
        return error_context(last, "none of the %d checkpoints in %s/checkpoints can be used; move "
                             "them away to start anew", steps.count, run_folder);
    error_destroy(last);
    return NULL;
}

struct error *checkpoint_newest_step(const char *run_folder, int64_t *step)
{
    struct steps steps;
    TRY(list_steps(run_folder, &steps));
    *step = steps.count > 0 ? steps.list[0] : -1;
    free(steps.list);
    return NULL;
}

struct error *checkpoint_expect_none(const char *run_folder)
{
    struct steps steps;
    TRY(list_steps(run_folder, &steps));
    const long long newest = steps.count > 0 ? (long long)steps.list[0] : 0;
    free(steps.list);
    if (steps.count == 0)
        return NULL;
    return error_new(ERROR_USAGE, "checkpoint.resume is false, but %s/checkpoints holds %d, the "
                     "newest of step %lld, and a new run's would mix with them; choose another "
                     "run.folder, move them away, or leave out checkpoint.resume to go on",
                     run_folder, steps.count, newest);
}

/* The best by the newest one's record, if it is still there and good. */
static struct error *find_best(const char *newest, const char *run_folder, char **path)
{
    struct checkpoint_file *c = NULL;
    TRY(checkpoint_open(&c, newest));
    const int64_t best_step = checkpoint_progress(c)->best_step;
    checkpoint_close(c);
    if (best_step < 0)
        return error_new(ERROR_INPUT, "the run %s was never validated, so none of its checkpoints "
                         "is the best", run_folder);
    TRY(checkpoint_path_of(run_folder, best_step, path));
    struct error *e = checkpoint_verify(*path);
    if (e) {
        free(*path);
        *path = NULL;
    }
    return e;
}

struct error *checkpoint_resolve(const char *run_or_file, bool best, char **path)
{
    struct stat status;
    if (stat(run_or_file, &status))
        return error_errno(ERROR_INPUT, "cannot find the run or checkpoint %s", run_or_file);
    if (!S_ISDIR(status.st_mode)) {
        *path = strdup(run_or_file);
        return *path ? NULL : error_new(ERROR_MEMORY, "no memory for a path");
    }
    char *newest;
    TRY(checkpoint_find_newest(run_or_file, &newest));
    if (!newest)
        return error_new(ERROR_INPUT, "%s has no checkpoint; a run folder has them in checkpoints/",
                         run_or_file);
    if (!best) {
        *path = newest;
        return NULL;
    }
    struct error *e = find_best(newest, run_or_file, path);
    free(newest);
    return e;
}
