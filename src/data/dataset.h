/*
 * dataset.h - text files as one numbered sequence of samples.
 *
 * A sample is a line: split at LF, every CR removed, kept if it has at least `min_bytes` bytes (as
 * TensorFlow's TextLineDataset and the example's filter); of a JSON file (by its name, see
 * source.h) it is the text of one field of an object, with all that is in it. Files are given as
 * paths or globs, plain, gzip or zstd, recognised by content; samples are numbered in order of the
 * arguments (a glob's matches sorted), then of lines.
 *
 * Opening scans the text once: it checks that it is UTF-8 text and writes an index of 8 bytes a
 * sample. Plain text is then read in place; what is compressed or JSON is unpacked once.
 * Nothing else grows with the corpus. Where the unpacked text and index live:
 * - cache_folder given (a run's): NAME.index and NAME.text in it, made by whoever opens first, used
 *   by later opens of the same input (same paths, sizes and times). So on a cluster rank 0 opens
 *   first, then, after a barrier, the other ranks open what is there.
 * - NULL: unnamed temporary files in `temporary_folder`, private to this process.
 *
 * An open dataset is immutable and may be read by many threads.
 */
#ifndef GALLEY_DATA_DATASET_H
#define GALLEY_DATA_DATASET_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dataset;

struct dataset_options {
    const char *const *inputs;    /* paths and globs */
    int input_count;
    const char *field;            /* of JSON, the one with the text; NULL: "text"; "": all of an
                                   * object */
    int64_t min_bytes;            /* shortest line kept; 513 keeps "over 512" */
    const char *cache_folder;     /* made if missing, its parent is not; or NULL */
    bool cache_read_only;         /* use what the cache holds, but leave making it to another rank */
    const char *temporary_folder; /* for unnamed files; NULL: /tmp */
    const char *name;             /* "training", "validation": for errors and progress */
    bool show_progress;           /* tell on inputs that take more than a second */
};

MUST_USE struct error *dataset_open(struct dataset **out, const struct dataset_options *options);
void dataset_close(struct dataset *dataset);

const char *dataset_name(const struct dataset *dataset);
int64_t dataset_samples(const struct dataset *dataset);
/* Bytes of all samples. */
int64_t dataset_bytes(const struct dataset *dataset);
/* 64-bit hash of the text of all samples in order: the same data gives the same number on every
 * machine, whatever the files are called and however they are packed. */
uint64_t dataset_fingerprint(const struct dataset *dataset);

/*
 * The text of a sample, a line without its CR; `*bytes` long, not null-terminated. It is read into
 * `scratch`, of dataset_scratch_bytes(), and points into it. A file that is not as it was when it
 * was scanned (size or time differ) is an error: its samples are no longer those that the run began
 * with.
 */
MUST_USE struct error *dataset_sample(const struct dataset *dataset, int64_t index, char *scratch,
                                      const char **text, size_t *bytes);
size_t dataset_scratch_bytes(const struct dataset *dataset);
/* Whether a sample comes from a JSON file, and is not a line of text. */
MUST_USE struct error *dataset_sample_is_json(const struct dataset *dataset, int64_t index,
                                              bool *json);
/* Where a sample stands: path and line (of JSON: object) from 1, for messages: it counts those
 * before, so it takes a while in a large file. Line 0: the file cannot be read any more. */
void dataset_where(const struct dataset *dataset, int64_t index, const char **path, int64_t *line);

#endif
