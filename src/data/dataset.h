/*
 * dataset.h - text files as one numbered sequence of samples.
 *
 * A sample is a line: split at LF, every CR removed, kept if it has at least `min_bytes` bytes (as
 * TensorFlow's TextLineDataset and the example's filter). Files are given as paths or globs, plain,
 * gzip or zstd, recognised by content; samples are numbered in order of the arguments (a glob's
 * matches sorted), then of lines.
 *
 * Opening scans the text once: it checks that it is UTF-8 text and writes an index of 8 bytes a
 * sample. Plain files are then read in place, through mmap; compressed ones are unpacked once.
 * Nothing else grows with the corpus. Where the unpacked text and index live:
 * - cache_folder given (a run's): files in it, made by whoever opens first, used by later opens of
 *   the same input (same paths, sizes and times). So on a cluster rank 0 opens first, then, after a
 *   barrier, the other ranks open what is there.
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
    int64_t min_bytes;            /* shortest line kept; 513 keeps "over 512" */
    const char *cache_folder;     /* or NULL */
    const char *temporary_folder; /* for unnamed files; NULL: /tmp */
    const char *name;             /* "training", "validation": for errors and progress */
    bool show_progress;           /* tell on inputs that take more than a second */
};

MUST_USE struct error *dataset_open(struct dataset **out, const struct dataset_options *options);
void dataset_close(struct dataset *dataset);

int64_t dataset_samples(const struct dataset *dataset);
/* Bytes of all samples. */
int64_t dataset_bytes(const struct dataset *dataset);
/* 64-bit hash over names-independent content facts (sizes, sample count, hashes of index and of
 * blocks of text): the same data gives the same number on every machine. */
uint64_t dataset_fingerprint(const struct dataset *dataset);

/*
 * The text of a sample, without CR; `*bytes` long, not null-terminated. Points into the mapping, or
 * into `scratch` (at least dataset_longest() bytes) if a CR had to be removed; valid until the
 * dataset is closed or the scratch reused. A file that shrank since the scan is an error.
 */
MUST_USE struct error *dataset_sample(const struct dataset *dataset, int64_t index, char *scratch,
                                      const char **text, size_t *bytes);
size_t dataset_longest(const struct dataset *dataset);
/* Where a sample stands: path and line number from 1, for messages. */
void dataset_where(const struct dataset *dataset, int64_t index, const char **path, int64_t *line);

#endif
