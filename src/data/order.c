/*
 * order.c - a keyed permutation of [0, samples): swap-or-not.
 *
 * Hoang, Morris and Rogaway, "An Enciphering Scheme Based on a Card Shuffle" (2012): in each round
 * a key K pairs every x with K - x modulo n, and one hashed bit per pair decides whether the two
 * change places. Swapping pairs is a bijection whatever the bit, for every n: no domain rounded up
 * to a power of two, no walking out of it, the same time for every position.
 *
 * Quality: two positions are treated alike by a round with probability 1/2, so what is left of any
 * relation between them (neighbours stay neighbours, in order) halves every round. With six rounds
 * for each bit of n, and 48 at least, nothing is left that could be seen; tests/unit/test_order.c
 * compares with a true shuffle. It takes 0.24 us a position of 100,000 samples where 64 are asked
 * for at once (tests/bench/bench_data.c, 2026-11, one core of an AMD EPYC). A Feistel network that
 * walks its cycles would be faster, and weakest where n is small.
 *
 * Of what is read in blocks see order.h; each stage is a permutation of this kind.
 *
 * The order is part of a run: change anything here and no older run can resume. A test holds
 * values.
 */
#include "data/order.h"

#include "base/error.h"

enum { ROUNDS_PER_BIT = 6, LEAST_ROUNDS = 48, AT_ONCE = 64 };

#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)    /* 2^64 / golden ratio, odd */

/* The finalizer of splitmix64 (Stafford's variant 13): every bit of x reaches every bit. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static int rounds_for(uint64_t n)
{
    int bits = 0;
    for (uint64_t left = n - 1; left; left >>= 1)
        bits++;
    const int rounds = ROUNDS_PER_BIT * bits;
    return rounds > LEAST_ROUNDS ? rounds : LEAST_ROUNDS;
}

/* Where a round sends x; it is its own inverse. `sum` says which pairs change places, `bits` which
 * of them do: by chance, so a branch would be mispredicted every other time, which took half of
 * it all. */
static uint64_t swap(uint64_t sum, uint64_t bits, uint64_t n, uint64_t x)
{
    const uint64_t partner = sum - x + (n & -(uint64_t)(sum < x));
    const uint64_t pair = x > partner ? x : partner;
    const uint64_t change = -(mix(bits ^ pair) >> 63);    /* all bits, or none */
    return x ^ ((x ^ partner) & change);
}

/*
 * Where a keyed permutation of [0, n) sends each x. A round's two numbers are the same for all, so
 * they are made once for many; and one x does not wait for another, so the processor works on
 * several at a time.
 */
static void permute(uint64_t key, uint64_t n, uint64_t *x, int count)
{
    const int rounds = rounds_for(n);
    for (int round = 0; round < rounds; round++) {
        const uint64_t counter = key + 2 * (uint64_t)round * GOLDEN;
        const uint64_t sum = mix(counter) % n;    /* its bias, n / 2^64, is nothing */
        const uint64_t bits = mix(counter + GOLDEN);
        for (int i = 0; i < count; i++)
            x[i] = swap(sum, bits, n, x[i]);
    }
}

/* ---- blocks ---- */

/* The blocks of all samples in windows; what is left over at the end, less than a window of blocks
 * and less than a block of samples, belongs to the last window. */
struct layout {
    uint64_t S, blocks, samples;    /* samples of a block; whole blocks */
    uint64_t window, windows;       /* samples of a window but the last; how many there are */
};

static struct layout layout_of(const struct order *order)
{
    const uint64_t S = (uint64_t)order->block, n = (uint64_t)order->samples;
    const uint64_t window = (uint64_t)order->window * S, whole = n / window;
    return (struct layout){
        .S = S, .blocks = n / S, .samples = n, .window = window, .windows = whole > 1 ? whole : 1};
}

static uint64_t window_of(const struct layout *l, uint64_t position)
{
    const uint64_t w = position / l->window;
    return w < l->windows ? w : l->windows - 1;
}

/* Of positions in one window: where in it their samples are. */
static void permute_window(const struct layout *l, uint64_t key, uint64_t w, uint64_t *x, int count)
{
    const uint64_t start = w * l->window;
    const uint64_t size = w == l->windows - 1 ? l->samples - start : l->window;
    for (int i = 0; i < count; i++)
        x[i] -= start;
    permute(mix(key ^ mix(w + GOLDEN)), size, x, count);
    for (int i = 0; i < count; i++)
        x[i] += start;
}

static void permute_blocks(const struct order *order, uint64_t key, uint64_t *x, int count)
{
    const struct layout l = layout_of(order);
    uint64_t block[AT_ONCE];    /* of those in whole blocks, and whose they are */
    int whose[AT_ONCE], whole = 0;
    for (int done = 0, n; done < count; done += n) {
        const uint64_t w = window_of(&l, x[done]);
        for (n = 1; done + n < count && window_of(&l, x[done + n]) == w; n++)
            continue;
        permute_window(&l, key, w, x + done, n);
    }
    for (int i = 0; i < count; i++)
        if (x[i] / l.S < l.blocks) {
            whose[whole] = i;
            block[whole++] = x[i] / l.S;
        }
    if (whole)    /* of less than a block of samples none is */
        permute(key, l.blocks, block, whole);
    for (int k = 0; k < whole; k++)
        x[whose[k]] = block[k] * l.S + x[whose[k]] % l.S;
}

static void sample_some(const struct order *order, int64_t epoch, int64_t *positions, int count)
{
    const uint64_t key = mix(mix(order->seed + GOLDEN) + (uint64_t)epoch * GOLDEN);
    uint64_t x[AT_ONCE];
    for (int i = 0; i < count; i++) {
        if (positions[i] < 0 || positions[i] >= order->samples)
            BUG("position %lld of %lld samples", (long long)positions[i],
                (long long)order->samples);
        x[i] = (uint64_t)positions[i];
    }
    if (order->block > 1)
        permute_blocks(order, key, x, count);
    else
        permute(key, (uint64_t)order->samples, x, count);
    for (int i = 0; i < count; i++)
        positions[i] = (int64_t)x[i];
}

void order_samples(const struct order *order, int64_t epoch, int64_t *positions, int64_t count)
{
    for (int64_t done = 0; done < count && order->shuffle; done += AT_ONCE)
        sample_some(order, epoch, positions + done,
                    (int)(count - done < AT_ONCE ? count - done : AT_ONCE));
}

int64_t order_sample(const struct order *order, int64_t epoch, int64_t position)
{
    order_samples(order, epoch, &position, 1);
    return position;
}
