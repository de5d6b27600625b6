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
 * How `draw` (kernels/choose.h) cuts the probabilities that this kind draws from: greedy keeps the
 * first maximum, top_k the k largest, top_p the largest until their mass crosses p (and at most k),
 * random all. The searches cut nothing.
 */
void sampler_cut(const struct sampler *sampler, int *most, float *mass);

#endif
