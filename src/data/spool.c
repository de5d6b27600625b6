/* spool.c - a file that we write once and then only read. */
#include "data/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error *open_unnamed(struct spool *s, const char *folder)
{
    if (asprintf(&s->path, "an unnamed file in %s", folder) < 0) {
        s->path = NULL;
        return error_new(ERROR_MEMORY, "no memory for the name of a temporary file");
    }
    s->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (s->fd >= 0)
        return NULL;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return error_errno(ERROR_IO, "cannot create a temporary file in %s", folder);

    /* File systems without O_TMPFILE (NFS, Lustre): a name for an instant. */
    char *name;
    if (asprintf(&name, "%s/galley.XXXXXX", folder) < 0)
        return error_new(ERROR_MEMORY, "no memory for the name of a temporary file");
    s->fd = mkostemp(name, O_CLOEXEC);
    struct error *e = NULL;
    if (s->fd < 0)
        e = error_errno(ERROR_IO, "cannot create a temporary file in %s", folder);
    else
        unlink(name);
    free(name);
    return e;
}

/* Whether the open file still is the one of this name: another process may have renamed it. */
static int still_named(int fd, const char *path)
{
    struct stat opened, named;
    return !fstat(fd, &opened) && !stat(path, &named) && opened.st_dev == named.st_dev &&
           opened.st_ino == named.st_ino;
}

static struct error *open_partial(struct spool *s, const char *folder, const char *name)
{
    if (asprintf(&s->path, "%s/%s", folder, name) < 0) {
        s->path = NULL;
        return error_new(ERROR_MEMORY, "no memory for the name of %s", name);
    }
    if (asprintf(&s->partial, "%s.partial", s->path) < 0) {
        s->partial = NULL;
        return error_new(ERROR_MEMORY, "no memory for the name of %s", name);
    }
    s->fd = open(s->partial, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->fd < 0)
        return error_errno(ERROR_IO, "cannot create %s", s->partial);
    /* Where the file system knows no locks the run folder's own lock must do. */
    if ((flock(s->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) ||
        !still_named(s->fd, s->partial)) {
        struct error *e = error_new(ERROR_IO, "another process is writing %s; try again when it "
                                    "has ended", s->partial);
        free(s->partial);
        s->partial = NULL;    /* not ours to remove */
        return e;
    }
    if (ftruncate(s->fd, 0))
        return error_errno(ERROR_IO, "cannot empty %s", s->partial);
    return NULL;
}

struct error *spool_create(struct spool *out, const char *folder, const char *name)
{
    struct spool s = {.fd = -1};
    struct error *e = name ? open_partial(&s, folder, name) : open_unnamed(&s, folder);
    if (e) {
        spool_release(&s);
        return e;
    }
    *out = s;
    return NULL;
}

struct error *spool_write(struct spool *spool, const void *data, size_t bytes)
{
    const char *p = data;
    while (bytes) {
        const ssize_t n = write(spool->fd, p, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(ERROR_IO, "cannot write %s after %lld bytes", spool->path,
                               (long long)spool->bytes);
        p += n;
        bytes -= (size_t)n;
        spool->bytes += n;
    }
    return NULL;
}

struct error *spool_publish(struct spool *spool)
{
    /* Without the flush a power failure could leave the name on a file of the right size but
     * without its content. */
    if (spool->partial && fdatasync(spool->fd))
        return error_errno(ERROR_IO, "cannot write %s to disk", spool->partial);
    return spool_name(spool);
}

struct error *spool_name(struct spool *spool)
{
    if (!spool->partial)
        return NULL;
    if (rename(spool->partial, spool->path))
        return error_errno(ERROR_IO, "cannot rename %s to %s", spool->partial, spool->path);
    free(spool->partial);
    spool->partial = NULL;
    return NULL;
}

int spool_take(struct spool *spool)
{
    const int fd = spool->fd;
    spool->fd = -1;
    spool_release(spool);
    return fd;
}

void spool_release(struct spool *spool)
{
    if (spool->partial)
        unlink(spool->partial);
    if (spool->fd >= 0)
        close(spool->fd);
    free(spool->partial);
    free(spool->path);
    *spool = (struct spool){.fd = -1};
}
