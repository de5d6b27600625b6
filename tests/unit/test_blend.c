/* test_blend.c - orders in blocks, and blends by weight: every sample once an epoch, shares kept
 * exactly, and as good as a shuffle as far as they promise.
 *
 * The statistics are of fixed seeds, so they never fail by chance. */
#include "testing.h"

#include "data/blend.h"
#include "data/order.h"

#include <stdbool.h>

enum { WINDOW = 256 };    /* blocks that are shuffled among each other, where nothing else is said */

static void assert_bijection(int64_t samples, int64_t block, uint64_t seed, int64_t epoch)
{
    const struct order order = {.seed = seed, .samples = samples, .block = block, .window = WINDOW,
        .shuffle = true};
    bool *const seen = calloc((size_t)samples, sizeof *seen);
    assert_non_null(seen);
    for (int64_t p = 0; p < samples; p++) {
        const int64_t at = order_sample(&order, epoch, p);
        if (at < 0 || at >= samples || seen[at])
            fail_msg("%lld samples in blocks of %lld: position %lld has sample %lld again or out "
                     "of range", (long long)samples, (long long)block, (long long)p, (long long)at);
        seen[at] = true;
    }
    free(seen);
}

static void test_every_epoch_has_every_sample_once_in_blocks_too(void **state)
{
    (void)state;
    for (int64_t samples = 1; samples < 400; samples++)
        for (int64_t block = 2; block < 40; block += 3)
            assert_bijection(samples, block, 3, samples % 5);
    for (int64_t samples = 1020; samples < 1540; samples += 7)    /* one, two and three windows */
        for (int64_t block = 2; block < 7; block++)
            assert_bijection(samples, block, 4, samples % 7);
    assert_bijection(1000003, 128, 5, 1);
    assert_bijection(1 << 20, 1024, 6, 2);
}

/* At any time WINDOW blocks are being read, and each is finished before others begin. */
static void test_a_window_of_blocks_is_read_at_a_time(void **state)
{
    (void)state;
    enum { BLOCK = 16, BLOCKS = 5 * WINDOW, SAMPLES = BLOCK * BLOCKS + 3 };
    const struct order order = {.seed = 8, .samples = SAMPLES, .block = BLOCK, .window = WINDOW,
        .shuffle = true};
    int *const left = calloc(BLOCKS + 1, sizeof *left);
    int open = 0;
    for (int64_t p = 0; p < SAMPLES; p++) {
        int *const of_block = &left[order_sample(&order, 0, p) / BLOCK];
        open += *of_block == 0;
        (*of_block)++;
        open -= *of_block == BLOCK;
        const bool last = p >= 4 * BLOCK * WINDOW;    /* with the 3 samples left over */
        assert_true(open <= WINDOW + last);
        if (!last && (p + 1) % (BLOCK * WINDOW) == 0)
            assert_int_equal(open, 0);
    }
    free(left);
}

enum { BLOCK = 64, N = BLOCK * 2048 + 17 };    /* eight windows and a bit */

static int64_t *whole_order(uint64_t seed, int64_t epoch)
{
    const struct order order = {.seed = seed, .samples = N, .block = BLOCK, .window = WINDOW,
        .shuffle = true};
    int64_t *const at = malloc(N * sizeof *at);
    assert_non_null(at);
    for (int64_t p = 0; p < N; p++)
        at[p] = order_sample(&order, epoch, p);
    return at;
}

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

/*
 * Of a true shuffle the serial correlation is 0, give or take 1 / sqrt(N). Here two samples in a
 * row are of the same window, that is of one of the same WINDOW blocks, whose mean is off the
 * middle by chance: that adds 1 / WINDOW. So the bound is both, with four standard deviations
 * of each.
 */
static void test_the_serial_correlation_is_that_of_a_shuffle(void **state)
{
    (void)state;
    const double sampling = 4 / sqrt((double)N);
    const double windows = (1 + 4 / sqrt((double)N / (double)(BLOCK * WINDOW))) / (double)WINDOW;
    static const int lags[] = {1, 2, 3, 64, 1000};
    for (uint64_t seed = 0; seed < 6; seed++) {
        int64_t *const at = whole_order(seed, (int64_t)seed);
        for (size_t i = 0; i < sizeof lags / sizeof *lags; i++) {
            const double r = correlation(at, at + lags[i], N - lags[i]);
            if (!(fabs(r) < sampling + windows))
                fail_msg("lag %d: correlation %.5f, bound %.5f", lags[i], r, sampling + windows);
        }
        free(at);
    }
}

/*
 * Pairs in a row out of the same block: of a true shuffle N / blocks = 64, Poisson. Here one in
 * WINDOW, as order.h says: N / 256 = 512, within four standard deviations. Pairs in a row
 * that are neighbours in the file: a block of S in a window of 256 S samples has S - 1 pairs of
 * neighbours, each of which comes to stand side by side with probability 2 / (256 S): 2 (S - 1) /
 * (256 S) a block, in all 2048 blocks 16; the bound is four standard deviations above.
 */
static void test_block_neighbours_are_as_rare_as_promised(void **state)
{
    (void)state;
    for (uint64_t seed = 10; seed < 16; seed++) {
        int64_t *const at = whole_order(seed, 0);
        int same_block = 0, neighbours = 0;
        for (int64_t p = 1; p < N; p++) {
            same_block += at[p] / BLOCK == at[p - 1] / BLOCK;
            neighbours += llabs((long long)(at[p] - at[p - 1])) == 1;
        }
        free(at);
        const double expected = (double)N / (double)WINDOW;
        if (!(fabs(same_block - expected) < 4 * sqrt(expected)) || neighbours >= 32)
            fail_msg("seed %llu: %d pairs of a block, expected %.0f; %d of neighbours",
                     (unsigned long long)seed, same_block, expected, neighbours);
    }
}

/* A part of the data is everywhere in the epoch: chi squared of eighths of the positions against
 * eighths of the samples, counted in blocks, which are what falls at random: 32 a cell. */
static void test_every_stretch_of_an_epoch_has_samples_from_everywhere(void **state)
{
    (void)state;
    enum { PARTS = 8 };    /* a window each */
    for (uint64_t seed = 20; seed < 26; seed++) {
        int64_t *const at = whole_order(seed, 1);
        int64_t counts[PARTS][PARTS] = {{0}};
        const int64_t part = (N + PARTS - 1) / PARTS;
        for (int64_t p = 0; p < N; p++)
            counts[p / part][at[p] / part]++;
        free(at);
        double chi = 0;
        const double mean = (double)N / (double)(PARTS * PARTS * BLOCK);
        for (int i = 0; i < PARTS * PARTS; i++) {
            const double blocks = (double)counts[i / PARTS][i % PARTS] / (double)BLOCK;
            chi += (blocks - mean) * (blocks - mean) / mean;
        }
        /* 7 x 7 degrees of freedom: 0.01 % and 99.99 % quantiles. */
        if (!(chi > 19 && chi < 95))
            fail_msg("seed %llu: chi squared %.1f of 49", (unsigned long long)seed, chi);
    }
}

/* ---- Lanes ---- */

/* All of an epoch, as one source in blocks with lanes. */
static int64_t *whole_blend(int64_t samples, int64_t block, int lanes, uint64_t seed, int64_t epoch)
{
    const struct samples source = {.name = "training", .count = samples, .block = block};
    struct blend blend = blend_of(&source, seed, true);
    int64_t *const at = malloc((size_t)samples * sizeof *at);
    assert_non_null(at);
    blend.lanes = lanes;
    for (int64_t p = 0; p < samples; p++)
        at[p] = blend_at(&blend, epoch, p).number;
    return at;
}

static void test_every_epoch_has_every_sample_once_in_lanes_too(void **state)
{
    (void)state;
    static const int lanes[] = {1, 2, 3, 5, 12, 64, 100, 480, 5000};
    for (size_t l = 0; l < sizeof lanes / sizeof *lanes; l++)
        for (int64_t samples = 1; samples < 3000; samples = samples * 3 / 2 + 1)
            for (int64_t block = 2; block < 80; block *= 3) {
                int64_t *const at = whole_blend(samples, block, lanes[l], 9, samples % 3);
                bool *const seen = calloc((size_t)samples, sizeof *seen);
                for (int64_t p = 0; p < samples; p++) {
                    assert_true(at[p] >= 0 && at[p] < samples && !seen[at[p]]);
                    seen[at[p]] = true;
                }
                free(seen);
                free(at);
            }
}

enum { LANES = 64, LANE_WINDOW = 4 };    /* 256 blocks over all lanes */

/*
 * Of two samples in a row, or any distance that is no multiple of the batch, the serial correlation
 * is 0, give or take 1 / sqrt(N) of sampling, and what the windows' means have by chance: these
 * vary by 1 / LANE_WINDOW of all, and there are blocks / LANE_WINDOW of them. A batch apart two
 * samples are of one lane, hence of one window: 1 / LANE_WINDOW.
 */
static void test_the_serial_correlation_in_lanes_is_as_promised(void **state)
{
    (void)state;
    const double windows = (double)N / (double)(BLOCK * LANE_WINDOW);
    const double bound = 4 / sqrt((double)N) + 4 / LANE_WINDOW / sqrt(windows);
    static const int lags[] = {1, 2, 3, 32, 1000, LANES};
    for (uint64_t seed = 0; seed < 6; seed++) {
        int64_t *const at = whole_blend(N, BLOCK, LANES, seed, (int64_t)seed);
        for (size_t i = 0; i < sizeof lags / sizeof *lags; i++) {
            const double r = correlation(at, at + lags[i], N - lags[i]);
            const double expected = lags[i] % LANES ? 0 : 1 / (double)LANE_WINDOW;
            if (!(fabs(r - expected) < bound))
                fail_msg("lag %d: correlation %.5f, expected %.5f, bound %.5f", lags[i], r,
                         expected, bound);
        }
        free(at);
    }
}

/*
 * Batch for batch lanes are as good as a shuffle among 256 blocks: of the LANES^2 pairs of a batch
 * and the next, one in 256 is of the same block. Within a batch pairs of a block are rarer than of
 * a true shuffle: LANES (LANES - 1) / 2 / blocks.
 */
static void test_batches_in_lanes_share_blocks_as_those_of_a_shuffle_of_256(void **state)
{
    (void)state;
    for (uint64_t seed = 10; seed < 13; seed++) {
        int64_t *const at = whole_blend(N, BLOCK, LANES, seed, 0);
        const int64_t batches = N / LANES;
        double next = 0, within = 0;
        for (int64_t s = 0; s + 1 < batches; s++)
            for (int i = 0; i < LANES; i++)
                for (int j = 0; j < LANES; j++) {
                    const int64_t block = at[s * LANES + i] / BLOCK;
                    next += block == at[(s + 1) * LANES + j] / BLOCK;
                    within += i < j && block == at[s * LANES + j] / BLOCK;
                }
        free(at);
        const double expected = LANES * LANES / 256.0;
        const double of_a_shuffle = (double)(LANES * (LANES - 1) / 2) * (double)BLOCK / (double)N;
        if (!(fabs(next / (double)(batches - 1) - expected) < 0.05 * expected &&
              within / (double)(batches - 1) <= of_a_shuffle))
            fail_msg("seed %llu: %.2f pairs of a batch and the next, expected %.2f; %.2f within, "
                     "at most %.2f", (unsigned long long)seed, next / (double)(batches - 1),
                     expected, within / (double)(batches - 1), of_a_shuffle);
    }
}

/* Blocks of which a rank reads some sample in an epoch, of all sources. */
static int64_t blocks_of_rank(const struct blend *blend, int rank, int ranks)
{
    const int64_t samples = blend_samples(blend), rows = blend->lanes / ranks;
    bool *const touched = calloc((size_t)samples, sizeof *touched);
    int64_t blocks = 0;
    assert_non_null(touched);
    for (int64_t p = 0; p < samples; p++) {
        if (p % blend->lanes / rows != rank)
            continue;
        const struct blend_place at = blend_at(blend, 1, p);
        bool *const block = &touched[at.number - at.sample + at.sample / BLOCK];
        blocks += !*block;
        *block = true;
    }
    free(touched);
    return blocks;
}

/* Its share, and parts of the windows at the two ends of it. Before lanes it was all of them. */
static void test_a_rank_reads_its_own_blocks_and_few_others(void **state)
{
    (void)state;
    const struct samples source = {.name = "training", .count = N, .block = BLOCK};
    struct blend blend = blend_of(&source, 3, true);
    blend.lanes = LANES;
    for (int ranks = 2; ranks <= 8; ranks *= 2)
        for (int rank = 0; rank < ranks; rank++)
            assert_in_range(blocks_of_rank(&blend, rank, ranks), N / BLOCK / ranks - 1,
                            N / BLOCK / ranks + 4 * LANE_WINDOW);
}

/* In a blend a source is gone through in epochs of its own, with each of which lanes may move on by
 * some samples of a round: here one source of three ends within the epoch that is counted. */
static void test_a_rank_reads_its_own_blocks_of_each_source_of_a_blend(void **state)
{
    (void)state;
    static const int64_t counts[] = {N, N / 2, N / 4};
    static const double weights[] = {0.4, 0.4, 0.2};
    struct samples sources[3];
    int64_t blocks = 0;
    for (int k = 0; k < 3; k++) {
        sources[k] = (struct samples){.name = "training", .count = counts[k], .block = BLOCK};
        blocks += counts[k] / BLOCK;
    }
    struct blend blend = blend_of(sources, 3, true);
    blend.count = 3;
    blend.lanes = LANES;
    assert_ok(blend_share(&blend, weights));
    for (int rank = 0; rank < 4; rank++)
        assert_in_range(blocks_of_rank(&blend, rank, 4), blocks / 4, 2 * blocks / 5);
}

/* ---- Blends ---- */

static void make_sources(struct samples *sources, const int64_t *counts, int n)
{
    for (int k = 0; k < n; k++)
        sources[k] = (struct samples){.name = "training", .count = counts[k],
            .block = 1 + k % 3 * 16};
}

static void check_shares(int lanes)
{
    static const int64_t counts[] = {1000, 50, 7777};
    static const double weights[] = {2, 1, 1};
    struct samples sources[3];
    make_sources(sources, counts, 3);
    struct blend blend = blend_of(sources, 5, true);
    blend.count = 3;
    blend.lanes = lanes;
    assert_ok(blend_share(&blend, weights));
    const int64_t period = blend_period(&blend);
    assert_true(period >= BLEND_LEAST_PERIOD && period < BLEND_LEAST_PERIOD + (lanes ? lanes : 1));
    assert_int_equal(lanes ? period % lanes : 0, 0);
    assert_in_range(blend.shares[0], period / 2, period / 2 + 1);
    assert_in_range(blend.shares[1], period / 4, period / 4 + 1);
    assert_int_equal(blend_samples(&blend), 8827);

    int64_t given[3] = {0}, *seen[3];
    for (int k = 0; k < 3; k++)
        seen[k] = calloc((size_t)counts[k], sizeof **seen);
    const int64_t epochs = 10, total = epochs * 8827 / period * period;
    for (int64_t g = 0; g < total; g++) {
        const struct blend_place place = blend_at(&blend, g / 8827, g % 8827);
        int64_t before = 0;
        for (int k = 0; k < place.source; k++)
            before += counts[k];
        assert_int_equal(place.number, before + place.sample);
        assert_true(place.sample >= 0 && place.sample < counts[place.source]);
        seen[place.source][place.sample]++;
        given[place.source]++;
        if ((g + 1) % period == 0)
            for (int k = 0; k < 3; k++)
                assert_int_equal(given[k], (g + 1) / period * blend.shares[k]);
    }
    /* Each sample as often as its source was gone through, give or take the epoch under way. */
    for (int k = 0; k < 3; k++) {
        for (int64_t i = 0; i < counts[k]; i++)
            if (seen[k][i] < given[k] / counts[k] || seen[k][i] > given[k] / counts[k] + 1)
                fail_msg("sample %lld of source %d was given %lld times", (long long)i, k,
                         (long long)seen[k][i]);
        free(seen[k]);
    }
}

static void test_each_source_gets_its_share_and_is_gone_through_in_epochs(void **state)
{
    (void)state;
    static const int lanes[] = {0, 7, 480, 20000};
    for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++)
        check_shares(lanes[i]);
}

/* Every batch has about the shares, not only every period: in steps / lanes * share of tickets that
 * a source has in a row, and two more or less where that does not come out even. */
static void test_every_batch_has_about_the_shares(void **state)
{
    (void)state;
    static const int64_t counts[] = {100000, 100000, 100000};
    static const double weights[] = {0.55, 0.25, 0.2};
    struct samples sources[3];
    make_sources(sources, counts, 3);
    struct blend blend = blend_of(sources, 6, true);
    blend.count = 3;
    blend.lanes = LANES;
    assert_ok(blend_share(&blend, weights));
    for (int64_t step = 0; step < 1000; step++) {
        double given[3] = {0};
        for (int i = 0; i < LANES; i++)
            given[blend_at(&blend, 0, step * LANES + i).source]++;
        for (int k = 0; k < 3; k++)
            assert_true(fabs(given[k] - (double)LANES * weights[k]) <= 2.5);
    }
}

static void test_sources_are_mixed_at_every_place(void **state)
{
    (void)state;
    static const int64_t counts[] = {100000, 100000};
    static const double weights[] = {1, 3};
    struct samples sources[2];
    make_sources(sources, counts, 2);
    struct blend blend = blend_of(sources, 6, true);
    blend.count = 2;
    assert_ok(blend_share(&blend, weights));
    for (int64_t start = 0; start < 64000; start += 256) {
        int first = 0;
        for (int64_t p = start; p < start + 256; p++)
            first += blend_at(&blend, 0, p).source == 0;
        /* 64 of 256, standard deviation at most 6.9: five of them. */
        assert_true(first > 64 - 35 && first < 64 + 35);
    }
}

static void test_weights_become_shares(void **state)
{
    (void)state;
    static const int64_t counts[] = {10, 10, 10};
    struct samples sources[3];
    make_sources(sources, counts, 3);
    struct blend blend = blend_of(sources, 6, true);
    blend.count = 3;
    assert_ok(blend_share(&blend, (const double[]){1e-3, 1e-3, 1e-3}));
    int sum = 0;
    for (int k = 0; k < 3; k++) {
        assert_true(abs(blend.shares[k] - BLEND_LEAST_PERIOD / 3) <= 1);
        sum += blend.shares[k];
    }
    assert_int_equal(sum, BLEND_LEAST_PERIOD);
    assert_fails(blend_share(&blend, (const double[]){1, 1e6, 1e6}), "the weight 1 of input 1");
}

/* What a run that resumes after an update of the program must find again. */
static void test_the_order_in_blocks_never_changes(void **state)
{
    (void)state;
    static const int64_t expected[] = {577163291, 831619043, 255647445, 413141042,
                                       736582208, 794535802, 802831782, 405190535};
    const struct order order = {.seed = 1337, .samples = 1000000007, .block = 128,
        .window = WINDOW, .shuffle = true};
    for (int64_t p = 0; p < 8; p++)
        assert_int_equal(order_sample(&order, p, 100000000 * p), expected[p]);
}

/* The same, of eight epochs. */
static void assert_places(const struct blend *blend, const int64_t *expected)
{
    const int64_t samples = blend_samples(blend);
    for (int64_t p = 0; p < 8; p++)
        assert_int_equal(blend_at(blend, p + 1, samples / 8 * p + 5 * p).number, expected[p]);
}

static void test_the_order_in_lanes_and_of_blends_never_changes(void **state)
{
    (void)state;
    static const int64_t in_lanes[] = {14079, 655196, 499165, 259294, 605294, 869776, 219166,
        54643};
    static const int64_t of_blend[] = {204112, 802762, 1302121, 186188, 348880, 90827, 686898,
        241069};
    const struct samples sources[] = {{.name = "training", .count = 1000003, .block = 128},
                                      {.name = "training", .count = 300007, .block = 512},
                                      {.name = "training", .count = 5003, .block = 1}};
    struct blend blend = blend_of(sources, 1337, true);
    blend.lanes = LANES;
    assert_places(&blend, in_lanes);
    blend.count = 3;
    assert_ok(blend_share(&blend, (const double[]){5, 2, 1}));
    assert_places(&blend, of_blend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_epoch_has_every_sample_once_in_blocks_too),
        cmocka_unit_test(test_a_window_of_blocks_is_read_at_a_time),
        cmocka_unit_test(test_the_serial_correlation_is_that_of_a_shuffle),
        cmocka_unit_test(test_block_neighbours_are_as_rare_as_promised),
        cmocka_unit_test(test_every_stretch_of_an_epoch_has_samples_from_everywhere),
        cmocka_unit_test(test_every_epoch_has_every_sample_once_in_lanes_too),
        cmocka_unit_test(test_the_serial_correlation_in_lanes_is_as_promised),
        cmocka_unit_test(test_batches_in_lanes_share_blocks_as_those_of_a_shuffle_of_256),
        cmocka_unit_test(test_a_rank_reads_its_own_blocks_and_few_others),
        cmocka_unit_test(test_a_rank_reads_its_own_blocks_of_each_source_of_a_blend),
        cmocka_unit_test(test_every_batch_has_about_the_shares),
        cmocka_unit_test(test_each_source_gets_its_share_and_is_gone_through_in_epochs),
        cmocka_unit_test(test_sources_are_mixed_at_every_place),
        cmocka_unit_test(test_weights_become_shares),
        cmocka_unit_test(test_the_order_in_blocks_never_changes),
        cmocka_unit_test(test_the_order_in_lanes_and_of_blends_never_changes),
    };
    return cmocka_run_group_tests_name("blend", tests, NULL, NULL);
}
