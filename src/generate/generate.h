/*
 * generate.h - whole texts from a model.
 *
 * KerasHub's loop: positions are filled one after the other from the end of the shortest prompt;
 * longer prompts keep their tokens. A row ends behind its first generated stop token; the loop ends
 * when all rows have, or at the length. Everything is allocated before the first position.
 *
 * The model is used by one caller at a time. Local to the rank.
 */
#ifndef GALLEY_GENERATE_GENERATE_H
#define GALLEY_GENERATE_GENERATE_H

#include "generate/sampler.h"
#include "model/gpt.h"
#include "text/tokenizer.h"

/* Told of every token as it is decided, behind the end of the shortest prompt; also of those of a
 * longer prompt and of those behind a row's stop token. */
typedef void generated_token(void *self, int row, int position, int32_t token);

/* What to fill. Row r holds its prompt in the first prompt_lengths[r] positions, at least one. */
struct generation {
    struct model *model;
    const struct sampler *sampler;
    int rows;
    int length;                    /* tokens of a row in all; at most the model's positions */
    const int *prompt_lengths;     /* (rows) */
    int64_t first_row;             /* row r draws as row first_row + r, in whatever batch it is */
    int ids;                       /* only ids below are chosen; 0: all of the model's */
    const int32_t *stop_ids;       /* (stop_count) */
    int stop_count;                /* 0: rows go on to their length */
    generated_token *on_token;     /* may be NULL; not for beam, whose past changes to its end */
    void *self;                    /* what on_token gets */
};

/*
 * Fills `tokens` (rows, length) behind the prompts. `ends` (rows): where each row ends, behind its
 * first stop token; the length if it has none. What stands behind an end means nothing. beam: each
 * row gets its best beam, and `scores` (rows) its log-probability. ends and scores may be NULL;
 * kinds other than beam leave scores alone. As in KerasHub, a beam's score counts the model's
 * choice, not the prompt's token, where a longer prompt goes on, and what follows a stop token.
 */
MUST_USE struct error *generate_tokens(const struct generation *generation, int32_t *tokens,
                                       int *ends, double *scores);

/* beam only: all beams of each row, best first, from prompts (rows, length): tokens (rows, beams,
 * length), ends (rows, beams; may be NULL), scores (rows, beams). */
MUST_USE struct error *generate_beams(const struct generation *generation, const int32_t *prompts,
                                      int32_t *tokens, int *ends, double *scores);

/* A text's beginning as tokens: the start token and the ids of a prompt, `length` at most. */
struct prompt {
    int32_t *ids;
    int count;
    bool cut;                      /* the prompt had more */
};

/* An empty prompt is the start token alone, and an error where the vocabulary has none. */
MUST_USE struct error *prompt_encode(struct prompt *out, const struct tokenizer *tokenizer,
                                     const char *text, int length);
void prompt_release(struct prompt *prompt);

/* What a text ends with unless told otherwise, as stop ids: the end token, or [PAD] where the
 * vocabulary has none (WordPiece). */
int32_t generate_default_stop(const struct tokenizer *tokenizer);

/* What to write: a text for each prompt. */
struct text_generation {
    struct model *model;
    const struct tokenizer *tokenizer;    /* NULL: prompts are ids, and so are results */
    const struct sampler *sampler;
    const struct prompt *prompts;         /* (count) */
    int length, count;                    /* of the longest text in tokens, prompt included; texts */
    int64_t first_row;                    /* text i draws as row first_row + i */
    const int32_t *stop_ids;              /* (stop_count) */
    int stop_count;                       /* 0: texts go on to their length */
    bool strip_prompt;                    /* texts are what follows their prompt */
    bool all_beams;                       /* beam only: all of a prompt's, best first */
    generated_token *on_token;            /* as in struct generation */
    void *self;
};

/* A text that was written. */
struct generated {
    int32_t *ids;                  /* prompt included */
    int count, prompt_count;       /* of ids; of the prompt's */
    char *text;                    /* valid UTF-8; NULL without a tokenizer */
    double score;                  /* beam: its log-probability */
};

/*
 * out (count; with all_beams count * beams): each for the caller to release, none on failure. A
 * text is its tokens up to and without the stop token, special tokens left out: the start token in
 * front, end tokens, and a WordPiece row's final [PAD].
 */
MUST_USE struct error *generate_texts(const struct text_generation *generation,
                                      struct generated *out);
void generated_release(struct generated *text);

/* Whether an id is no text: GPT-2's one special token wherever it stands, as KerasHub drops it; of
 * WordPiece's only the start token in front, others print as "[UNK]" does. */
bool generate_is_special(const struct tokenizer *tokenizer, int32_t id, int position);

#endif
