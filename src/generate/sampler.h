/*
 * sampler.h - how the next token is chosen: greedy, random, top-k, top-p, beam and contrastive
 * search, as KerasHub's samplers of these names choose it.
 */
#ifndef GALLEY_GENERATE_SAMPLER_H
#define GALLEY_GENERATE_SAMPLER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sampler_kind {
    SAMPLER_GREEDY, SAMPLER_RANDOM, SAMPLER_TOP_K, SAMPLER_TOP_P, SAMPLER_BEAM, SAMPLER_CONTRASTIVE
};

struct sampler {
    enum sampler_kind kind;
    int k;                 /* top_k: how many stay; top_p: cut to k first, 0: no cut; contrastive:
                            * candidates */
    double p;              /* top_p: the probability mass kept */
    int beams;
    double alpha;          /* contrastive: 0 is greedy; towards 1, away from what was said already */
    double temperature;    /* over 0; 1 leaves the distribution as it is */
    uint64_t seed;         /* draws are a pure function of (seed, row, position) */
};

/* Where a setting is left open: KerasHub's defaults but for top-p's, the example's. */
enum { SAMPLER_DEFAULT_K = 5, SAMPLER_DEFAULT_BEAMS = 5 };
#define SAMPLER_DEFAULT_P 0.5
#define SAMPLER_DEFAULT_ALPHA 0.6

/* "greedy", "random", "top_k", "top_p", "beam", "contrastive"; an unknown name is an error that
 * lists them. */
MUST_USE struct error *sampler_parse(enum sampler_kind *out, const char *name);
const char *sampler_name(enum sampler_kind kind);
/* Whether rows of one prompt differ: not so for greedy, beam and contrastive. */
bool sampler_is_random(enum sampler_kind kind);
/* Checks the numbers its kind uses: what is out of range, and what it may be. */
MUST_USE struct error *sampler_check(const struct sampler *sampler);
/* The kind and the numbers it uses, for people: "top_k, k 10, temperature 0.7, seed 1". */
void sampler_describe(const struct sampler *sampler, char *text, size_t bytes);

/*
 * The probabilities of one position: softmax(logits / temperature) in fp32, which top_k and top_p
 * then cut and renormalise and greedy makes one-hot; for the searches it stays whole. `logits` are
 * finite. `probabilities` (V) is written; `order` (V) is scratch.
 */
void sampler_distribution(const struct sampler *sampler, const float *logits, int V,
                          float *probabilities, int *order);
/* The k ids (1 to V) of the largest probabilities, largest first; among equals the lower id first.
 * `order` (V) is scratch. */
void sampler_largest(const float *probabilities, int V, int k, int *order, int *ids);
/* Draws from probabilities by the uniform number of (seed, row, position). */
int sampler_draw(const struct sampler *sampler, const float *probabilities, int V, int64_t row,
                 int64_t position);

#endif
