/* test_order.c - the order of samples is a bijection, the same everywhere, and as good as a
 * shuffle.
 *
 * The statistics are of fixed seeds, so they never fail by chance; their bounds are those that a
 * true shuffle keeps in all but about one of 10,000 trials (4 standard deviations, or the quantile
 * of the distribution named). */
#include "testing.h"

#include "data/order.h"

#include <stdbool.h>

/* The whole order of an epoch, for the caller to free. */
static int64_t *order_of_blocks(int64_t samples, int64_t block, uint64_t seed, int64_t epoch)
{
    const struct order order = {
        .seed = seed, .samples = samples, .block = block, .window = 256, .shuffle = true,
    };
    int64_t *const at = malloc((size_t)samples * sizeof *at);
    assert_non_null(at);
    for (int64_t p = 0; p < samples; p++)
        at[p] = order_sample(&order, epoch, p);
    return at;
}

static int64_t *whole_order(int64_t samples, uint64_t seed, int64_t epoch)
{
    return order_of_blocks(samples, 1, seed, epoch);
}

static void assert_bijection(int64_t samples, int64_t block, uint64_t seed, int64_t epoch)
{
    int64_t *const at = order_of_blocks(samples, block, seed, epoch);
    bool *const seen = calloc((size_t)samples, sizeof *seen);
    assert_non_null(seen);
    for (int64_t p = 0; p < samples; p++) {
        if (at[p] < 0 || at[p] >= samples || seen[at[p]])
            fail_msg("%lld samples, seed %llu, epoch %lld: position %lld has sample %lld again or "
                     "out of range", (long long)samples, (unsigned long long)seed, (long long)epoch,
                     (long long)p, (long long)at[p]);
        seen[at[p]] = true;
    }
    free(seen);
    free(at);
}

static void test_every_epoch_has_every_sample_once(void **state)
{
    (void)state;
    for (int64_t samples = 1; samples <= 600; samples++)
        for (int64_t epoch = 0; epoch < 4; epoch++)
            assert_bijection(samples, 1 + samples % 3 * 40, 42, epoch);    /* fewer than a block too */
    static const int64_t others[] = {997, 1000, 1023, 1024, 1025, 4093, 7919, 65535, 65536, 65537,
                                     97736, 131071};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_bijection(others[i], 1 + (int64_t)i, UINT64_MAX - i, 1000000007);
}

static void test_without_shuffle_position_is_sample(void **state)
{
    (void)state;
    const struct order order = {.seed = 1, .samples = 1000};
    for (int64_t p = 0; p < 1000; p++)
        assert_int_equal(order_sample(&order, 3, p), p);
}

/* A run that resumes after an update of the program must find the order it began with. */
static void test_the_order_never_changes(void **state)
{
    (void)state;
    static const int64_t small[] = {2, 4, 9, 3, 6, 5, 0, 8, 7, 1};
    static const int64_t large[] = {462228022, 865330930, 600248647, 422912557,
                                    725529744, 406113813, 355346193, 372216652};
    const struct order ten = {.seed = 1, .samples = 10, .shuffle = true};
    const struct order many = {.seed = 1337, .samples = 1000000007, .shuffle = true};
    for (int64_t p = 0; p < 10; p++)
        assert_int_equal(order_sample(&ten, 0, p), small[p]);
    for (int64_t p = 0; p < 8; p++)
        assert_int_equal(order_sample(&many, p, 100000000 * p), large[p]);
}

/* ---- Against a true shuffle ---- */

enum { N = 20011 };    /* a prime, so that nothing divides evenly */

/* Pearson's correlation of two sequences of uniform numbers below N; of independent ones it is
 * normal with standard deviation 1 / sqrt(count). */
static double correlation(const int64_t *a, const int64_t *b, int64_t count)
{
    double ma = 0, mb = 0, saa = 0, sbb = 0, sab = 0;
    for (int64_t i = 0; i < count; i++) {
        ma += (double)a[i] / (double)count;
        mb += (double)b[i] / (double)count;
    }
    for (int64_t i = 0; i < count; i++) {
        const double da = (double)a[i] - ma, db = (double)b[i] - mb;
        saa += da * da;
        sbb += db * db;
        sab += da * db;
    }
    return sab / sqrt(saa * sbb);
}

static void assert_uncorrelated(const char *what, const int64_t *a, const int64_t *b, int64_t count)
{
    const double r = correlation(a, b, count), bound = 4 / sqrt((double)count);
    if (!(fabs(r) < bound))
        fail_msg("%s: correlation %.4f, bound %.4f", what, r, bound);
}

static void test_positions_samples_and_neighbours_are_uncorrelated(void **state)
{
    (void)state;
    int64_t positions[N];
    for (int64_t p = 0; p < N; p++)
        positions[p] = p;
    for (uint64_t seed = 0; seed < 8; seed++) {
        int64_t *const at = whole_order(N, seed, (int64_t)seed);
        assert_uncorrelated("position and sample", positions, at, N);
        static const int lags[] = {1, 2, 3, 64, 1000};
        for (size_t i = 0; i < sizeof lags / sizeof *lags; i++)
            assert_uncorrelated("sample and a later one", at, at + lags[i], N - lags[i]);
        free(at);
    }
}

static void test_epochs_and_seeds_are_unrelated(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        int64_t *const this = whole_order(N, seed, 5);
        int64_t *const next_epoch = whole_order(N, seed, 6);
        int64_t *const next_seed = whole_order(N, seed + 1, 5);
        assert_uncorrelated("an epoch and the next", this, next_epoch, N);
        assert_uncorrelated("a seed and the next", this, next_seed, N);
        int same_epoch = 0, same_seed = 0;
        for (int64_t p = 0; p < N; p++) {
            same_epoch += this[p] == next_epoch[p];
            same_seed += this[p] == next_seed[p];
        }
        /* Poisson with mean 1: 7 and more in 8 of 100,000. */
        assert_true(same_epoch < 7);
        assert_true(same_seed < 7);
        free(this);
        free(next_epoch);
        free(next_seed);
    }
}

static void test_neighbours_are_parted_as_by_a_shuffle(void **state)
{
    (void)state;
    for (uint64_t seed = 10; seed < 20; seed++) {
        int64_t *const at = whole_order(N, seed, 0);
        int adjacent = 0, ascents = 0, fixed = at[0] == 0;
        double distance = 0;
        for (int64_t p = 1; p < N; p++) {
            const int64_t d = llabs((long long)(at[p] - at[p - 1]));
            adjacent += d == 1;
            ascents += at[p] > at[p - 1];
            fixed += at[p] == p;
            distance += (double)d / (N - 1);
        }
        free(at);
        /* Poisson, means 2 and 1. Ascents: mean (N-1)/2, variance (N+1)/12. Mean distance: (N+1)/3,
         * variance N^2/15 / N, of which 1/18 is a pair's own and the rest what it shares with the
         * next. */
        assert_true(adjacent < 10);
        assert_true(fixed < 7);
        assert_true(fabs(ascents - (N - 1) / 2.0) < 4 * sqrt((N + 1) / 12.0));
        assert_true(fabs(distance - (N + 1) / 3.0) < 4 * (double)N / sqrt(15.0 * (double)N));
    }
}

/* Chi squared of counts that should all be `mean`. */
static double chi_squared(const int *counts, int cells, double mean)
{
    double sum = 0;
    for (int i = 0; i < cells; i++)
        sum += (counts[i] - mean) * (counts[i] - mean) / mean;
    return sum;
}

static void test_every_stretch_of_positions_has_samples_from_everywhere(void **state)
{
    (void)state;
    enum { PARTS = 16, SAMPLES = 16 * 1024 };
    for (uint64_t seed = 30; seed < 38; seed++) {
        int64_t *const at = whole_order(SAMPLES, seed, 2);
        int counts[PARTS * PARTS] = {0};
        for (int64_t p = 0; p < SAMPLES; p++)
            counts[p / 1024 * PARTS + at[p] / 1024]++;
        free(at);
        /* 15 * 15 degrees of freedom: 0.01 % and 99.99 % quantiles. */
        const double chi = chi_squared(counts, PARTS * PARTS,
                                       (double)SAMPLES / (double)(PARTS * PARTS));
        if (!(chi > 154 && chi < 313))
            fail_msg("seed %llu: chi squared %.1f of 225", (unsigned long long)seed, chi);
    }
}

/* The hardest for a keyed permutation: so few samples that each order can be counted. */
static void test_all_orders_of_few_samples_are_equally_likely(void **state)
{
    (void)state;
    enum { TRIALS = 24000 };
    static const struct { int samples, orders; double bound; } cases[] = {
        {2, 2, 15.2}, {3, 6, 25.8}, {4, 24, 57.5}, {5, 120, 185.2},    /* 99.99 % quantiles */
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int by_epoch = 0; by_epoch < 2; by_epoch++) {
            const int n = cases[c].samples;
            int counts[120] = {0};
            for (int trial = 0; trial < TRIALS; trial++) {
                int64_t *const at = by_epoch ? whole_order(n, 7, trial)
                                             : whole_order(n, (uint64_t)trial, 0);
                int number = 0;    /* in Lehmer's code */
                for (int i = 0; i < n; i++) {
                    int smaller = 0;
                    for (int j = i + 1; j < n; j++)
                        smaller += at[j] < at[i];
                    number = number * (n - i) + smaller;
                }
                counts[number]++;
                free(at);
            }
            const double chi = chi_squared(counts, cases[c].orders,
                                           (double)TRIALS / (double)cases[c].orders);
            if (!(chi < cases[c].bound))
                fail_msg("%d samples: chi squared %.1f, bound %.1f", n, chi, cases[c].bound);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_epoch_has_every_sample_once),
        cmocka_unit_test(test_without_shuffle_position_is_sample),
        cmocka_unit_test(test_the_order_never_changes),
        cmocka_unit_test(test_positions_samples_and_neighbours_are_uncorrelated),
        cmocka_unit_test(test_epochs_and_seeds_are_unrelated),
        cmocka_unit_test(test_neighbours_are_parted_as_by_a_shuffle),
        cmocka_unit_test(test_every_stretch_of_positions_has_samples_from_everywhere),
        cmocka_unit_test(test_all_orders_of_few_samples_are_equally_likely),
    };
    return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
