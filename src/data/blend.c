/*
 * blend.c - which sample of which source stands at a position.
 *
 * With shares, position g of all epochs is place g % P of period g / P. A period has P tickets, of
 * which source k has shares[k] in a row; ticket u belongs to lane u % lanes, and each lane's
 * tickets are given out in the order of a keyed permutation of its P / lanes steps, which every
 * lane begins at another place, so that each batch has about the shares too. What a ticket's place
 * among its source's is, and the periods before, say how many samples the source has given. So
 * nothing is counted up, and every period holds exactly the shares.
 *
 * A source's samples in the order in which it gives them come in rounds: of `width` samples, a
 * lane's next to each other. Seen lane by lane, each goes through a stretch of its own of the
 * source's order (order.h), from beginning to end.
 *
 * The order is part of a run: change anything here and no older run can resume. A test holds
 * values.
 */
#include "data/blend.h"

#include "data/order.h"

#include <stddef.h>

/* How many blocks are read at a time, over all lanes; and in one lane at least. Samples of a batch
 * are of different blocks; of two that a lane gives one after the other, one pair in `window` is of
 * the same. Batch for batch this is as if all were shuffled among BLOCKS_AT_ONCE. */
enum { BLOCKS_AT_ONCE = 256, LEAST_WINDOW = 2 };

static int64_t lanes_of(const struct blend *blend)
{
    return blend->shuffle && blend->lanes > 1 ? blend->lanes : 1;
}

int64_t blend_period(const struct blend *blend)
{
    const int64_t lanes = lanes_of(blend);
    return (BLEND_LEAST_PERIOD + lanes - 1) / lanes * lanes;
}

struct blend blend_of(const struct samples *source, uint64_t seed, bool shuffle)
{
    return (struct blend){.sources = source, .count = 1, .seed = seed, .shuffle = shuffle};
}

struct error *blend_share(struct blend *blend, const double *weights)
{
    double sum = 0, remainders[BLEND_SOURCES];
    const int64_t period = blend_period(blend);
    int64_t left = period;
    for (int k = 0; k < blend->count; k++)
        sum += weights[k];
    for (int k = 0; k < blend->count; k++) {
        const double exact = weights[k] / sum * (double)period;
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
            return error_new(ERROR_USAGE, "the weight %g of input %d is under 1/%lld of all "
                             "weights (%g); raise it, or leave the input out", weights[k], k + 1,
                             (long long)period, sum);
    return NULL;
}

int64_t blend_samples(const struct blend *blend)
{
    int64_t samples = 0;
    for (int k = 0; k < blend->count; k++)
        samples += blend->sources[k].count;
    return samples;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* `width` things dealt to lanes as evenly as can be, those of a lane next to each other: how many
 * come before a lane's. */
static int64_t before_lane(int64_t lane, int64_t width, int64_t lanes)
{
    return lane * (width / lanes) + least(lane, width % lanes);
}

/* Whose the thing at a place is. */
static int64_t lane_at(int64_t place, int64_t width, int64_t lanes)
{
    const int64_t each = width / lanes, more = width % lanes, theirs = more * (each + 1);
    return place < theirs ? place / (each + 1) : more + (place - theirs) / each;
}

/* Positions of `samples` that come in rounds of `width`, lane by lane: each with all its rounds in
 * a row. The last round may be short. */
static int64_t in_lane_order(int64_t position, int64_t samples, int64_t width, int64_t lanes)
{
    const int64_t round = position / width, place = position % width;
    const int64_t lane = lane_at(place, width, lanes), first = before_lane(lane, width, lanes);
    const int64_t each = before_lane(lane + 1, width, lanes) - first;
    return samples / width * first + least(samples % width, first) + round * each + place - first;
}

/* What the source gives at its own `epoch` and `positions`, which places whose[i] shall have; it
 * gives `width` a round. */
static void place_in(const struct blend *blend, int source, int64_t width, int64_t epoch,
                     int64_t *positions, const int *whose, int count, struct blend_place *places)
{
    const struct samples *const s = &blend->sources[source];
    const int64_t lanes = lanes_of(blend), window = BLOCKS_AT_ONCE / least(lanes, width);
    const struct order order = {
        .seed = blend->seed + (uint64_t)source, .samples = s->count, .block = s->block,
        .window = window > LEAST_WINDOW ? window : LEAST_WINDOW, .shuffle = blend->shuffle,
    };
    int64_t before = 0;
    for (int k = 0; k < source; k++)
        before += blend->sources[k].count;
    for (int i = 0; i < count && s->block > 1 && lanes > 1; i++)
        positions[i] = in_lane_order(positions[i], s->count, width, lanes);
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

static struct share share_of(const struct blend *blend, int64_t period, int64_t ticket,
                             int64_t lanes)
{
    int k = 0;
    for (; ticket >= blend->shares[k]; k++)
        ticket -= blend->shares[k];
    const int64_t share = blend->shares[k];
    return (struct share){k, period * share + before_lane(ticket % lanes, share, lanes) + ticket / lanes};
}

static void find_shares(const struct blend *blend, int64_t first, int count, struct share *shares)
{
    const int64_t lanes = lanes_of(blend), period = blend_period(blend), steps = period / lanes;
    const struct order order = {.seed = ~blend->seed, .samples = steps, .block = 1,
        .shuffle = true};
    int64_t now = -1, turn = 0;    /* the step that was looked up last */
    for (int i = 0; i < count; i++) {
        const int64_t step = (first + i) / lanes, lane = (first + i) % lanes;
        if (step != now)
            turn = order_sample(&order, step / steps, step % steps);
        now = step;
        const int64_t ticket = lane + (turn + lane * steps / lanes) % steps * lanes;
        shares[i] = share_of(blend, step / steps, ticket, lanes);
    }
}

/* Those of one source, in runs of one epoch of it. */
static void place_shares(const struct blend *blend, int source, const struct share *shares,
                         int count, struct blend_place *places)
{
    const int64_t samples = blend->sources[source].count;
    int64_t positions[BLEND_RANGE], epoch = 0;
    int whose[BLEND_RANGE], n = 0;
    for (int i = 0; i < count; i++) {
        if (shares[i].source != source)
            continue;
        if (n && shares[i].given / samples != epoch) {
            place_in(blend, source, blend->shares[source], epoch, positions, whose, n, places);
            n = 0;
        }
        epoch = shares[i].given / samples;
        positions[n] = shares[i].given % samples;
        whose[n++] = i;
    }
    place_in(blend, source, blend->shares[source], epoch, positions, whose, n, places);
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
    place_in(blend, 0, lanes_of(blend), epoch, positions, whose, count, places);
}

struct blend_place blend_at(const struct blend *blend, int64_t epoch, int64_t position)
{
    struct blend_place place;
    blend_range(blend, epoch, position, 1, &place);
    return place;
}
