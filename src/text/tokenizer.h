/*
 * tokenizer.h - text to token ids and back.
 *
 * A tokenizer is immutable once made and may be shared by threads. What encoding needs beside it
 * (buffers that grow to the longest word) is an encoder, one per thread.
 */
#ifndef GALLEY_TEXT_TOKENIZER_H
#define GALLEY_TEXT_TOKENIZER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;
struct encoder;

/* How a WordPiece tokenizer cuts text before it looks words up; KerasHub's arguments of these names. */
struct wordpiece_options {
    bool lowercase;       /* fold words by NFKC_Casefold */
    bool strip_accents;
    bool split;           /* cut at white space and punctuation; true but for odd uses */
    bool split_on_cjk;
};

/*
 * A WordPiece tokenizer from `vocabulary`: `bytes` of text, one entry a line, id = line number from
 * 0; only the line feed is stripped. `name` is what errors call it (a path). Ids of "[PAD]", "[UNK]"
 * and "[BOS]" are looked up; [UNK] must be there. The text is copied.
 */
MUST_USE struct error *tokenizer_create_wordpiece(struct tokenizer **out, const char *vocabulary,
                                                  size_t bytes, const char *name,
                                                  const struct wordpiece_options *options);
void tokenizer_destroy(struct tokenizer *tokenizer);

int tokenizer_size(const struct tokenizer *tokenizer);
/* Id of an entry with exactly these bytes, or -1. */
int tokenizer_find(const struct tokenizer *tokenizer, const char *entry);
int tokenizer_start_id(const struct tokenizer *tokenizer);    /* [BOS], or -1 */
int tokenizer_pad_id(const struct tokenizer *tokenizer);      /* 0 by KerasHub's rule */
/* The entry of an id, `*bytes` long, not null-terminated; NULL if out of range. */
const char *tokenizer_entry(const struct tokenizer *tokenizer, int id, size_t *bytes);
/* The vocabulary as it was given, for a checkpoint to keep. */
const char *tokenizer_vocabulary(const struct tokenizer *tokenizer, size_t *bytes);
const struct wordpiece_options *tokenizer_options(const struct tokenizer *tokenizer);

MUST_USE struct error *encoder_create(struct encoder **out, const struct tokenizer *tokenizer);
void encoder_destroy(struct encoder *encoder);

/*
 * The first `capacity` ids of `text`, written to `ids`; `*count` is their number. Text must be valid
 * UTF-8 (the sources check); should it not be, invalid bytes count as U+FFFD. Allocates only when a
 * word is longer than any before.
 */
MUST_USE struct error *encoder_encode(struct encoder *encoder, const char *text, size_t bytes,
                                      int32_t *ids, int capacity, int *count);

/* The text of `ids` as KerasHub's detokenize gives it, null-terminated, for the caller to free. */
MUST_USE struct error *tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids,
                                        int count, char **text);

#endif
