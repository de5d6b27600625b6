/*
 * tokenizer_json.h - Hugging Face's tokenizer.json: the two texts that GPT-2's own files hold, and
 * the list of added tokens.
 *
 * It must be what transformers writes for a GPT-2: byte-level BPE, split by GPT-2's pattern,
 * nothing normalized.
 */
#ifndef GALLEY_TEXT_TOKENIZER_JSON_H
#define GALLEY_TEXT_TOKENIZER_JSON_H

#include "text/tokenizer.h"

/*
 * Sets vocabulary, merges and added tokens of the definition, which the caller frees, after an
 * error too; `name` is what errors call it. A list of the end token alone, with the id that the
 * vocabulary has for it, as GPT-2's is, says nothing: then there is no text of added tokens.
 */
MUST_USE struct error *tokenizer_json_read(struct tokenizer_definition *definition,
                                           const char *text, size_t bytes, const char *name);
/* The added tokens alone, where vocab.json, whose text the definition has, and merges.txt hold the
 * rest. */
MUST_USE struct error *tokenizer_json_read_added(struct tokenizer_definition *definition,
                                                 const char *text, size_t bytes, const char *name);

/* A byte-level BPE tokenizer as such a file, for the caller to free. */
MUST_USE struct error *tokenizer_json_write(const struct tokenizer *tokenizer, char **text,
                                            size_t *bytes);

#endif
