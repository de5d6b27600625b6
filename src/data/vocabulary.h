/*
 * vocabulary.h - a WordPiece vocabulary from text files, with several threads.
 */
#ifndef GALLEY_DATA_VOCABULARY_H
#define GALLEY_DATA_VOCABULARY_H

#include "text/wordpiece_learner.h"

struct vocabulary_options {
    const char *const *inputs;    /* paths and globs, as source.h takes them */
    int input_count;
    const char *field;            /* of JSON, the one with the text; NULL: "text" */
    int64_t min_bytes;            /* only lines of at least so many bytes, CR not counted */
    int size;                     /* entries wanted */
    const char *const *reserved;  /* first entries */
    int reserved_count;
    struct wordpiece_options wordpiece;
    int threads;
};

/* The vocabulary as text, one entry a line, for the caller to free; `report` may be NULL. */
MUST_USE struct error *vocabulary_learn(const struct vocabulary_options *options, char **vocabulary,
                                        size_t *bytes, struct wordpiece_learning *report);

#endif
