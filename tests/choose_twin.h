/*
 * choose_twin.h - whether ids that a device chose are those that its twin, a CPU, would choose.
 *
 * An exponential and a logarithm of a device's own may differ from the twin's in the last bits. So
 * its probabilities must be near the twin's, and its ids the twin's wherever no such nearness
 * decides. Which ids follow from a device's own probabilities is for others to check. All are
 * arrays in host memory; a test that finds another id fails.
 */
#ifndef GALLEY_TESTS_CHOOSE_TWIN_H
#define GALLEY_TESTS_CHOOSE_TWIN_H

#include "kernel_bench.h"

/* A row's entries, to be sorted: larger values first, among equals the lower id. */
struct entry {
    float value;
    int id;
};
const struct entry *sorted(struct bench *b, const float *values, int n);

/* What one of the two drew in a row: from p, which is `whole` where nothing is cut. */
struct drawn {
    const float *whole, *p;    /* (ids) */
    int id;
};
struct draw_of_two {
    struct drawn got, twin;
    int ids, most;
    float mass;
    double uniform;            /* 0 or more */
    bool exact;                /* p must be the twin's, bit by bit, and so must be what is chosen */
    bool exact_order;          /* which are equal and which are larger is as certain */
};
void check_draw_of_two(struct bench *b, const struct draw_of_two *d);

/* The same for a row of candidates. Values are p or, with a score, log(p) + score. */
struct largest_of_two {
    const int32_t *chosen, *twin_chosen;    /* (k) */
    const float *values;                    /* (k) */
    const float *all;                       /* (ids) */
    const float *twin_p;                    /* (ids)  never with the score */
    const float *score;                     /* NULL: none */
    int ids, k;
    bool exact_order;
};
void check_largest_of_two(struct bench *b, const struct largest_of_two *l);

#endif
