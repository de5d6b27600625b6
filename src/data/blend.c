/*
 * blend.c - which sample of which source stands at a position.
 *
 * With shares, position g of all epochs is place g % P of period g / P. A keyed permutation of the
 * period's P places sends it to u; the source is the one whose range of shares holds u, and u's
 * place in that range, with the ranges of all periods before, is how many samples the source has
 * given. So nothing is counted up, and every period holds exactly the shares.
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

/* What the source gives at its own `epoch` and `positions`, which places whose[i] shall have. */
static void place_in(const struct blend *blend, int source, int64_t epoch, int64_t *positions,
                     const int *whose, int count, struct blend_place *places)
{
    const struct samples *const s = &blend->sources[source];
    const struct order order = {
        .seed = blend->seed + (uint64_t)source, .samples = s->count, .block = s->block,
        .shuffle = blend->shuffle,
    };
    int64_t before = 0;
    for (int k = 0; k < source; k++)
        before += blend->sources[k].count;
    order_samples(&order, epoch, positions, count);
    for (int i = 0; i < count; i++)
        places[whose[i]] = (struct blend_place){
            .source = source, .sample = positions[i], .number = before + positions[i]};
}

/* A position of all epochs: its source, and how many samples that has given before. */
struct share {
    int source;
    int64_t given;
};

static void find_shares(const struct blend *blend, int64_t first, int count, struct share *shares)
{
    const struct order order = {
        .seed = ~blend->seed, .samples = BLEND_PERIOD, .block = 1, .shuffle = true,
    };
    int64_t u[BLEND_RANGE];
    for (int done = 0, n; done < count; done += n) {
        const int64_t period = (first + done) / BLEND_PERIOD, at = (first + done) % BLEND_PERIOD;
        n = (int)(count - done < BLEND_PERIOD - at ? count - done : BLEND_PERIOD - at);
        for (int i = 0; i < n; i++)
            u[i] = at + i;
        order_samples(&order, period, u, n);
        for (int i = 0; i < n; i++) {
            int k = 0;
            for (; u[i] >= blend->shares[k]; k++)
                u[i] -= blend->shares[k];
            shares[done + i] = (struct share){k, period * blend->shares[k] + u[i]};
        }
    }
}

/* Those of one source, in runs of one epoch of it. */
static void place_shares(const struct blend *blend, int source, const struct share *shares, int count,
                         struct blend_place *places)
{
    const int64_t samples = blend->sources[source].count;
    int64_t positions[BLEND_RANGE], epoch = 0;
    int whose[BLEND_RANGE], n = 0;
    for (int i = 0; i < count; i++) {
        if (shares[i].source != source)
            continue;
        if (n && shares[i].given / samples != epoch) {
            place_in(blend, source, epoch, positions, whose, n, places);
            n = 0;
        }
        epoch = shares[i].given / samples;
        positions[n] = shares[i].given % samples;
        whose[n++] = i;
    }
    place_in(blend, source, epoch, positions, whose, n, places);
}

void blend_range(const struct blend *blend, int64_t epoch, int64_t position, int count,
                 struct blend_place *places)
{
    if (count > BLEND_RANGE)
        BUG("%d positions at once", count);
    if (blend->shares[0]) {
        struct share shares[BLEND_RANGE];
        find_shares(blend, epoch * blend_samples(blend) + position, count, shares);
        for (int k = 0; k < blend->count; k++)
            place_shares(blend, k, shares, count, places);
        return;
    }
    int64_t positions[BLEND_RANGE];
    int whose[BLEND_RANGE];
    for (int i = 0; i < count; i++) {
        positions[i] = position + i;
        whose[i] = i;
    }
    place_in(blend, 0, epoch, positions, whose, count, places);
}

struct blend_place blend_at(const struct blend *blend, int64_t epoch, int64_t position)
{
    struct blend_place place;
    blend_range(blend, epoch, position, 1, &place);
    return place;
}
