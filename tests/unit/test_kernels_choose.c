/*
 * test_kernels_choose.c - which ids the kernels choose: their probabilities against float64, then
 * cuts, draws and candidates, by those very probabilities, against sorting and adding up; and a
 * GPU's ids against the CPU's.
 */
#include "choose_twin.h"

#include <float.h>
#include <limits.h>

static struct bench_options options;

/* A CPU beside the device that is tried. */
static struct {
    struct device *device;
    const struct kernels *k;
} twin;

/* Logits of several kinds. EQUAL ones have the same p on every device; TIES the same order. */
enum { EVEN, EQUAL, TIES, FAR_APART, RISING, FALLING, KINDS };
static float *logits_of(struct bench *b, int rows, int V, int kind)
{
    float *x = bench_host(b, (size_t)rows * (size_t)V * sizeof *x);
    for (int64_t i = 0; i < (int64_t)rows * V; i++) {
        const double u = bench_uniform(b), v = bench_uniform(b);
        const double of[KINDS] = {
            4 * u + 4 * u * v, -2, rint(6 * u) / 2, 60 * u * u * u,
            (double)(i % V) / V, -5.0 * (double)(i % V) / V};
        x[i] = (float)of[kind];
    }
    return x;
}

/* ---- draws ---- */

/* One call in host memory, and what came of it. */
struct try {
    int B, V, ids, most, kind;
    float temperature, mass;
    const float *logits;
    double *uniforms;
    const int32_t *chosen;
    const float *probabilities;
};

static void run_draw(struct bench *b, struct try *t)
{
    const size_t cells = (size_t)t->B * (size_t)t->ids;
    const struct draw draw = {
        .chosen = bench_garbage(b, (size_t)t->B * sizeof(int32_t)),
        .probabilities = bench_garbage(b, cells * sizeof(float)),
        .logits = bench_put_floats(b, t->logits, (int64_t)t->B * t->V),
        .uniforms = bench_put(b, t->uniforms, (size_t)t->B * sizeof *t->uniforms),
        .B = t->B, .V = t->V, .ids = t->ids, .temperature = t->temperature, .most = t->most,
        .mass = t->mass,
    };
    b->k->draw(b->device, &draw);
    t->chosen = bench_get(b, draw.chosen, (size_t)t->B * sizeof *t->chosen);
    t->probabilities = bench_get(b, draw.probabilities, cells * sizeof(float));
}

static struct try run_twin(struct bench *b, const struct try *t, int most)
{
    struct try out = *t;
    int32_t *chosen = bench_host(b, (size_t)t->B * sizeof *chosen);
    float *probabilities = bench_host(b, (size_t)t->B * (size_t)t->ids * sizeof *probabilities);
    twin.k->draw(twin.device, &(struct draw){
        .chosen = chosen, .probabilities = probabilities, .logits = t->logits,
        .uniforms = t->uniforms, .B = t->B, .V = t->V, .ids = t->ids,
        .temperature = t->temperature, .most = most, .mass = t->mass});
    assert_ok(device_check(twin.device));
    out.chosen = chosen;
    out.probabilities = probabilities;
    return out;
}

static struct drawn drawn_of(const struct try *t, const struct try *whole, int r)
{
    const int64_t at = (int64_t)r * t->ids;
    return (struct drawn){.whole = whole->probabilities + at, .p = t->probabilities + at,
                          .id = t->chosen[r]};
}

static void check_twin(struct bench *b, const struct try *t, const struct try *whole)
{
    const struct try of_twin = run_twin(b, t, t->most), whole_of_twin = run_twin(b, t, 0);
    for (int r = 0; r < t->B; r++)
        if (t->uniforms[r] >= 0)
            check_draw_of_two(b, &(struct draw_of_two){
                .got = drawn_of(t, whole, r), .twin = drawn_of(&of_twin, &whole_of_twin, r),
                .ids = t->ids, .most = t->most, .mass = t->mass, .uniform = t->uniforms[r],
                .exact = t->kind == EQUAL, .exact_order = t->kind == TIES});
}

/* Softmax in float64 of a row's first ids. */
static void check_whole(struct bench *b, const struct try *t, int r)
{
    const float *x = t->logits + (int64_t)r * t->V;
    double *e = bench_zeros(b, t->ids), max = -INFINITY, sum = 0;
    float *expected = bench_host(b, (size_t)t->ids * sizeof *expected);
    for (int v = 0; v < t->ids; v++)
        max = fmax(max, (double)(x[v] / t->temperature));
    for (int v = 0; v < t->ids; v++)
        sum += e[v] = exp((double)(x[v] / t->temperature) - max);
    for (int v = 0; v < t->ids; v++)
        expected[v] = (float)(e[v] / sum);
    assert_close("probabilities", t->probabilities + (int64_t)r * t->ids, expected, t->ids, 1e-5);
}

/* p, whole as the device had it, cut by sorting it; how many stay. */
static int cut(struct bench *b, float *p, const struct try *t)
{
    const struct entry *e = sorted(b, p, t->ids);
    double sum = 0;
    int n = 0;
    memset(p, 0, (size_t)t->ids * sizeof *p);
    for (; n < t->ids && n < t->most && (n == 0 || (float)sum <= t->mass); n++)
        sum += (double)e[n].value;
    for (int i = 0; i < n; i++)
        p[e[i].id] = e[i].value / (float)sum;
    return n;
}

/* The row's id must be the one whose piece of the sum holds the point; its neighbour may be where
 * rounding of the sums could move the point. */
static void check_drawn(const float *p, const struct try *t, int r)
{
    double total = 0, before = 0;
    const int id = t->chosen[r];
    assert_in_range(id, 0, t->ids - 1);
    for (int v = 0; v < t->ids; v++) {
        before += v < id ? (double)p[v] : 0;
        total += (double)p[v];
    }
    const double point = total * t->uniforms[r];
    assert_true(p[id] > 0);
    if (!(before - 1e-9 <= point && point <= before + (double)p[id] + 1e-9))
        fail_msg("id %d holds %.12g to %.12g, the point is %.12g", id, before,
                 before + (double)p[id], point);
}

static void check_draw(struct bench *b, struct try *t)
{
    struct try whole = *t;
    whole.most = 0;
    run_draw(b, t);
    run_draw(b, &whole);
    for (int r = 0; r < t->B; r++) {
        float *const p = bench_host(b, (size_t)t->ids * sizeof *p);
        if (t->uniforms[r] < 0) {
            assert_int_equal(t->chosen[r], 0);
            continue;
        }
        check_whole(b, &whole, r);
        memcpy(p, whole.probabilities + (int64_t)r * t->ids, (size_t)t->ids * sizeof *p);
        if (t->most > 0) {
            const int kept = cut(b, p, t);
            const float *got = t->probabilities + (int64_t)r * t->ids;
            for (int v = 0; v < t->ids; v++)
                if ((got[v] > 0) != (p[v] > 0) || fabsf(got[v] - p[v]) > 2 * FLT_EPSILON * p[v])
                    fail_msg("%d ids, most %d, mass %g: %d stay, but id %d has %.9g, expected %.9g",
                             t->ids, t->most, (double)t->mass, kept, v, (double)got[v],
                             (double)p[v]);
        }
        check_drawn(p, t, r);
    }
    check_twin(b, t, &whole);
}

static int pick(struct bench *b, int n)
{
    return (int)((bench_uniform(b) + 1) / 2 * n);
}

static void check_draws(struct bench *b, int V, int kind)
{
    enum { B = 3 };
    const int counts[] = {0, 1, 2, V / 3 + 1, V > 1 ? V - 1 : 1, V, V + 5, INT_MAX};
    const float masses[] = {INFINITY, INFINITY, 0, 0.1f, 0.5f, 0.9f, 0.999f, 1};
    const float temperatures[] = {1, 1, 0.7f, 3, 1e-6f, 1e6f};
    double *uniforms = bench_host(b, B * sizeof *uniforms);
    struct try t = {
        .B = B, .V = V, .ids = pick(b, 2) ? V : V / 2 + 1, .most = counts[pick(b, 8)], .kind = kind,
        .temperature = temperatures[pick(b, 6)], .logits = logits_of(b, B, V, kind),
        .uniforms = uniforms,
    };
    t.mass = t.most > 0 ? masses[pick(b, 8)] : INFINITY;
    uniforms[0] = (double[]){-1, 0, 1 - 0x1p-53}[pick(b, 3)];
    uniforms[1] = (bench_uniform(b) + 1) / 2;
    uniforms[2] = (bench_uniform(b) + 1) / 2;
    check_draw(b, &t);
}

/* Which ids of a few logits stay, as a mask, and which is drawn at the end of them. */
static void check_known(struct bench *b, const float *logits, int V, int most, float mass,
                        unsigned stay, int last)
{
    double uniform = 0.999999;
    struct try t = {.B = 1, .V = V, .ids = V, .most = most, .mass = mass, .temperature = 1,
                    .logits = logits, .uniforms = &uniform};
    run_draw(b, &t);
    for (int v = 0; v < V; v++)
        assert_int_equal(t.probabilities[v] > 0, stay >> v & 1);
    assert_int_equal(*t.chosen, last);
}

static void check_known_cuts(struct bench *b)
{
    const float ties[] = {0, 1, 0, 1, 1, -2}, even[] = {3, 3, 3, 3}, peaks[] = {-1, 5, 2, 5};
    const float huge[] = {3e38f, -3e38f, 3e38f, 0}, one[] = {-7};
    check_known(b, ties, 6, 2, INFINITY, 0x0a, 3);
    check_known(b, ties, 6, 4, INFINITY, 0x1b, 4);
    check_known(b, ties, 6, 100, INFINITY, 0x3f, 5);
    check_known(b, even, 4, INT_MAX, 0.5f, 0x7, 2);    /* 0.25 and 0.5 are at most 0.5 */
    check_known(b, even, 4, INT_MAX, 0, 0x1, 0);
    check_known(b, even, 4, INT_MAX, 1, 0xf, 3);
    check_known(b, even, 4, 2, 0.9f, 0x3, 1);
    check_known(b, peaks, 4, 1, INFINITY, 0x2, 1);
    check_known(b, huge, 4, 0, INFINITY, 0x5, 2);
    check_known(b, one, 1, 0, INFINITY, 0x1, 0);
    check_known(b, one, 1, 5, 0.5f, 0x1, 0);
}

/* ---- candidates ---- */

static void check_largest(struct bench *b, int V, int ids, int k, bool by_score, int kind)
{
    enum { B = 2, ROWS = 3 };
    const float *logits = logits_of(b, ROWS, V, kind), scores[B] = {-3.25f, -1e9f};
    const int32_t rows[B] = {2, 0};
    const float *logits_there = bench_put_floats(b, logits, ROWS * (int64_t)V);
    struct largest a = {
        .chosen = bench_garbage(b, (size_t)(B * k) * sizeof(int32_t)),
        .values = bench_garbage(b, (size_t)(B * k) * sizeof(float)),
        .all = bench_garbage(b, (size_t)(B * ids) * sizeof(float)), .logits = logits_there,
        .rows = by_score ? NULL : bench_put(b, rows, sizeof rows),
        .scores = by_score ? bench_put_floats(b, scores, B) : NULL, .B = B, .V = V, .ids = ids,
        .k = k, .temperature = 1.5f};
    b->k->largest(b->device, &a);
    const int32_t *chosen = bench_get(b, a.chosen, (size_t)(B * k) * sizeof *chosen);
    const float *values = bench_get(b, a.values, (size_t)(B * k) * sizeof *values);
    const float *all = bench_get(b, a.all, (size_t)(B * ids) * sizeof *all);
    for (int r = 0; r < B; r++) {
        const float *x = logits + (int64_t)(by_score ? r : rows[r]) * V, *mine = all + r * ids;
        double sum = 0, max = -INFINITY;
        for (int v = 0; v < ids; v++)
            max = fmax(max, (double)x[v] / 1.5);
        for (int v = 0; v < ids; v++)
            sum += exp((double)x[v] / 1.5 - max);
        for (int v = 0; v < ids; v++) {
            const double log_p = (double)x[v] / 1.5 - max - log(sum);
            const double e = by_score ? log_p + (double)scores[r] : exp(log_p);
            assert_true(fabs((double)mine[v] - e) <= 1e-5 * (by_score ? fabs(e) + 1 : 1));
        }
        const struct entry *best = sorted(b, mine, ids);
        for (int i = 0; i < k; i++)
            if (chosen[r * k + i] != best[i].id || values[r * k + i] != best[i].value)
                fail_msg("largest of %d, %d of %d: id %d (%.9g), expected %d (%.9g)", ids, i, k,
                         chosen[r * k + i], (double)values[r * k + i], best[i].id,
                         (double)best[i].value);
    }
    a.chosen = bench_host(b, (size_t)(B * k) * sizeof(int32_t));
    a.values = bench_host(b, (size_t)(B * k) * sizeof(float));
    a.all = bench_host(b, (size_t)(B * ids) * sizeof(float));
    a.logits = logits;
    a.rows = by_score ? NULL : rows;
    a.scores = by_score ? scores : NULL;
    twin.k->largest(twin.device, &a);
    struct largest p = a;
    p.chosen = bench_host(b, (size_t)(B * k) * sizeof(int32_t));
    p.scores = NULL;
    twin.k->largest(twin.device, &p);
    for (int r = 0; r < B; r++)
        check_largest_of_two(b, &(struct largest_of_two){
            .chosen = chosen + r * k, .twin_chosen = a.chosen + r * k, .values = values + r * k,
            .all = all + r * ids, .twin_p = p.all + r * ids,
            .score = by_score ? &scores[r] : NULL, .ids = ids, .k = k,
            .exact_order = kind == EQUAL || kind == TIES});
}

/* ---- what is no distribution ---- */

static void check_not_finite(struct bench *b)
{
    enum { B = 6, V = 70, IDS = 65 };
    float *x = logits_of(b, B, V, EVEN);
    double uniforms[B] = {0.5, 0.5, 0.5, 0.5, -1, 0.5};
    x[0 * V + 3] = NAN;
    x[2 * V + 69] = INFINITY;    /* behind the ids that may be chosen */
    x[3 * V] = -INFINITY;
    x[4 * V + 64] = NAN;         /* in a row that draws nothing */
    x[5 * V + 7] = 1e38f;        /* infinite over the temperature */
    struct try t = {.B = B, .V = V, .ids = IDS, .most = 3, .mass = INFINITY, .temperature = 0.1f,
                    .logits = x, .uniforms = uniforms};
    run_draw(b, &t);
    for (int r = 0; r < B; r++)
        assert_true((t.chosen[r] == NOT_FINITE) == (r != 1));
    int32_t *chosen = bench_garbage(b, B * 2 * sizeof *chosen);
    b->k->largest(b->device, &(struct largest){
        .chosen = chosen, .values = bench_new_floats(b, B * 2),
        .all = bench_new_floats(b, B * IDS), .logits = bench_put_floats(b, x, B * V), .B = B,
        .V = V, .ids = IDS, .k = 2, .temperature = 0.1f});
    const int32_t *got = bench_get(b, chosen, B * 2 * sizeof *chosen);
    for (int r = 0; r < B; r++)
        assert_true((got[r * 2] == NOT_FINITE) == (r != 1));
}

/* Activations have no part in this: one precision is tried at all sizes, the others at one. */
static void check_all(struct bench *b)
{
    const int V = b->s.V;
    const bool first = b->act == DTYPE_F32 && b->bound <= 1e-5;
    if (first && V == 5) {
        check_known_cuts(b);
        check_not_finite(b);
    }
    for (int kind = 0; kind < KINDS && (first || V == 334); kind++) {
        for (int i = 0; i < 4; i++)
            check_draws(b, V, kind);
        const int ids = kind % 2 ? V : V / 2 + 1, k = kind % 3 ? pick(b, ids) + 1 : ids;
        check_largest(b, V, ids, k, kind % 2, kind);
    }
}

static void test_choices_agree_with_sorting(void **state)
{
    (void)state;
    bench_run(&options, check_all);
}

/* GPT-2's vocabulary, and one id. */
static void check_sizes(struct bench *b)
{
    const int V = 50257;
    if (b->act != DTYPE_F32 || b->bound > 1e-5 || b->s.V != 5)
        return;
    struct kernel_limits limits = b->s;
    limits.V = V;
    assert_ok(b->k->reserve(b->device, &limits));
    for (int kind = 0; kind < KINDS; kind++) {
        double uniform = (bench_uniform(b) + 1) / 2;
        struct try t = {.B = 1, .V = V, .ids = V, .kind = kind,
                        .most = kind <= TIES ? INT_MAX : pick(b, V) + 2,
                        .mass = kind == RISING ? INFINITY : (float)(bench_uniform(b) + 1) / 2,
                        .temperature = 1, .logits = logits_of(b, 1, V, kind),
                        .uniforms = &uniform};
        check_draw(b, &t);
    }
    check_largest(b, V, V, LARGEST_MOST, true, EVEN);
    check_largest(b, V, V - 3, 5, false, TIES);
    check_draws(b, 1, EVEN);
    check_largest(b, 1, 1, 1, true, EVEN);
}

static void test_large_vocabularies_and_single_ids(void **state)
{
    (void)state;
    bench_run(&options, check_sizes);
}

int main(int argc, char **argv)
{
    options = bench_arguments(argc, argv);
    assert_ok(device_open(&twin.device, &(struct device_options){.kind = "cpu"}));
    assert_ok(kernels_for(&twin.k, twin.device, DTYPE_F32));
    assert_ok(twin.k->reserve(twin.device, &(struct kernel_limits){
        .N = 1, .T = 1, .C = 1, .F = 1, .NH = 1, .HS = 1, .V = 50257}));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choices_agree_with_sorting),
        cmocka_unit_test(test_large_vocabularies_and_single_ids),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_close(twin.device);
    return failed;
}
