/*
 * tokenizer_files.h - tokenizers as users name them: a file, a pair of files, or a folder.
 */
#ifndef GALLEY_TEXT_TOKENIZER_FILES_H
#define GALLEY_TEXT_TOKENIZER_FILES_H

#include "text/tokenizer.h"

/* Whether a folder holds a byte-level BPE vocabulary, by the names that tokenizer_files_read
 * takes. */
bool tokenizer_files_in(const char *folder);

/*
 * The kind of what is at `path`: a folder or a file that begins as JSON is byte-level BPE, any
 * other file a WordPiece vocabulary.
 */
MUST_USE struct error *tokenizer_files_kind(enum tokenizer_kind *kind, const char *path);

/*
 * Reads the texts of `definition`, whose kind and options the caller has set, as well as the name.
 * BPE: `vocabulary` is vocab.json, or a folder that holds vocab.json or vocabulary.json, itself or
 * in assets/tokenizer; `merges` empty or NULL: merges.txt beside it, with the same prefix. Or it is
 * a tokenizer.json (by this name, or in a folder without the others), which holds the merges as
 * well. Of a folder with vocab.json and tokenizer.json the latter gives the added tokens. To
 * release with tokenizer_files_release, only after success.
 */
MUST_USE struct error *tokenizer_files_read(struct tokenizer_definition *definition,
                                            const char *vocabulary, const char *merges);
void tokenizer_files_release(struct tokenizer_definition *definition);

/* All in one: the tokenizer at `vocabulary`, of whatever kind. */
MUST_USE struct error *tokenizer_open(struct tokenizer **out, const char *vocabulary,
                                      const char *merges,
                                      const struct wordpiece_options *wordpiece,
                                      const struct bpe_options *bpe);

#endif
