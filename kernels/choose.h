/*
 * choose.h - the contract of the kernels that choose tokens, a part of kernels.h.
 *
 * Logits stay in device memory: what comes to the host is ids, and, of a search, a few candidates.
 * What is chosen is a function of a row's arguments alone, not of the rows beside it or of threads.
 * p is softmax(logits / temperature) in fp32, of a row's first `ids` logits.
 */
#ifndef GALLEY_KERNELS_CHOOSE_H
#define GALLEY_KERNELS_CHOOSE_H

#include <stdint.h>

/* Instead of an id, where a row has none: one of its V logits, or the largest of the first `ids`
 * over the temperature, is not finite. */
enum { NOT_FINITE = -1 };

/*
 * One id for each row, drawn from p by inverse CDF: the first at which the sum of p up to it
 * exceeds uniform * (sum of p). Where most > 0, p is cut before: its `most` largest stay, while the
 * sum of those before is at most `mass`, as KerasHub compares in fp32: so the one that crosses it
 * stays. Among equals the lower id is first, as in jax.lax.top_k and tf.math.top_k. What stays is
 * divided by its sum, the others become 0. most = 1 is greedy: the first maximum of p, not of the
 * logits, which is KerasHub's choice where two that differ round to the same.
 */
struct draw {
    int32_t *chosen;           /* (B)  out */
    float *probabilities;      /* (B, ids)  out: what was drawn from, where something was */
    const float *logits;       /* (B, V)  in */
    const double *uniforms;    /* (B)  in, below 1; negative: nothing is drawn, 0 is "chosen" */
    int B, V;
    int ids;                   /* 1 to V */
    float temperature;         /* over 0 */
    int most;                  /* 0: p stays whole */
    float mass;                /* INFINITY: `most` alone cuts */
};

/*
 * The k ids of a row with the largest values, largest first, among equals the lower id first. The
 * value is p; with `scores` given it is log(p) + the row's score, in fp32: not the same order, as
 * different p may make equal sums.
 */
enum { LARGEST_MOST = 1024 };
struct largest {
    int32_t *chosen;           /* (B, k)  out; the first is NOT_FINITE or an id */
    float *values;             /* (B, k)  out */
    float *all;                /* (B, ids)  out: the values of all ids */
    const float *logits;       /* (rows, V)  in */
    const int32_t *rows;       /* (B)  in: the row of logits that is meant; NULL: b */
    const float *scores;       /* (B)  in; NULL: values are p */
    int B, V;
    int ids;                   /* 1 to V */
    int k;                     /* 1 to ids, at most LARGEST_MOST */
    float temperature;         /* over 0 */
};

#endif
