/*
 * tokenizer_json.h - Hugging Face's tokenizer.json, as the two texts that GPT-2's own files hold.
 *
 * It must be what transformers writes for a GPT-2: byte-level BPE, split by GPT-2's pattern,
 * nothing normalized. Added tokens get their ids behind the vocabulary's; but for the end token
 * they are decoded only: in a text to encode their letters are letters.
 */
#ifndef GALLEY_TEXT_TOKENIZER_JSON_H
#define GALLEY_TEXT_TOKENIZER_JSON_H

#include "text/tokenizer.h"

/* Sets vocabulary and merges of the definition, for the caller to free; `name` is what errors call
 * it. */
MUST_USE struct error *tokenizer_json_read(struct tokenizer_definition *definition, const char *text,
                                           size_t bytes, const char *name);

#endif
