/* test_sampler.c - distributions, draws and beam steps, alone. */
#include "testing.h"

#include "generate/beam.h"
#include "base/philox.h"
#include "generate/sampler.h"

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

static void test_top_k_keeps_the_lower_id_of_equals(void **state)
{
    (void)state;
    const float logits[] = {0, 1, 0, 1, 1, -2};
    float probabilities[6];
    int order[6];
    struct sampler sampler = sampler_of(SAMPLER_TOP_K);
    sampler.k = 2;
    sampler_distribution(&sampler, logits, 6, probabilities, order);
    const float first_two[] = {0, 0.5f, 0, 0.5f, 0, 0};
    assert_close("two of three equals", probabilities, first_two, 6, 1e-6);

    sampler.k = 4;
    sampler_distribution(&sampler, logits, 6, probabilities, order);
    assert_true(probabilities[0] > 0 && probabilities[2] == 0);

    sampler.k = 100;
    sampler_distribution(&sampler, logits, 6, probabilities, order);
    for (int v = 0; v < 6; v++)
        assert_true(probabilities[v] > 0);
}

/* An entry stays while what stands before it is at most p: 0.25 and 0.5 are, 0.75 is not. */
static void test_top_p_keeps_the_entry_that_crosses(void **state)
{
    (void)state;
    const float logits[] = {3, 3, 3, 3};
    float probabilities[4];
    int order[4];
    struct sampler sampler = sampler_of(SAMPLER_TOP_P);
    sampler.k = 0;
    sampler_distribution(&sampler, logits, 4, probabilities, order);
    const float three[] = {1 / 3.0f, 1 / 3.0f, 1 / 3.0f, 0};
    assert_close("p 0.5 of quarters", probabilities, three, 4, 1e-6);

    sampler.p = 0;
    sampler_distribution(&sampler, logits, 4, probabilities, order);
    const float one[] = {1, 0, 0, 0};
    assert_close("p 0", probabilities, one, 4, 1e-6);

    sampler.p = 1;
    sampler_distribution(&sampler, logits, 4, probabilities, order);
    const float all[] = {0.25f, 0.25f, 0.25f, 0.25f};
    assert_close("p 1", probabilities, all, 4, 1e-6);
}

static void test_greedy_takes_the_first_maximum(void **state)
{
    (void)state;
    const float logits[] = {-1, 5, 2, 5};
    float probabilities[4];
    int order[4];
    const struct sampler sampler = sampler_of(SAMPLER_GREEDY);
    sampler_distribution(&sampler, logits, 4, probabilities, order);
    for (int position = 0; position < 100; position++)
        assert_int_equal(sampler_draw(&sampler, probabilities, 4, 7, position), 1);
}

static void test_extreme_logits_stay_a_distribution(void **state)
{
    (void)state;
    const float logits[] = {3e38f, -3e38f, 3e38f, 0};
    float probabilities[4];
    int order[4];
    struct sampler sampler = sampler_of(SAMPLER_RANDOM);
    sampler_distribution(&sampler, logits, 4, probabilities, order);
    const float expected[] = {0.5f, 0, 0.5f, 0};
    assert_close("huge logits", probabilities, expected, 4, 1e-6);
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

/* Against sorting all candidates; probabilities of few values, so that ties abound. */
static void test_beam_step_takes_the_best_of_all_candidates(void **state)
{
    (void)state;
    enum { BEAMS = 4, V = 9 };
    for (uint64_t trial = 0; trial < 200; trial++) {
        float probabilities[BEAMS * V];
        struct beam beams[BEAMS], next[BEAMS], all[BEAMS * V];
        for (uint64_t i = 0; i < BEAMS * V; i++)
            probabilities[i] = (float)floor(4 * philox_uniform(1, trial, i)) / 4;
        if (trial == 0)
            beam_start(beams, BEAMS);
        for (uint64_t b = 0; trial > 0 && b < BEAMS; b++)
            beams[b] = (struct beam){.score = (float)-floor(2 * philox_uniform(2, trial, b))};
        for (int b = 0; b < BEAMS; b++)
            for (int v = 0; v < V; v++)
                all[b * V + v] = (struct beam){
                    .score = logf(probabilities[b * V + v]) + beams[b].score, .from = b, .token = v,
                };
        qsort(all, BEAMS * V, sizeof all[0], compare_candidates);
        beam_step(beams, probabilities, BEAMS, V, next);
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
        cmocka_unit_test(test_top_k_keeps_the_lower_id_of_equals),
        cmocka_unit_test(test_top_p_keeps_the_entry_that_crosses),
        cmocka_unit_test(test_greedy_takes_the_first_maximum),
        cmocka_unit_test(test_extreme_logits_stay_a_distribution),
        cmocka_unit_test(test_impossible_numbers_are_refused),
        cmocka_unit_test(test_beam_step_takes_the_best_of_all_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
