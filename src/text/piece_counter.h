/*
 * piece_counter.h - the pieces of texts (bpe_split.h), counted for a vocabulary to be learned.
 *
 * Each thread fills a counter of its own from texts, which no piece crosses. Memory grows with the
 * distinct pieces, not with the text.
 */
#ifndef GALLEY_TEXT_PIECE_COUNTER_H
#define GALLEY_TEXT_PIECE_COUNTER_H

#include "text/tally.h"

struct piece_counter;

MUST_USE struct error *piece_counter_create(struct piece_counter **out);
void piece_counter_destroy(struct piece_counter *counter);
/* Counts the pieces of a text. One thread a counter. */
MUST_USE struct error *piece_counter_add(struct piece_counter *counter, const char *text,
                                         size_t bytes);
/* How many bytes of a text can be counted now, were the rest and what follows it counted as the
 * next text: no piece crosses the cut. May be 0. */
size_t piece_counter_cut(const struct piece_counter *counter, const char *text, size_t bytes);
/* What was counted; valid as long as the counter. */
const struct tally *piece_counter_pieces(const struct piece_counter *counter);

#endif
