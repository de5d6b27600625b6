/*
 * reader.h - the bytes of one file or pipe, unpacked if it is gzip or zstd.
 *
 * The packing is recognised by content, never by name. Files of several gzip members or zstd frames
 * are read to their end. A truncated or damaged packing is an error, as is what follows it.
 */
#ifndef GALLEY_DATA_READER_H
#define GALLEY_DATA_READER_H

#include "base/error.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum packing { PACKING_NONE, PACKING_GZIP, PACKING_ZSTD };

/* A file as it was when it was opened; of a pipe only the packing. */
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
/*
 * Of a pipe: `path` is a fifo, or begins with "-" and stands for standard input. Waits for its
 * writer and first bytes, as every read waits for more; once `wake_fd` (borrowed) has something to
 * read, waiting ends with an ERROR_INTERRUPTED. A writer that has gone is the end of the data.
 * `heard` (borrowed; NULL: nobody asks) counts the bytes up as they come, for other threads.
 */
MUST_USE struct error *reader_open_pipe(struct reader **out, const char *path, int wake_fd,
                                        atomic_llong *heard);
void reader_close(struct reader *reader);

/* The next bytes; `*got` is less than `capacity` only at the end of the file. */
MUST_USE struct error *reader_read(struct reader *reader, char *buffer, size_t capacity,
                                   size_t *got);

/* The next bytes, to be read again by reader_read; at most READER_PEEK_BYTES, and once, before all
 * reads. `*got` is less than `bytes` only where that is all there is. */
enum { READER_PEEK_BYTES = 1 << 12 };
MUST_USE struct error *reader_peek(struct reader *reader, char *buffer, size_t bytes, size_t *got);

/* What errors call it: the path, or "standard input" with what follows the "-". */
const char *reader_name(const struct reader *reader);
const struct file_facts *reader_facts(const struct reader *reader);
/* Bytes of the file on disk read so far, for progress. */
int64_t reader_consumed(const struct reader *reader);

#endif
