/*
 * pieces.h - input files cut into pieces that can be worked on in any order, by anybody.
 *
 * A piece is a range of bytes of a file, with the records that begin in it, or some whole small
 * files. What is packed or a JSON list can only be read from its beginning and stays whole. The
 * records of all pieces in order are those of all files in order.
 */
#ifndef GALLEY_DATA_PIECES_H
#define GALLEY_DATA_PIECES_H

#include "base/error.h"
#include "data/inputs.h"

#include <stdbool.h>
#include <stdint.h>

struct piece {
    int file, files;     /* the first, and how many */
    int64_t from, to;    /* bytes of a single file; to 0: all of them */
    int64_t bytes;       /* on disk */
};

struct pieces {
    struct piece *list;
    int count;
};

/* Pieces of about `piece_bytes`; `whole_files`: no file is cut. */
MUST_USE struct error *pieces_plan(struct pieces *out, const struct inputs *inputs,
                                   int64_t piece_bytes, bool whole_files);
void pieces_release(struct pieces *pieces);

#endif
