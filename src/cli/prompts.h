/*
 * prompts.h - what `galley generate` goes on from: texts or token ids, from the command line, a
 * file or standard input.
 *
 * In a file each line is a prompt; a line that begins with "{" is a JSON object with either
 * "prompt" (text) or "token_ids" (numbers), the latter with an optional "padding_mask" of as many 0
 * and 1, as KerasHub's generate takes them without a preprocessor.
 */
#ifndef GALLEY_CLI_PROMPTS_H
#define GALLEY_CLI_PROMPTS_H

#include "generate/generate.h"

struct prompt_entry {
    char *text;               /* NULL: ids were given */
    struct prompt prompt;     /* set by prompts_encode where text was given */
};

/* All zero is empty. */
struct prompts {
    struct prompt_entry *list;
    int count, capacity;
    bool has_texts;
};

MUST_USE struct error *prompts_add_text(struct prompts *prompts, const char *text);
/* "464,2068,7586". */
MUST_USE struct error *prompts_add_ids(struct prompts *prompts, const char *numbers);
/* A file; "-" is standard input. */
MUST_USE struct error *prompts_read(struct prompts *prompts, const char *path);
void prompts_release(struct prompts *prompts);

/*
 * Texts become tokens, at most `length` each; ids are checked against V, the model's vocabulary.
 * What is longer is cut, with a warning. `tokenizer` may be NULL where there are no texts.
 */
MUST_USE struct error *prompts_encode(struct prompts *prompts, const struct tokenizer *tokenizer,
                                      int V, int length);

#endif
