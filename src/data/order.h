/*
 * order.h - which sample stands at position p of epoch e: a keyed permutation, no array needed.
 *
 * A pure function of (sample count, block, seed, epoch, position), so that every rank, any number
 * of ranks, and a resumed run agree without talking.
 *
 * Where samples are best read in blocks that stand together (block > 1), the order is shuffled in
 * two stages: the blocks of all samples, and then the samples of a window of blocks in a row of
 * that order among each other (of the last window, which has what is left over, up to twice as
 * many). So going through positions touches that many blocks at any time, and each of them whole
 * before it is left; and of two samples in a row one pair in `window` is of the same block.
 */
#ifndef GALLEY_DATA_ORDER_H
#define GALLEY_DATA_ORDER_H

#include <stdbool.h>
#include <stdint.h>

struct order {
    uint64_t seed;
    int64_t samples;
    int64_t block;   /* samples that stand together, from sample 0 on; 0 or 1: each is alone */
    int64_t window;  /* of blocks, see above; where they are more than a sample */
    bool shuffle;    /* false: position p is sample p */
};

/* The sample at `position` (0..samples-1) of `epoch` (from 0): a bijection for every epoch. */
int64_t order_sample(const struct order *order, int64_t epoch, int64_t position);
/* The same of `count` positions, in place; ones that are near each other take a fraction of the
 * time. */
void order_samples(const struct order *order, int64_t epoch, int64_t *positions, int64_t count);

#endif
