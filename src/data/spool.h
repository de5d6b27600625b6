/*
 * spool.h - a file that we write once from beginning to end, and from then on only read.
 *
 * Unnamed: it has no name in the folder and vanishes with the last descriptor, also after a kill.
 * Named: it is written as FOLDER/NAME.partial and gets its name when it is complete and on disk, so
 * FOLDER/NAME is always whole. What a killed process left of a .partial file is overwritten by the
 * next; two that write it at the same time are told apart by a lock, and the second is refused.
 */
#ifndef GALLEY_DATA_SPOOL_H
#define GALLEY_DATA_SPOOL_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct spool {
    int fd;             /* -1: none */
    int64_t bytes;      /* written so far */
    char *path;         /* what errors call it; the final name of a named one */
    char *partial;      /* NULL: unnamed, or published */
};

/* `name` NULL: unnamed. The folder must exist. */
MUST_USE struct error *spool_create(struct spool *out, const char *folder, const char *name);
MUST_USE struct error *spool_write(struct spool *spool, const void *data, size_t bytes);
/* Done writing: flushes a named one to disk and gives it its name. */
MUST_USE struct error *spool_publish(struct spool *spool);
/* The same without the flush: whole after a kill, but perhaps not after a failure of power. */
MUST_USE struct error *spool_name(struct spool *spool);
/* The descriptor of a published or unnamed one, now the caller's; the spool is empty then. */
int spool_take(struct spool *spool);
/* Drops what is not taken; a file not published is removed. Fine on a zeroed spool with fd -1. */
void spool_release(struct spool *spool);

#endif
