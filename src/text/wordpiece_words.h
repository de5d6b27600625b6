/*
 * wordpiece_words.h - the words that a WordPiece vocabulary is learned from: folded, not too long,
 * not too many, and of the most frequent characters only.
 */
#ifndef GALLEY_TEXT_WORDPIECE_WORDS_H
#define GALLEY_TEXT_WORDPIECE_WORDS_H

#include "text/word_counter.h"

enum { WORDPIECE_LONGEST = 50 };    /* characters, of words and pieces */

/* Its characters have the places [first, first + length) among those of all words. */
struct kept_word {
    const char *text;
    int64_t count;
    int64_t first;
    int length;
};

struct wordpiece_words {
    struct tally folded;               /* distinct words after folding */
    int64_t most, least;               /* counts, over all words, before any is left out */
    struct kept_word *list;            /* the most frequent first */
    int64_t count, places;
    struct string_table *alphabet;     /* the allowed characters, the most frequent first */
};

/* From all zero; released with wordpiece_words_release, after an error too. */
MUST_USE struct error *wordpiece_words_collect(struct wordpiece_words *words,
                                               struct word_counter *const *counters, int n,
                                               const char *const *reserved, int reserved_count);
void wordpiece_words_release(struct wordpiece_words *words);

/* Bytes of the character at `at`, which begins one of valid UTF-8. */
static inline size_t character_bytes(const char *at)
{
    const unsigned char c = (unsigned char)*at;
    return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

#endif
