/*
 * bpe_split.h - text cut into pieces as GPT-2 does before its merges, which never cross a piece.
 *
 * The pattern, tried in this order at the end of the piece before:
 *
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *
 * by hand, since a regular expression takes three times as long as all the rest. Classes of
 * characters are utf8proc's, so those of its version of Unicode. A byte that is no UTF-8 counts as
 * a character of its own that is neither letter, number nor space.
 */
#ifndef GALLEY_TEXT_BPE_SPLIT_H
#define GALLEY_TEXT_BPE_SPLIT_H

#include "base/error.h"

#include <stddef.h>

/* The classes of all characters; immutable, shared by threads. */
struct characters;

MUST_USE struct error *characters_create(struct characters **out);
void characters_destroy(struct characters *characters);

/* Bytes of the piece that begins at `at`, which is before `end`, where the text ends. */
size_t bpe_piece(const struct characters *characters, const char *at, const char *end);
/* Whether the text before `end` can be cut there, were a line feed to follow: it ends in a
 * character that is no space. */
int bpe_ends_solid(const struct characters *characters, const char *text, const char *end);

#endif
