/*
 * h5_catalog.c - a child process lists an HDF5 file's arrays for its parent.
 *
 * The child writes messages of one size to a pipe: an array each, then either "done" or what is
 * wrong. The parent takes nothing for granted: a message cut short or of no known kind, or an end
 * without "done", is a child that failed.
 */
#include "formats/h5_catalog.h"

#include "formats/h5_types.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_SECONDS = 60, MOST_ARRAYS = 1 << 20 };

enum message_kind { MESSAGE_ARRAY = 1, MESSAGE_PROBLEM, MESSAGE_DONE };

struct message {
    int32_t kind;
    char problem[256];    /* "%s" stands for the path of the file */
    struct catalog_tensor tensor;
};

/* ---- in the child ---- */

struct walk {
    int pipe;
    int64_t arrays;
    bool failed;
};

static bool send_message(int to, const struct message *m)
{
    for (size_t done = 0; done < sizeof *m;) {
        const ssize_t n = write(to, (const char *)m + done, sizeof *m - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static herr_t problem(struct walk *w, const char *what, const char *name)
{
    struct message m = {.kind = MESSAGE_PROBLEM};
    snprintf(m.problem, sizeof m.problem, "%.150s%.100s", what, name);
    send_message(w->pipe, &m);
    w->failed = true;
    return -1;
}

static void describe_type(hid_t type, struct catalog_tensor *t)
{
    static const enum element_type known[] = {ELEMENT_F32, ELEMENT_F16, ELEMENT_BF16};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const hid_t id = h5_element_type(known[i]);
        const bool same = H5Tequal(type, id) > 0;
        H5Tclose(id);
        if (same) {
            t->type = known[i];
            return;
        }
    }
    const H5T_class_t class = H5Tget_class(type);
    const char *name = class == H5T_INTEGER ? "int" : class == H5T_FLOAT ? "float" : "other";
    snprintf(t->other_type, sizeof t->other_type, "%s%zu", name, 8 * H5Tget_size(type));
}

/* Where the array lies; false where it does not lie in one piece in this file. */
static bool describe_place(hid_t set, struct catalog_tensor *t)
{
    const hid_t plist = H5Dget_create_plist(set);
    const bool plain = plist >= 0 && H5Pget_layout(plist) == H5D_CONTIGUOUS &&
                       H5Pget_external_count(plist) == 0;
    H5Pclose(plist);
    const haddr_t offset = plain ? H5Dget_offset(set) : HADDR_UNDEF;
    t->offset = offset;
    t->bytes = H5Dget_storage_size(set);
    return plain && offset != HADDR_UNDEF;
}

static herr_t send_array(struct walk *w, hid_t set, const char *name)
{
    struct message m = {.kind = MESSAGE_ARRAY};
    struct catalog_tensor *t = &m.tensor;
    hsize_t dims[H5S_MAX_RANK];
    if (strlen(name) + 2 > sizeof t->name)
        return problem(w, "%s: a path is too long: ", name);
    snprintf(t->name, sizeof t->name, "/%s", name);
    const hid_t space = H5Dget_space(set);
    t->dimensions = H5Sget_simple_extent_ndims(space);
    const bool good = t->dimensions >= 0 && t->dimensions <= CATALOG_DIMENSIONS &&
                      H5Sget_simple_extent_dims(space, dims, NULL) >= 0;
    H5Sclose(space);
    if (!good)
        return problem(w, "%s: it cannot be told what shape this has: ", t->name);
    for (int i = 0; i < t->dimensions; i++)
        t->shape[i] = dims[i] > INT64_MAX ? -1 : (int64_t)dims[i];
    const hid_t type = H5Dget_type(set);
    if (type < 0)
        return problem(w, "%s: it cannot be told what type this is of: ", t->name);
    describe_type(type, t);
    H5Tclose(type);
    if (!describe_place(set, t)) {
        if (*t->other_type)
            return 0;    /* text, say: nothing we would read */
        return problem(w, "%s: this array is empty, compressed or stored in pieces; h5repack "
                       "-l CONTI -f NONE makes a file that can be read: ", t->name);
    }
    return ++w->arrays <= MOST_ARRAYS && send_message(w->pipe, &m)
               ? 0
               : problem(w, "%s holds too many arrays", "");
}

static herr_t visit(hid_t group, const char *name, const H5L_info_t *link, void *context)
{
    struct walk *w = context;
    if (link->type != H5L_TYPE_HARD)
        return 0;
    const hid_t object = H5Oopen(group, name, H5P_DEFAULT);
    if (object < 0)
        return problem(w, "%s is damaged: HDF5 cannot open its /", name);
    const herr_t result =
        H5Iget_type(object) == H5I_DATASET ? send_array(w, object, name) : 0;
    H5Oclose(object);
    return result;
}

static void list_arrays(int to, const char *path)
{
    struct walk w = {.pipe = to};
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0)
        problem(&w, "%s is not an HDF5 file, or it is damaged", "");
    else if (H5Lvisit(file, H5_INDEX_NAME, H5_ITER_NATIVE, visit, &w) < 0 && !w.failed)
        problem(&w, "%s is damaged: HDF5 cannot list what it holds", "");
    if (!w.failed)
        send_message(to, &(struct message){.kind = MESSAGE_DONE});
}

/* The child dies of what it reads without a word, a core file or a debugger's report. */
static _Noreturn void be_child(int to, const char *path)
{
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM, SIGTERM,
        SIGINT};
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        signal(deadly[i], SIG_DFL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    const int nowhere = open("/dev/null", O_RDWR);
    dup2(nowhere, STDOUT_FILENO);
    dup2(nowhere, STDERR_FILENO);
    alarm(MOST_SECONDS);
    list_arrays(to, path);
    _exit(0);
}

/* ---- in the parent ---- */

/* 1: a message; 0: the end, or half a message. */
static int receive(int from, struct message *m)
{
    for (size_t done = 0; done < sizeof *m;) {
        const ssize_t n = read(from, (char *)m + done, sizeof *m - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        done += (size_t)n;
    }
    return 1;
}

static struct error *receive_all(struct catalog *catalog, int from, const char *path)
{
    struct message m;
    while (receive(from, &m)) {
        if (m.kind == MESSAGE_DONE)
            return NULL;
        if (m.kind == MESSAGE_PROBLEM) {
            m.problem[sizeof m.problem - 1] = '\0';
            const char *rest = strncmp(m.problem, "%s", 2) ? m.problem : m.problem + 2;
            return error_new(ERROR_INPUT, "%s%s", path, rest);
        }
        m.tensor.name[sizeof m.tensor.name - 1] = '\0';
        TRY(catalog_add(catalog, &m.tensor));
    }
    return error_new(ERROR_INPUT, "%s is damaged: HDF5 fails on it", path);
}

static int by_offset(const void *x, const void *y)
{
    const struct catalog_tensor *a = x, *b = y;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* HDF5 has no checksum on where an array lies; two at one place give a damaged file away. */
static struct error *check_overlaps(struct catalog *catalog, int first)
{
    struct catalog_tensor *t = catalog->tensors + first;
    const int n = catalog->n - first;
    if (n > 0)
        qsort(t, (size_t)n, sizeof *t, by_offset);
    for (int i = 1; i < n; i++)
        if (t[i - 1].bytes > t[i].offset - t[i - 1].offset)
            return error_new(ERROR_INPUT, "%s is damaged: %s and %s overlap",
                             catalog_path(catalog, &t[i]), t[i - 1].name, t[i].name);
    return NULL;
}

struct error *h5_catalog(struct catalog *catalog, const char *path)
{
    int ends[2];
    const int first = catalog->n;
    TRY(catalog_add_file(catalog, path));
    if (pipe2(ends, O_CLOEXEC))
        return error_errno(ERROR_IO, "cannot make a pipe to read %s", path);
    const pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        be_child(ends[1], path);
    }
    close(ends[1]);
    struct error *e = child < 0
                          ? error_errno(ERROR_IO, "cannot make a process to read %s", path)
                          : receive_all(catalog, ends[0], path);
    close(ends[0]);    /* a child that still writes ends by SIGPIPE */
    if (child > 0) {
        if (e)
            kill(child, SIGKILL);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    return e ? e : check_overlaps(catalog, first);
}
