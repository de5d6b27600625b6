/*
 * blend.c - which sample of which source stands at a position.
 *
 * With shares, position g of all epochs is place g % P of period g / P. A keyed permutation of the
 * period's P places sends it to u; the source is the one whose range of shares holds u, and u's place
 * in that range, with the ranges of all periods before, is how many samples the source has given.
 * So nothing is counted up, and every period holds exactly the shares.
 */
#include "data/blend.h"

#include "data/order.h"

#include <stddef.h>


struct blend blend_of(const struct samples *source, uint64_t seed, bool shuffle)
{
    return (struct blend){.sources = source, .count = 1, .seed = seed, .shuffle = shuffle};
}

struct error *blend_share(struct blend *blend, const double *weights)
{
    double sum = 0, remainders[BLEND_SOURCES];
    int32_t left = BLEND_PERIOD;
    for (int k = 0; k < blend->count; k++)
        sum += weights[k];
    for (int k = 0; k < blend->count; k++) {
        const double exact = weights[k] / sum * (double)BLEND_PERIOD;
        blend->shares[k] = (int32_t)exact;
        remainders[k] = exact - blend->shares[k];
        left -= blend->shares[k];
    }
    for (; left > 0; left--) {    /* to those that were rounded down most */
        int most = 0;
        for (int k = 1; k < blend->count; k++)
            if (remainders[k] > remainders[most])
                most = k;
        blend->shares[most]++;
        remainders[most] = -1;
    }
    for (int k = 0; k < blend->count; k++)
        if (blend->shares[k] < 1)
            return error_new(ERROR_USAGE, "the weight %g of input %d is under 1/%d of all weights "
                             "(%g); raise it, or leave the input out", weights[k], k + 1,
                             BLEND_PERIOD, sum);
    return NULL;
}

int64_t blend_samples(const struct blend *blend)
{
    int64_t samples = 0;
    for (int k = 0; k < blend->count; k++)
        samples += blend->sources[k].count;
    return samples;
}

/* The sample at `position` of a source's own `epoch`. */
static struct blend_place place_in(const struct blend *blend, int source, int64_t epoch,
                                   int64_t position)
{
    const struct samples *const s = &blend->sources[source];
    const struct order order = {
        .seed = blend->seed + (uint64_t)source, .samples = s->count, .block = s->block,
        .shuffle = blend->shuffle,
    };
    struct blend_place place = {.source = source};
    place.sample = place.number = order_sample(&order, epoch, position);
    for (int k = 0; k < source; k++)
        place.number += blend->sources[k].count;
    return place;
}

struct blend_place blend_at(const struct blend *blend, int64_t epoch, int64_t position)
{
    if (!blend->shares[0])
        return place_in(blend, 0, epoch, position);
    const int64_t g = epoch * blend_samples(blend) + position;
    const int64_t period = g / BLEND_PERIOD;
    const struct order places = {
        .seed = ~blend->seed, .samples = BLEND_PERIOD, .block = 1, .shuffle = true,
    };
    int64_t u = order_sample(&places, period, g % BLEND_PERIOD);
    int k = 0;
    for (; u >= blend->shares[k]; k++)
        u -= blend->shares[k];
    const int64_t given = period * blend->shares[k] + u;
    const int64_t samples = blend->sources[k].count;
    return place_in(blend, k, given / samples, given % samples);
}
