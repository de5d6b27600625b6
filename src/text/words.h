/*
 * words.h - text cut into words as KerasHub's WordPiece does, and words folded.
 *
 * Cutting: white space (ASCII), control and format characters separate and vanish; punctuation (all
 * of ASCII's, and Unicode's P categories) and, if wished, CJK characters are words of their own.
 * Unicode's other spaces separate nothing. Folding is NFKC_Casefold of each word after the cut, so
 * a word may come to hold a space or to be empty. Source: keras_hub's word_piece_tokenizer.py,
 * pretokenize.
 */
#ifndef GALLEY_TEXT_WORDS_H
#define GALLEY_TEXT_WORDS_H

#include "text/tokenizer.h"

/* Where a cut stands; fill with words_begin. */
struct words {
    const char *at, *end;
    bool split, split_on_cjk;
};

/* Text after a NUL is left out, as KerasHub's C strings leave it out. The text must outlive it. */
struct words words_begin(const char *text, size_t bytes, const struct wordpiece_options *options);
/* The next word, as it stands in the text; false at the end. `*ascii` tells that it is all
 * ASCII. */
bool words_next(struct words *words, const char **word, size_t *bytes, bool *ascii);

/* Memory that folding reuses; all zero at first, released with fold_release. */
struct fold {
    char *text;         /* the folded word */
    size_t bytes;
    int32_t *codes;     /* code points */
    size_t capacity;    /* of codes; text has room for 4 times as many bytes */
};

/* NFKC_Casefold of a word; the result is in fold->text, fold->bytes. */
MUST_USE struct error *fold_word(struct fold *fold, const char *word, size_t bytes);
/* NFD of a whole text without its non-spacing marks, in the same place. */
MUST_USE struct error *fold_strip_accents(struct fold *fold, const char *text, size_t bytes);
void fold_release(struct fold *fold);

#endif
