/*
 * tokenizer_kind.h - what the kinds of tokenizer fill in, for tokenizer.c to call.
 *
 * A kind's own struct begins with a struct tokenizer, its encoder with a struct encoder.
 */
#ifndef GALLEY_TEXT_TOKENIZER_KIND_H
#define GALLEY_TEXT_TOKENIZER_KIND_H

#include "text/tokenizer.h"

struct tokenizer_entry {
    const char *text;
    size_t bytes;
};

/* What a token adds to a text. */
struct token_text {
    bool space;          /* one space first */
    const char *text;
    size_t bytes;
};

struct tokenizer_ops {
    const char *start_name;
    /* Reads the definition; what it made is destroyed by the caller, if it fails too. */
    struct error *(*load)(struct tokenizer *);
    void (*destroy)(struct tokenizer *);
    int (*find)(const struct tokenizer *, const char *entry, size_t bytes);
    struct token_text (*text)(const struct tokenizer *, int32_t id, bool first);
    struct error *(*encoder_create)(struct encoder **, const struct tokenizer *);
    void (*encoder_destroy)(struct encoder *);
    struct error *(*encode)(struct encoder *, const char *text, size_t bytes, int32_t *ids,
                            int capacity, int *count);
    size_t tokenizer_bytes;    /* of the kind's struct */
};

extern const struct tokenizer_ops wordpiece_ops, bpe_ops;

struct tokenizer {
    const struct tokenizer_ops *ops;
    struct tokenizer_definition definition;    /* its texts are the tokenizer's own, with a NUL
                                                * behind */
    struct tokenizer_entry *entries;           /* by id */
    int size, start, end, pad;
};

struct encoder {
    const struct tokenizer *tokenizer;
};

#endif
