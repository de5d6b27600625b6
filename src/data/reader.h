/*
 * reader.h - the bytes of one file, unpacked if it is gzip or zstd.
 *
 * The packing is recognised by content, never by name. Files of several gzip members or zstd frames
 * are read to their end. A truncated or damaged packing is an error, as is what follows it.
 */
#ifndef GALLEY_DATA_READER_H
#define GALLEY_DATA_READER_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum packing { PACKING_NONE, PACKING_GZIP, PACKING_ZSTD };

/* A file as it was when it was opened. */
struct file_facts {
    enum packing packing;
    int64_t bytes;          /* on disk */
    int64_t modified_ns;    /* since 1970 */
};

struct reader;

/* The path is copied. A file that is not regular (a fifo would block) is an error. */
MUST_USE struct error *reader_open(struct reader **out, const char *path);
/* Only bytes [from, to) of a file that is not packed. */
MUST_USE struct error *reader_open_range(struct reader **out, const char *path, int64_t from,
                                         int64_t to);
void reader_close(struct reader *reader);

/* The next bytes; `*got` is less than `capacity` only at the end of the file. */
MUST_USE struct error *reader_read(struct reader *reader, char *buffer, size_t capacity,
                                   size_t *got);

const struct file_facts *reader_facts(const struct reader *reader);
/* Bytes of the file on disk read so far, for progress. */
int64_t reader_consumed(const struct reader *reader);

#endif
