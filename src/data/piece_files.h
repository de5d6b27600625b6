/*
 * piece_files.h - the tokens of one piece of the input, kept in files until all pieces are done.
 *
 * For each part (training, validation) FOLDER/piece-N.PART.tokens holds the tokens as they will
 * stand in a shard, FOLDER/piece-N.PART.starts the places (int64) where documents begin;
 * FOLDER/piece-N.done says how many there are and what they hash to, and is written last. So a
 * piece is whole or not there, and work that was interrupted goes on with the pieces that are.
 */
#ifndef GALLEY_DATA_PIECE_FILES_H
#define GALLEY_DATA_PIECE_FILES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum part { PART_TRAINING, PART_VALIDATION, PARTS };

/* What one part of a piece holds. */
struct part_summary {
    int64_t tokens, documents;
    int64_t largest;    /* token; -1: none */
    uint64_t tokens_xxh3, starts_xxh3;
};

/* Plain numbers of 8 bytes, which ranks may add up as such. */
struct piece_summary {
    struct part_summary parts[PARTS];
    int64_t text_bytes;
};

/* The largest of raw tokens; -1 of none. */
int64_t largest_token(const void *tokens, int width, int64_t count);

/* ---- writing ---- */

struct piece_writer;

/* `width`: bytes of a token, 2 or 4. */
MUST_USE struct error *piece_writer_open(struct piece_writer **out, const char *folder, int number,
                                         int width);
/* Documents of a part: their tokens one after the other, and where in them each begins. */
MUST_USE struct error *piece_writer_add(struct piece_writer *writer, enum part part,
                                        const void *tokens, int64_t token_count,
                                        const int64_t *starts, int64_t document_count);
/* Ends the writer: the piece is there, and *summary tells of it; or an error. */
MUST_USE struct error *piece_writer_finish(struct piece_writer *writer, int64_t text_bytes,
                                           struct piece_summary *summary);
void piece_writer_discard(struct piece_writer *writer);    /* NULL is fine */

/* ---- reading ---- */

/* Whether the piece is there, whole, and every byte of it as it was written. */
MUST_USE struct error *piece_find(const char *folder, int number, int width, bool *found,
                                  struct piece_summary *summary);

/* An open file of a piece. */
struct piece_reader {
    int tokens_fd, starts_fd;
    char *name;
};
MUST_USE struct error *piece_reader_open(struct piece_reader *out, const char *folder, int number,
                                         enum part part);
void piece_reader_close(struct piece_reader *reader);
/* Raw tokens, and places of documents. */
MUST_USE struct error *piece_read_tokens(const struct piece_reader *reader, int width,
                                         int64_t first, int64_t count, void *tokens);
MUST_USE struct error *piece_read_starts(const struct piece_reader *reader, int64_t first,
                                         int64_t count, int64_t *starts);

#endif
