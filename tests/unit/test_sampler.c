/* test_sampler.c - random numbers, samplers' numbers and beam steps, alone. */
#include "testing.h"

#include "generate/beam.h"
#include "base/philox.h"
#include "generate/sampler.h"

#include <limits.h>

static struct sampler sampler_of(enum sampler_kind kind)
{
    return (struct sampler){.kind = kind, .k = 3, .p = 0.5, .beams = 3, .temperature = 1};
}

/* Known answers of the authors' Random123 library (kat_vectors, philox4x32 10). */
static void test_philox_gives_the_published_numbers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t out[4];
        philox4x32(cases[i].counter, cases[i].key, out);
        assert_memory_equal(out, cases[i].expected, sizeof out);
    }
}

static void test_seed_row_and_position_each_change_the_draw(void **state)
{
    (void)state;
    const double at = philox_uniform(1, 2, 3);
    assert_true(at == philox_uniform(1, 2, 3));
    assert_true(at != philox_uniform(2, 2, 3));
    assert_true(at != philox_uniform(1, 3, 3));
    assert_true(at != philox_uniform(1, 2, 4));
    assert_true(at != philox_uniform(1, 3, 2));
    assert_true(philox_uniform(1ull << 40, 0, 0) != philox_uniform(0, 0, 0));
    assert_true(philox_uniform(0, 1ull << 40, 0) != philox_uniform(0, 0, 0));
    assert_true(philox_uniform(0, 0, 1ull << 40) != philox_uniform(0, 0, 0));
}

/* What the kernel is asked for; that it does so is test_kernels_choose's. */
static void test_each_kind_cuts_what_it_says(void **state)
{
    (void)state;
    static const struct {
        enum sampler_kind kind;
        int k, most;
        float mass;
    } cases[] = {
        {SAMPLER_GREEDY, 3, 1, INFINITY},     {SAMPLER_RANDOM, 3, 0, INFINITY},
        {SAMPLER_TOP_K, 3, 3, INFINITY},      {SAMPLER_TOP_P, 0, INT_MAX, 0.5f},
        {SAMPLER_TOP_P, 4, 4, 0.5f},          {SAMPLER_BEAM, 3, 0, INFINITY},
        {SAMPLER_CONTRASTIVE, 3, 0, INFINITY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sampler sampler = sampler_of(cases[i].kind);
        int most;
        float mass;
        sampler.k = cases[i].k;
        sampler_cut(&sampler, &most, &mass);
        assert_int_equal(most, cases[i].most);
        assert_true(mass == cases[i].mass);
    }
}

static void test_impossible_numbers_are_refused(void **state)
{
    (void)state;
    enum sampler_kind kind;
    assert_ok(sampler_parse(&kind, "top_p"));
    assert_int_equal(kind, SAMPLER_TOP_P);
    assert_fails(sampler_parse(&kind, "topk"), "greedy, random, top_k, top_p, beam or contrastive");

    struct sampler sampler = sampler_of(SAMPLER_TOP_K);
    assert_ok(sampler_check(&sampler));
    sampler.k = 0;
    assert_fails(sampler_check(&sampler), "k is 0");
    sampler.kind = SAMPLER_TOP_P;
    assert_ok(sampler_check(&sampler));
    sampler.p = 1.5;
    assert_fails(sampler_check(&sampler), "p is 1.5");
    sampler.kind = SAMPLER_BEAM;
    sampler.beams = 0;
    assert_fails(sampler_check(&sampler), "beams is 0");
    sampler.beams = 1;
    sampler.temperature = 0;
    assert_fails(sampler_check(&sampler), "temperature is 0");
    sampler.temperature = (double)NAN;
    assert_fails(sampler_check(&sampler), "temperature");
}

static int compare_candidates(const void *a, const void *b)
{
    const struct beam *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->from != y->from)
        return x->from - y->from;
    return x->token - y->token;
}

/* Against sorting all candidates; scores of few values, so that ties abound. */
static void test_beam_step_takes_the_best_of_all_candidates(void **state)
{
    (void)state;
    enum { BEAMS = 4, MOST = 9 };
    for (uint64_t trial = 0; trial < 200; trial++) {
        const int V = trial % 2 ? MOST : 3, k = V < BEAMS ? V : BEAMS;
        struct beam next[BEAMS], all[BEAMS * MOST], one[MOST];
        int32_t tokens[BEAMS * BEAMS];
        float scores[BEAMS * BEAMS];
        for (int b = 0; b < BEAMS; b++) {
            for (int v = 0; v < V; v++) {
                const uint64_t i = (uint64_t)(b * V + v);
                one[v] = (struct beam){
                    .score = (float)-floor(6 * philox_uniform(1, trial, i)), .from = b, .token = v};
                all[i] = one[v];
            }
            qsort(one, (size_t)V, sizeof one[0], compare_candidates);
            for (int i = 0; i < k; i++) {
                tokens[b * k + i] = one[i].token;
                scores[b * k + i] = one[i].score;
            }
        }
        qsort(all, (size_t)(BEAMS * V), sizeof all[0], compare_candidates);
        beam_step(tokens, scores, BEAMS, k, next);
        for (int b = 0; b < BEAMS; b++) {
            assert_true(next[b].score == all[b].score);
            assert_int_equal(next[b].from, all[b].from);
            assert_int_equal(next[b].token, all[b].token);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_gives_the_published_numbers),
        cmocka_unit_test(test_seed_row_and_position_each_change_the_draw),
        cmocka_unit_test(test_each_kind_cuts_what_it_says),
        cmocka_unit_test(test_impossible_numbers_are_refused),
        cmocka_unit_test(test_beam_step_takes_the_best_of_all_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
