/*
 * sampler.h - how the next token is chosen, and whole texts generated: greedy, random, top-k, top-p
 * and beam search, as KerasHub's samplers of these names.
 */
#ifndef GALLEY_GENERATE_SAMPLER_H
#define GALLEY_GENERATE_SAMPLER_H

#include "model/gpt.h"
#include "text/tokenizer.h"

enum sampler_kind { SAMPLER_GREEDY, SAMPLER_RANDOM, SAMPLER_TOP_K, SAMPLER_TOP_P, SAMPLER_BEAM };

struct sampler {
    enum sampler_kind kind;
    int k;                 /* top_k: how many stay; top_p: cut to k first, 0: no cut */
    double p;              /* top_p: the probability mass kept */
    int beams;
    double temperature;    /* over 0; 1 leaves the distribution as it is */
    uint64_t seed;         /* draws are a pure function of (seed, row, position) */
};

/* "greedy", "random", "top_k", "top_p", "beam"; an unknown name is an error that lists them. */
MUST_USE struct error *sampler_parse(enum sampler_kind *out, const char *name);
const char *sampler_name(enum sampler_kind kind);
/* Checks the numbers: what is out of range, and what it may be. */
MUST_USE struct error *sampler_check(const struct sampler *sampler);

/*
 * The probabilities that a random kind leaves for one position: softmax(logits / temperature), cut
 * and renormalised. `probabilities` (V) is written; `order` (V) is scratch. Greedy gives a one-hot.
 */
void sampler_distribution(const struct sampler *sampler, const float *logits, int V,
                          float *probabilities, int *order);
/* Draws from probabilities with the uniform number of (seed, row, position). */
int sampler_draw(const struct sampler *sampler, const float *probabilities, int V, int64_t row,
                 int64_t position);

/*
 * Fills `tokens` (rows, length): row r holds its prompt in the first prompt_lengths[r] positions
 * (at least 1); the rest is generated. KerasHub's loop: positions are filled one after the other
 * from the shortest prompt's end, longer prompts keep their tokens; no stop token here. Row r draws
 * with row number first_row + r, so a row's text does not depend on the batch it is in.
 * beam: `scores` (rows) gets the best beam's log-probability, NULL: not wanted.
 * `model` is fp32 or bf16, any device.
 */
MUST_USE struct error *generate_tokens(struct model *model, const struct sampler *sampler,
                                       int32_t *tokens, const int *prompt_lengths, int rows,
                                       int length, int64_t first_row, double *scores);
/* All beams of a single row, best first: tokens (beams, length), scores (beams). */
MUST_USE struct error *generate_beams(struct model *model, const struct sampler *sampler,
                                      const int32_t *prompt, int prompt_length, int length,
                                      int32_t *tokens, double *scores);

/* Text in, text out: [BOS] + ids of the prompt, filled to `length` tokens in all, decoded without
 * [BOS] and without what follows the first [PAD]. `*text` is for the caller to free. A prompt of more
 * than length - 1 tokens is cut. */
MUST_USE struct error *generate_text(struct model *model, const struct tokenizer *tokenizer,
                                     const struct sampler *sampler, const char *prompt, int length,
                                     int64_t first_row, char **text);

#endif
