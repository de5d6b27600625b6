/*
 * order.h - which sample stands at position p of epoch e: a keyed permutation, no array needed.
 *
 * A pure function of (sample count, seed, epoch, position), so that every rank, any number of ranks,
 * and a resumed run agree without talking.
 */
#ifndef GALLEY_DATA_ORDER_H
#define GALLEY_DATA_ORDER_H

#include <stdbool.h>
#include <stdint.h>

struct order {
    uint64_t seed;
    int64_t samples;
    bool shuffle;    /* false: position p is sample p */
};

/* The sample at `position` (0..samples-1) of `epoch` (from 0): a bijection for every epoch. */
int64_t order_sample(const struct order *order, int64_t epoch, int64_t position);

#endif
