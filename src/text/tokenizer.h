/*
 * tokenizer.h - text to token ids and back.
 *
 * Two kinds: WordPiece as KerasHub's, and byte-level BPE as OpenAI's GPT-2. A tokenizer is
 * immutable once made and may be shared by threads. What encoding needs beside it (a cache of
 * words, buffers that grow to the longest word) is an encoder, one per thread.
 */
#ifndef GALLEY_TEXT_TOKENIZER_H
#define GALLEY_TEXT_TOKENIZER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;
struct encoder;

enum tokenizer_kind { TOKENIZER_WORDPIECE, TOKENIZER_BPE };

/* "wordpiece", "bpe". */
const char *tokenizer_kind_name(enum tokenizer_kind kind);
MUST_USE struct error *tokenizer_kind_parse(enum tokenizer_kind *out, const char *name);

/* How a WordPiece tokenizer cuts text before it looks words up; KerasHub's arguments of these
 * names. */
struct wordpiece_options {
    bool lowercase;       /* fold words by NFKC_Casefold */
    bool strip_accents;
    bool split;           /* cut at white space and punctuation; true but for odd uses */
    bool split_on_cjk;
};

struct bpe_options {
    bool special_as_text;    /* "<|endoftext|>" and its like in a text are letters and signs */
};

/* All that a tokenizer is made from: what a checkpoint keeps and ranks tell each other. */
struct tokenizer_definition {
    enum tokenizer_kind kind;
    const char *name;          /* what errors call it (a path) */
    const char *vocabulary;    /* wordpiece: one entry a line; bpe: the text of vocab.json */
    size_t vocabulary_bytes;
    const char *merges;        /* bpe: the text of merges.txt */
    size_t merges_bytes;
    const char *added;         /* bpe: a list of added tokens as tokenizer.json has it; may be NULL */
    size_t added_bytes;
    struct wordpiece_options wordpiece;
    struct bpe_options bpe;
};

/* A tokenizer of either kind; everything in the definition is copied. */
MUST_USE struct error *tokenizer_create(struct tokenizer **out,
                                        const struct tokenizer_definition *definition);
/*
 * A WordPiece tokenizer from `vocabulary`: one entry a line, id = line number from 0; only the line
 * feed is stripped. Ids of "[PAD]", "[UNK]" and "[BOS]" are looked up; [UNK] must be there.
 */
MUST_USE struct error *tokenizer_create_wordpiece(struct tokenizer **out, const char *vocabulary,
                                                  size_t bytes, const char *name,
                                                  const struct wordpiece_options *options);
/*
 * A byte-level BPE tokenizer from the texts of vocab.json (an object of entry: id, ids 0 to n-1,
 * bytes written as GPT-2's printable characters, every single byte among them) and merges.txt (a
 * pair a line, first ones first). Start and end token are "<|endoftext|>", if it is there.
 */
MUST_USE struct error *tokenizer_create_bpe(struct tokenizer **out, const char *vocabulary,
                                            size_t vocabulary_bytes, const char *merges,
                                            size_t merges_bytes, const char *name,
                                            const struct bpe_options *options);
void tokenizer_destroy(struct tokenizer *tokenizer);

/* What it was made from; valid as long as the tokenizer. */
const struct tokenizer_definition *tokenizer_definition(const struct tokenizer *tokenizer);
/* A hash of the kind, its options and the content: equal where the same text gives the same ids. */
uint64_t tokenizer_fingerprint(const struct tokenizer *tokenizer);

int tokenizer_size(const struct tokenizer *tokenizer);
/* Id of an entry with exactly these bytes, or -1. */
int tokenizer_find(const struct tokenizer *tokenizer, const char *entry);
int tokenizer_start_id(const struct tokenizer *tokenizer);    /* [BOS]; <|endoftext|>; or -1 */
int tokenizer_end_id(const struct tokenizer *tokenizer);      /* -1; <|endoftext|>, or -1 */
int tokenizer_pad_id(const struct tokenizer *tokenizer);      /* 0 by KerasHub's rule */
/* How the kind writes its start token, for messages: "[BOS]", "<|endoftext|>". */
const char *tokenizer_start_name(const struct tokenizer *tokenizer);
/* The bytes of an id (of BPE: those it stands for), `*bytes` long, not null-terminated; NULL if out
 * of range. */
const char *tokenizer_entry(const struct tokenizer *tokenizer, int id, size_t *bytes);

MUST_USE struct error *encoder_create(struct encoder **out, const struct tokenizer *tokenizer);
void encoder_destroy(struct encoder *encoder);

/*
 * The first `capacity` ids of `text`, written to `ids`; `*count` is their number, at most one a
 * byte. WordPiece: text must be valid UTF-8 (the sources check); should it not be, invalid bytes
 * count as U+FFFD. BPE: any bytes, and decoding gives the same bytes back. Allocates only when a
 * word is longer than any before.
 */
MUST_USE struct error *encoder_encode(struct encoder *encoder, const char *text, size_t bytes,
                                      int32_t *ids, int capacity, int *count);

/* Bytes that an id adds to a decoded text, at its beginning or further on; 0 of the start and the
 * end token, which stand for no text. */
size_t tokenizer_text_bytes(const struct tokenizer *tokenizer, int32_t id, bool first);

/*
 * The text of `ids`, null-terminated, for the caller to free; `*bytes` (may be NULL) its length.
 * WordPiece: as KerasHub's detokenize gives it. BPE: the bytes as they are, which may be no UTF-8
 * where ids end within a character; detokenizer.h gives whole characters.
 */
MUST_USE struct error *tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids,
                                        int count, char **text, size_t *bytes);

#endif
