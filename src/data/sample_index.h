/*
 * sample_index.h - where every sample of a dataset begins: 8 bytes each, in a file.
 *
 * All text of a dataset, file after file and unpacked, is one range of addresses. The index file is
 * the address of each sample's first byte in order, then the end of all text; then the table of
 * files; then a trailer with counts, so that it is written from beginning to end in one go.
 */
#ifndef GALLEY_DATA_SAMPLE_INDEX_H
#define GALLEY_DATA_SAMPLE_INDEX_H

#include "base/error.h"
#include "data/inputs.h"
#include "data/spool.h"

#include <stdbool.h>
#include <stdint.h>

/* One input file. */
struct indexed_file {
    int64_t start;          /* address of its first byte */
    int64_t bytes;          /* of its text */
    int64_t unpacked_at;    /* where it begins in the file of unpacked text; -1: plain, read in
                             * place */
    int64_t separator;      /* ends each record: '\n', or '\0' where it is JSON */
    int64_t disk_bytes;     /* the file as it was when it was scanned */
    int64_t modified_ns;
};

/* What a scan finds out, beside the addresses. */
struct sample_index {
    int64_t samples;
    int64_t sample_bytes;      /* of all samples */
    int64_t longest_line;      /* bytes of the longest sample's line as it stands in the file */
    int64_t unpacked_bytes;    /* of the file of unpacked text; 0: all files are plain text */
    uint64_t fingerprint;
    int64_t file_count;
    struct indexed_file *files;
};

/* What an index belongs to: paths, sizes and times of the inputs, the field of JSON, and the
 * shortest line kept. */
uint64_t sample_index_key(const struct inputs *inputs, const char *field, int64_t min_bytes);

/* Appends the end of all text, the table and the trailer to a spool that holds the addresses. */
MUST_USE struct error *sample_index_finish(const struct sample_index *index, uint64_t key,
                                           struct spool *spool);

/* Opens an index file. False if there is none with this key, or if it is not whole: it has to be
 * made anew. Otherwise `out` is filled and `*fd` reads the addresses. */
MUST_USE struct error *sample_index_load(struct sample_index *out, int *fd, bool *usable,
                                         const char *path, uint64_t key);
void sample_index_release(struct sample_index *index);

#endif
