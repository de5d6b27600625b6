/*
 * blend.h - which sample of which source stands at a position of an epoch.
 *
 * A pure function of (sources, shares, seed, epoch, position), so that every rank, any number of
 * ranks and a resumed run agree without talking, in no time wherever they begin.
 *
 * Without shares an epoch is every sample of every source exactly once. With shares an epoch is as
 * long, but of every blend_period() positions, counted through all epochs, source k gets exactly
 * shares[k]; it is gone through in epochs of its own, each with every sample of it exactly once and
 * in a new order.
 *
 * The positions of a global batch are its lanes: position p is in lane p % lanes; with shares,
 * which are counted through all epochs, in lane (epoch * samples + p) % lanes. Where samples are
 * best read in blocks, each lane goes through blocks of its own, so that a rank, which has some
 * lanes next to each other, reads those blocks and few others, however many ranks there are.
 */
#ifndef GALLEY_DATA_BLEND_H
#define GALLEY_DATA_BLEND_H

#include "data/samples.h"

enum { BLEND_SOURCES = 64, BLEND_LEAST_PERIOD = 1 << 14 };

struct blend {
    const struct samples *sources;    /* borrowed */
    int count;                        /* of sources; without shares there is one */
    int32_t shares[BLEND_SOURCES];    /* of blend_period() positions; all 0: no shares */
    int lanes;                        /* samples of a global batch; 0: 1 */
    uint64_t seed;
    bool shuffle;                     /* false: each source in its order */
};

/* A blend of one source. */
struct blend blend_of(const struct samples *source, uint64_t seed, bool shuffle);
/* BLEND_LEAST_PERIOD, rounded up to whole global batches. */
int64_t blend_period(const struct blend *blend);
/* Turns weights (any scale) into shares that add up to blend_period(); one that would get none is
 * an error. */
MUST_USE struct error *blend_share(struct blend *blend, const double *weights);

/* Samples of an epoch. */
int64_t blend_samples(const struct blend *blend);

struct blend_place {
    int source;
    int64_t sample;    /* of that source */
    int64_t number;    /* counted through all sources */
};

/* `position` is 0 to blend_samples - 1. */
struct blend_place blend_at(const struct blend *blend, int64_t epoch, int64_t position);
/* Of BLEND_RANGE positions at most, one after the other; many take a fraction of the time that each
 * takes, but not where samples come in blocks: there neighbours are of different lanes. */
enum { BLEND_RANGE = 256 };
void blend_range(const struct blend *blend, int64_t epoch, int64_t position, int count,
                 struct blend_place *places);

#endif
