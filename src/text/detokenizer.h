/*
 * detokenizer.h - tokens to text one by one, in whole characters.
 *
 * A token of byte-level BPE may end within a character; its bytes wait until the rest has come.
 * What cannot become UTF-8 any more is U+FFFD, as many times as Python's errors="replace" writes
 * it: all that was added comes to the decoded text of all tokens.
 */
#ifndef GALLEY_TEXT_DETOKENIZER_H
#define GALLEY_TEXT_DETOKENIZER_H

#include "text/tokenizer.h"

struct detokenizer;

MUST_USE struct error *detokenizer_create(struct detokenizer **out,
                                          const struct tokenizer *tokenizer);
void detokenizer_destroy(struct detokenizer *detokenizer);

/* What a token adds: valid UTF-8, null-terminated, maybe empty; valid until the next call. */
MUST_USE struct error *detokenizer_add(struct detokenizer *detokenizer, int32_t id,
                                       const char **text);
/* What was held back at the end of the tokens: empty, or U+FFFD. Then a new text may begin. */
const char *detokenizer_finish(struct detokenizer *detokenizer);

#endif
