/*
 * bpe_split.h - text cut into pieces as GPT-2 does before its merges, which never cross a piece.
 *
 * The pattern, tried in this order at the end of the piece before:
 *
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *
 * by hand, since a regular expression takes three times as long as all the rest.
 */
#ifndef GALLEY_TEXT_BPE_SPLIT_H
#define GALLEY_TEXT_BPE_SPLIT_H

#include "text/characters.h"

/* Bytes of the piece that begins at `at`, which is before `end`, where the text ends. */
size_t bpe_piece(const struct characters *characters, const char *at, const char *end);

#endif
