/*
 * added_tokens.h - tokens that are found in a text as they are written, before it is cut.
 *
 * They are what tokenizer.json lists as "added_tokens", and found as Hugging Face's tokenizers
 * finds them (0.23, tokenizer/added_vocabulary.rs): those that are not "normalized" first, then the
 * others in what lies between; at each place the longest; with the white space before (lstrip) and
 * behind (rstrip) if so said, and only where no character of a word is beside it (single_word). The
 * end token of GPT-2 is one of them, listed or not, if the vocabulary has it.
 */
#ifndef GALLEY_TEXT_ADDED_TOKENS_H
#define GALLEY_TEXT_ADDED_TOKENS_H

#include "text/characters.h"
#include "text/tokenizer.h"

enum added_pass { ADDED_AS_WRITTEN, ADDED_NORMALIZED, ADDED_PASSES };

struct added_token {
    const char *content;    /* not null-terminated */
    size_t bytes;
    int32_t id;
    bool special, single_word, lstrip, rstrip;
    enum added_pass pass;
};

/* The tokens of one pass, in order of their contents, no two alike. */
struct added_set {
    const struct added_token *tokens;
    int count;
    bool begins[256];    /* whether a content begins with that byte */
    int only;            /* the byte that all begin with, or -1 */
};

struct added_tokens {
    struct added_token *tokens;
    int count;
    char *text;    /* all contents */
    struct added_set sets[ADDED_PASSES];
};

/*
 * Reads the definition's list, which may be NULL. `end_id`: what the vocabulary has for
 * "<|endoftext|>", or -1. Releases with added_tokens_release, after an error too.
 */
MUST_USE struct error *added_tokens_read(struct added_tokens *added,
                                         const struct tokenizer_definition *definition, int end_id);
void added_tokens_release(struct added_tokens *added);

/* The token of this content, or NULL. */
const struct added_token *added_tokens_find(const struct added_tokens *added, const char *content,
                                            size_t bytes);

/* A pass over a text. */
struct added_scan {
    const char *text, *end;
    const char *at;      /* the search goes on here */
    const char *done;    /* what is before it has been given */
};

/* A token, and what lies before it and behind the one before; nothing where start <= before. */
struct added_match {
    const char *before, *start;
    int32_t id;
};

struct added_scan added_scan_begin(const char *text, const char *end);
/* The next token of a pass; false: there is none, and what is left begins at scan->done.
 * `special_as_text`: special ones are passed over. */
bool added_scan_next(struct added_scan *scan, const struct added_tokens *added,
                     enum added_pass pass, const struct characters *characters,
                     bool special_as_text, struct added_match *match);

#endif
