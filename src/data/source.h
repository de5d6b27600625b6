/*
 * source.h - text files as blocks of whole records, checked to be text.
 *
 * A record is a line of a text file, or the text of one field of each object of a JSON file. Which
 * a file is says its name: .jsonl, .ndjson and .json (and .gz, .zst behind) are JSON, all else is
 * lines.
 *
 * Reading is apart from processing: the caller owns the blocks, may fill several and hand them to
 * threads; only source_read itself is for one thread at a time (callers lock).
 *
 *     struct source_block block = {0};
 *     while (!(e = source_read(source, &block)) && block.bytes)
 *         count_words(block.text, block.bytes, block.separator);
 *     source_block_release(&block);
 *
 * Every byte has been checked when it is handed out: NUL, invalid UTF-8 and broken JSON are errors
 * that name file, line and byte of the line, both from 1. A file without a byte is an error too.
 */
#ifndef GALLEY_DATA_SOURCE_H
#define GALLEY_DATA_SOURCE_H

#include "base/error.h"
#include "data/reader.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SOURCE_BLOCK_BYTES = 1 << 20 };    /* good for most: fits a core's cache */

struct source;

/* Zeroed before its first use. The buffer is kept from read to read and grows to the longest
 * line. */
struct source_block {
    char *text;            /* `bytes` of it; not null-terminated */
    size_t bytes;          /* 0: there is no more */
    size_t capacity;
    int64_t sequence;      /* blocks before it, in all files */
    int file;              /* 0.. as source_path counts */
    char separator;        /* ends each record but perhaps the last: '\n' of lines, else '\0' */
    int64_t offset;        /* of text[0] in all text that the file gives */
    int64_t first_line;    /* number of the line of the file where it begins, from 1 */
};

struct source_options {
    const char *const *inputs;    /* paths and globs, see inputs.h */
    int input_count;
    const char *field;            /* of JSON objects, the one that holds the text; NULL: "text"; "": the
                                   * object itself, as it is written */
    const char *name;             /* what errors call the data: "training" */
    struct reader *reader;        /* what is read in place of the inputs, from now on the source's, also
                                     where opening fails; NULL: the inputs */
    size_t block_bytes;
    bool whole_files;             /* a text file is one record, with all that is in it */
    int64_t from, to;             /* of a single input that is not packed: only its records that
                                     begin in these bytes; to 0: all */
};

/* A block holds whole records of one file, as many as fit into `block_bytes`; where one is longer
 * than that, up to twice its bytes. */
MUST_USE struct error *source_open(struct source **out, const struct source_options *options);
void source_close(struct source *source);

/* Fills the block with the next records. After the last file block->bytes is 0, also when asked
 * again. */
MUST_USE struct error *source_read(struct source *source, struct source_block *block);
void source_block_release(struct source_block *block);

int source_files(const struct source *source);
/* Valid until the source is closed. */
const char *source_path(const struct source *source, int file);
/* Packing, size and time of the file that the block last read came from. */
const struct file_facts *source_facts(const struct source *source);
/* Share of the bytes on disk read so far, 0 to 1. */
double source_progress(const struct source *source);

#endif
