/*
 * vocabulary.h - a vocabulary of either kind from text files, with several threads.
 */
#ifndef GALLEY_DATA_VOCABULARY_H
#define GALLEY_DATA_VOCABULARY_H

#include "text/bpe_learner.h"
#include "text/wordpiece_learner.h"

struct vocabulary_options {
    enum tokenizer_kind kind;
    const char *const *inputs;    /* paths and globs, as source.h takes them */
    int input_count;
    const char *field;            /* of JSON, the one with the text; NULL: "text" */
    int64_t min_bytes;            /* only lines of at least so many bytes, CR not counted */
    int size;                     /* entries wanted */
    bool end_token_last;          /* bpe: see bpe_learn */
    /* wordpiece only */
    const char *const *reserved;  /* first entries */
    int reserved_count;
    struct wordpiece_options wordpiece;
    int threads;
};

struct vocabulary {
    char *text;                   /* wordpiece: one entry a line; bpe: vocab.json */
    size_t bytes;
    char *merges;                 /* bpe: merges.txt; else NULL */
    size_t merges_bytes;
    int64_t words, distinct_words;    /* counted; of bpe pieces */
    int entries;
};

/*
 * The caller frees the two texts. bpe: a file is one text where min_bytes is 0, else each line
 * without its line feed is.
 */
MUST_USE struct error *vocabulary_learn(const struct vocabulary_options *options,
                                        struct vocabulary *out);

#endif
