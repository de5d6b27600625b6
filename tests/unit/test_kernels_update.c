/* test_kernels_update.c - what decides and does a step's update: sums, plan, Adam, copies,
 * hashes. */
#include "kernel_bench.h"

static struct bench_options options;

static void check_sums(struct bench *b)
{
    const int64_t n = b->s.N * b->s.C;
    double expected = 0;
    uint64_t hash = 0;
    float *x = bench_values(b, n, 2);
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        uint64_t z = (uint64_t)i * 0x9E3779B97F4A7C15u + bits;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        hash += z ^ (z >> 31);
        expected += (double)x[i] * (double)x[i];
    }
    double *result = bench_garbage(b, sizeof *result);
    uint64_t *sum = bench_garbage(b, sizeof *sum);
    const float *there = bench_put_floats(b, x, n);
    b->k->sum_of_squares(b->device,
                         &(struct sum_of_squares){.result = result, .x = there, .count = n});
    b->k->checksum(b->device, &(struct checksum){.result = sum, .x = there, .count = n});
    const double got = *(double *)bench_get(b, result, sizeof got);
    assert_true(fabs(got - expected) <= 1e-12 * expected);
    assert_true(*(uint64_t *)bench_get(b, sum, sizeof *sum) == hash);

    x[n / 2] = NAN;
    b->k->sum_of_squares(b->device, &(struct sum_of_squares){
        .result = result, .x = bench_put_floats(b, x, n), .count = n});
    assert_true(isnan(*(double *)bench_get(b, result, sizeof(double))));
}

static void check_add(struct bench *b)
{
    const int64_t n = b->s.N * b->s.C;
    const float *x = bench_values(b, n, 3), *y = bench_values(b, n, 5);
    float *there = bench_put_floats(b, y, n);
    b->k->add(b->device, &(struct add){.y = there, .x = bench_put_floats(b, x, n), .count = n});
    const float *got = bench_get(b, there, (size_t)n * sizeof *got);
    for (int64_t i = 0; i < n; i++)
        assert_true(got[i] == y[i] + x[i]);
}

/* Exactly the sums of the losses' multiples of 2^-24, whatever the order. */
static void check_sum_losses(struct bench *b)
{
    const int64_t N = b->s.N;
    struct loss_sums e = {.loss = 3, .loss_tokens = 5, .metric_loss = 7, .metric_tokens = 11,
                          .correct = 2};
    float *losses = bench_values(b, N, 9);
    uint8_t *masks = bench_host(b, 3 * (size_t)N), *correct = masks + 2 * N;
    struct loss_sums *sums = bench_put(b, &e, sizeof e);
    for (int64_t n = 0; n < N; n++) {
        masks[n] = n % 3 != 1;
        masks[N + n] = n % 4 != 3;
        correct[n] = n % 5 < 2;
        const double loss = rint((double)losses[n] * 0x1p24) * 0x1p-24;
        if (masks[n]) {
            e.loss += loss;
            e.loss_tokens++;
            e.correct += correct[n];
        }
        if (masks[N + n]) {
            e.metric_loss += loss;
            e.metric_tokens++;
        }
    }
    const uint8_t *there = bench_put(b, masks, 3 * (size_t)N);
    b->k->sum_losses(b->device, &(struct sum_losses){
        .sums = sums, .losses = bench_put_floats(b, losses, N), .correct = there + 2 * N,
        .loss_mask = there, .metric_mask = there + N, .N = N});
    const struct loss_sums *got = bench_get(b, sums, sizeof *got);
    assert_true(got->loss == e.loss && got->metric_loss == e.metric_loss);
    assert_true(got->loss_tokens == e.loss_tokens && got->metric_tokens == e.metric_tokens);
    assert_true(got->correct == e.correct);
}

/* Plans one update; state goes in and comes back. The mean is over 50 tokens that count, or all
 * positions of 5 samples. */
static struct update_plan plan_over(struct bench *b, struct update_state *state, double squares,
                                    double clip_norm, int64_t growth_steps, int sample_positions)
{
    const struct step_sums sums = {.losses = {.loss_tokens = 50}, .samples = 5};
    const struct update_rates rates = {.first = 7, .of = {{0.1f, 0.01f}, {0.2f, 0.02f}}};
    struct update_plan *there = bench_garbage(b, sizeof *there);
    struct update_state *state_there = bench_put(b, state, sizeof *state);
    b->k->plan_update(b->device, &(struct plan_update){
        .plan = there, .state = state_there, .squares = bench_put(b, &squares, sizeof squares),
        .sums = bench_put(b, &sums, sizeof sums), .rates = bench_put(b, &rates, sizeof rates),
        .sample_positions = sample_positions, .clip_norm = clip_norm,
        .growth_steps = growth_steps, .scale_divisor = 16});
    *state = *(struct update_state *)bench_get(b, state_there, sizeof *state);
    return *(struct update_plan *)bench_get(b, there, sizeof *there);
}

static struct update_plan plan(struct bench *b, struct update_state *state, double squares,
                               double clip_norm, int64_t growth_steps)
{
    return plan_over(b, state, squares, clip_norm, growth_steps, 0);
}

static void check_plan(struct bench *b)
{
    /* Plain: the norm is sqrt(400) / 50 = 0.4, and is clipped to 0.1. */
    struct update_state s = {.updates = 8, .loss_scale = 1, .gradient_scale = 1};
    struct update_plan p = plan(b, &s, 400, 0.1, 0);
    assert_true(fabs(p.norm - 0.4) < 1e-12 && !p.skip);
    assert_true(fabs((double)p.gradient_scale - 0.25 / 50) < 1e-8);
    assert_true(p.alpha == 0.2f && p.decay == 0.02f && s.updates == 9);
    s.updates = 8;
    p = plan_over(b, &s, 400, 0, 0, 40);    /* over 5 * 40 positions */
    assert_true(fabs(p.norm - 0.1) < 1e-12 && fabs((double)p.gradient_scale - 1.0 / 200) < 1e-8);
    p = plan(b, &s, INFINITY, 0, 0);
    assert_true(p.skip == SKIP_NOT_FINITE && s.updates == 9);
    p = plan(b, &s, 1e78, 0, 0);    /* finite, but its square is infinite in fp32 */
    assert_true(p.skip == SKIP_NOT_FINITE && s.updates == 9);

    /* Scaled: gradients are 4 times too large; a second finite step doubles the scale. */
    s = (struct update_state){.updates = 7, .loss_scale = 64, .finite_steps = 1,
        .gradient_scale = 4};
    p = plan(b, &s, 400, 0, 2);
    assert_true(fabs(p.norm - 0.1) < 1e-12 && !p.skip && p.loss_scale == 64);
    assert_true(fabs((double)p.gradient_scale - 1.0 / 200) < 1e-9);
    assert_true(s.updates == 8 && s.loss_scale == 128 && s.finite_steps == 0);
    assert_true(s.gradient_scale == 8.0f);
    p = plan(b, &s, NAN, 0, 2);    /* and one that is not finite halves it */
    assert_true(p.skip == SKIP_OVERFLOW && s.updates == 8 && s.loss_scale == 64 && s.finite_steps == 0);
    assert_true(s.gradient_scale == 4.0f);
}

/* Against mean and deviation of the last 4 in float64; a spike is skipped, yet enters the
 * window. */
static void check_spikes(struct bench *b)
{
    static const double losses[] = {50, 60, 40, 55, 45, 52, 400, 48, 50};
    enum { STEPS = sizeof losses / sizeof losses[0], WINDOW = 4, SPIKE = 6 };
    struct update_state s = {.updates = 7, .loss_scale = 1, .gradient_scale = 1,
                             .spikes = {.length = WINDOW}};
    for (int i = 0; i < STEPS; i++) {
        const struct step_sums sums = {.losses = {.loss_tokens = 50, .loss = losses[i]}};
        const struct update_rates rates = {.first = s.updates, .of = {{0.1f, 0.01f}}};
        const double squares = 400;
        struct update_plan *there = bench_garbage(b, sizeof *there);
        struct update_state *state_there = bench_put(b, &s, sizeof s);
        b->k->plan_update(b->device, &(struct plan_update){
            .plan = there, .state = state_there, .squares = bench_put(b, &squares, sizeof squares),
            .sums = bench_put(b, &sums, sizeof sums), .rates = bench_put(b, &rates, sizeof rates),
            .scale_divisor = 1, .spike_sigma = 5});
        s = *(struct update_state *)bench_get(b, state_there, sizeof s);
        const struct update_plan p = *(struct update_plan *)bench_get(b, there, sizeof p);

        double mean = 0, squared = 0;
        for (int k = i - WINDOW; k < i && i >= WINDOW; k++)
            mean += losses[k] / 50 / (double)WINDOW;
        for (int k = i - WINDOW; k < i && i >= WINDOW; k++)
            squared += (losses[k] / 50 - mean) * (losses[k] / 50 - mean) / (double)WINDOW;
        const double sigmas = i < WINDOW ? 0 : (losses[i] / 50 - mean) / sqrt(squared);
        assert_true(fabs(p.loss_sigmas - sigmas) < 1e-9 * (1 + fabs(sigmas)));
        assert_true(p.norm_sigmas == 0);    /* it never changes */
        assert_true(p.skip == (i == SPIKE ? SKIP_SPIKE : SKIP_NONE));
        assert_true(s.updates == 8 + i - (i >= SPIKE) && s.spikes.steps == i + 1);
    }
}

static void check_adam(struct bench *b, bool by_squares, bool skip)
{
    const int64_t n = b->s.N * b->s.C;
    const double beta1 = 0.9, beta2 = 0.999;
    float *p = bench_values(b, n, 1), *m = bench_values(b, n, 0.1), *v = bench_values(b, n, 0.1);
    float *g = bench_values(b, n, 20), *g2 = bench_values(b, n, 20);
    for (int64_t i = 0; i < n; i++) {
        v[i] = fabsf(v[i]);
        g2[i] = fabsf(g2[i]);
    }
    const struct update_plan plan = {.gradient_scale = 0.02f, .alpha = 0.3f, .decay = 0.05f,
                                     .skip = skip};
    float *p_there = bench_put_floats(b, p, n), *m_there = bench_put_floats(b, m, n);
    float *v_there = bench_put_floats(b, v, n);
    void *copy = bench_act(b, p, n);
    b->k->adam(b->device, &(struct adam){
        .weights = p_there, .m = m_there, .v = v_there, .copy = b->act == DTYPE_F32 ? NULL : copy,
        .gradient = bench_put_floats(b, g, n), .squares = by_squares ? bench_put_floats(b, g2,
            n) : NULL,
        .plan = bench_put(b, &plan, sizeof plan), .count = n, .decayed = by_squares,
        .epsilon = 1e-3f, .beta1 = beta1, .beta2 = beta2});

    double *ep = bench_zeros(b, n), *em = bench_zeros(b, n), *ev = bench_zeros(b, n);
    for (int64_t i = 0; i < n; i++) {
        const double scale = (double)plan.gradient_scale, gradient = (double)g[i] * scale;
        const double square = by_squares ? (double)g2[i] * scale * scale : gradient * gradient;
        em[i] = (double)m[i] + (gradient - (double)m[i]) * (1 - beta1) * !skip;
        ev[i] = (double)v[i] + (square - (double)v[i]) * (1 - beta2) * !skip;
        ep[i] = (double)p[i];
        if (!skip)
            ep[i] += -(by_squares ? 0.05 : 0) * (double)p[i] -
                     (double)plan.alpha * em[i] / (sqrt(ev[i]) + 1e-3);
    }
    const double bound = b->bound;
    b->bound = 1e-5;    /* the moments and the master copy are fp32 in every table */
    check_floats(b, "adam m", m_there, em, n);
    check_floats(b, "adam v", v_there, ev, n);
    check_floats(b, "adam weights", p_there, ep, n);
    b->bound = bound;
    if (b->act != DTYPE_F32)
        check_act(b, "adam copy", copy, ep, n);
}

static void check_convert(struct bench *b)
{
    const int64_t n = b->s.N * b->s.C + 3;
    float *x = bench_host(b, (size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)bench_uniform(b);
    void *to = bench_new_act(b, n);
    b->k->convert(b->device,
                  &(struct convert){.to = to, .from = bench_put_floats(b, x, n), .count = n});
    const float *got = bench_get_act(b, to, n);
    for (int64_t i = 0; i < n; i++) {
        const float expected = b->act == DTYPE_F32    ? x[i]
                               : b->act == DTYPE_BF16 ? bf16_to_float(bf16_from_float(x[i]))
                                                      : f16_to_float(f16_from_float(x[i]));
        assert_true(got[i] == expected);
    }
}

static void check_all(struct bench *b)
{
    check_sums(b);
    check_sum_losses(b);
    check_add(b);
    check_plan(b);
    check_spikes(b);
    for (int i = 0; i < 3; i++)
        check_adam(b, i == 1, i == 2);
    check_convert(b);
}

static void test_updates_agree_with_float64(void **state)
{
    (void)state;
    bench_run(&options, check_all);
}

int main(int argc, char **argv)
{
    options = bench_arguments(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_updates_agree_with_float64)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
