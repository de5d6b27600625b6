/*
 * bpe_merge.h - the merges of one piece of text, in time that grows no faster than the piece.
 *
 * As GPT-2 does: of all pairs of neighbours the one that comes first in merges.txt becomes one
 * token, wherever it stands, from left to right; then again, until no pair is in the list.
 */
#ifndef GALLEY_TEXT_BPE_MERGE_H
#define GALLEY_TEXT_BPE_MERGE_H

#include "text/bpe_vocabulary.h"

/* Memory that long pieces reuse; all zero at first. About 20 bytes a byte of the longest piece. */
struct bpe_long_piece;

struct bpe_merger {
    const struct bpe_vocabulary *vocabulary;
    struct bpe_long_piece *memory;
};

/* The ids of a piece, at least one byte long, at most one id a byte. Allocates only where a piece
 * of more than BPE_SHORT_PIECE bytes is longer than any before. */
enum { BPE_SHORT_PIECE = 96 };
MUST_USE struct error *bpe_merge_piece(struct bpe_merger *merger, const char *piece, size_t bytes,
                                       int32_t *ids, int *count);
void bpe_merger_release(struct bpe_merger *merger);

#endif
