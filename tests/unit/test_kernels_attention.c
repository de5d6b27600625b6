/* test_kernels_attention.c - attention by its definition, with the gradients of the chain rule. */
#include "kernel_bench.h"

static struct bench_options options;

/* One tensor of queries, keys and values, and which of them are seen. */
struct problem {
    int B, T, NH, HS;
    float scale;
    float *qkv, *dout;
    uint8_t *mask;
    int32_t *first_key;
    struct dropout dropout;
    double *out, *lse, *dqkv;    /* expected */
};

/* Probabilities of one query in p; returns its log-sum-exp, infinity where it sees nothing. */
static double softmax(const struct problem *a, double *p, int64_t row0, int64_t head, int t)
{
    const int64_t W = (int64_t)a->NH * a->HS;
    const float *q = a->qkv + (row0 + t) * 3 * W + head * a->HS;
    double max = -INFINITY, sum = 0;
    for (int j = a->first_key[row0 + t]; j <= t; j++) {
        const float *k = a->qkv + (row0 + j) * 3 * W + W + head * a->HS;
        p[j] = 0;
        for (int c = 0; c < a->HS; c++)
            p[j] += (double)q[c] * (double)k[c] * (double)a->scale;
        if (a->mask[row0 + j] && p[j] > max)
            max = p[j];
    }
    for (int j = a->first_key[row0 + t]; j <= t; j++) {
        p[j] = a->mask[row0 + j] ? exp(p[j] - max) : 0;
        sum += p[j];
    }
    for (int j = a->first_key[row0 + t]; j <= t; j++)
        p[j] = sum > 0 ? p[j] / sum : 0;
    return sum > 0 ? max + log(sum) : INFINITY;
}

static void expect_query(struct problem *a, double *p, double *dp, int b, int head, int t)
{
    const int64_t row0 = (int64_t)b * a->T, W = (int64_t)a->NH * a->HS, at = (int64_t)head * a->HS;
    const int64_t o = (row0 + t) * W + at;
    const float *q = a->qkv + (row0 + t) * 3 * W + at;
    double D = 0;
    a->lse[((int64_t)b * a->NH + head) * a->T + t] = softmax(a, p, row0, head, t);
    for (int j = a->first_key[row0 + t]; j <= t; j++) {
        const int64_t v = (row0 + j) * 3 * W + 2 * W + at;
        const double m = bench_kept(&a->dropout, b, t, head, j);
        dp[j] = 0;
        for (int c = 0; c < a->HS; c++) {
            a->out[o + c] += p[j] * m * (double)a->qkv[v + c];
            dp[j] += (double)a->dout[o + c] * m * (double)a->qkv[v + c];
            a->dqkv[v + c] += p[j] * m * (double)a->dout[o + c];
        }
        D += p[j] * dp[j];
    }
    for (int j = a->first_key[row0 + t]; j <= t; j++) {
        const int64_t k = (row0 + j) * 3 * W + W + at;
        const double ds = p[j] * (dp[j] - D) * (double)a->scale;
        for (int c = 0; c < a->HS; c++) {
            a->dqkv[(row0 + t) * 3 * W + at + c] += ds * (double)a->qkv[k + c];
            a->dqkv[k + c] += ds * (double)q[c];
        }
    }
}

static void expect(struct bench *b, struct problem *a)
{
    double *p = bench_zeros(b, a->T), *dp = bench_zeros(b, a->T);
    for (int i = 0; i < a->B * a->NH; i++)
        for (int t = 0; t < a->T; t++)
            expect_query(a, p, dp, i / a->NH, i % a->NH, t);
}

/* Where keys are masked, some queries see nothing at all; the scale is that of heads that were
 * padded to this size. */
static struct problem make_problem(struct bench *b, bool masked, bool packed, bool dropping)
{
    const int64_t N = b->s.N, W = (int64_t)b->s.NH * b->s.HS;
    struct problem a = {
        .B = (int)(N / b->s.T), .T = b->s.T, .NH = b->s.NH, .HS = b->s.HS,
        .scale = (float)(1 / sqrt(b->s.HS > 3 ? b->s.HS - 3.0 : b->s.HS)),
        .qkv = bench_values(b, N * 3 * W, 1), .dout = bench_values(b, N * W, 1),
        .mask = bench_host(b, (size_t)N), .first_key = bench_host(b, (size_t)N * sizeof(int32_t)),
        .dropout = bench_dropout(b, dropping), .out = bench_zeros(b, N * W),
        .lse = bench_zeros(b, N * b->s.NH), .dqkv = bench_zeros(b, N * 3 * W),
    };
    for (int64_t n = 0; n < N; n++) {
        a.mask[n] = (uint8_t)(!masked || (n % a.T == 0 ? n / a.T % 2 == 0 : n % 5 != 3));
        a.first_key[n] = packed ? (int32_t)(n % a.T / 45 * 45) : 0;    /* texts of 45 tokens in a
                                                                        * row */
    }
    return a;
}

/* The kernels' results beside what is expected of `p`, with what of it is masked and packed. */
static void compare(struct bench *b, const struct problem *p, bool masked, bool packed)
{
    struct problem a = *p;
    const int64_t N = b->s.N, W = (int64_t)a.NH * a.HS;
    const void *qkv = bench_act(b, a.qkv, N * 3 * W), *dout = bench_act(b, a.dout, N * W);
    const uint8_t *mask = masked ? bench_put(b, a.mask, (size_t)N) : NULL;
    const int32_t *first_key =
        packed ? bench_put(b, a.first_key, (size_t)N * sizeof *a.first_key) : NULL;
    void *out = bench_new_act(b, N * W), *dqkv = bench_new_act(b, N * 3 * W);
    float *lse = bench_new_floats(b, N * a.NH);
    b->k->attention_forward(b->device, &(struct attention_forward){
        .out = out, .lse = lse, .qkv = qkv, .key_mask = mask, .first_key = first_key, .B = a.B,
        .T = a.T, .NH = a.NH, .HS = a.HS, .scale = a.scale, .dropout = a.dropout});
    b->k->attention_backward(b->device, &(struct attention_backward){
        .dqkv = dqkv, .dout = dout, .out = out, .lse = lse, .qkv = qkv, .key_mask = mask,
        .first_key = first_key, .B = a.B, .T = a.T, .NH = a.NH, .HS = a.HS, .scale = a.scale,
        .dropout = a.dropout});

    expect(b, &a);
    check_act(b, "attention_forward", out, a.out, N * W);
    check_act(b, "attention_backward", dqkv, a.dqkv, N * 3 * W);
    const float *got_lse = bench_get(b, lse, (size_t)(N * a.NH) * sizeof *got_lse);
    for (int64_t i = 0; i < N * a.NH; i++)
        if (isinf(a.lse[i]))
            assert_true(isinf(got_lse[i]) && got_lse[i] > 0);
        else
            assert_true(fabs((double)got_lse[i] - a.lse[i]) < b->bound * (1 + fabs(a.lse[i])));
}

static void check_attention(struct bench *b, bool masked, bool packed, bool dropping)
{
    const struct problem a = make_problem(b, masked, packed, dropping);
    compare(b, &a, masked, packed);
}

/* Position after position against a cache: what attention over the whole sequence gives. */
static void check_decode(struct bench *b)
{
    struct problem a = make_problem(b, true, false, false);
    const int64_t N = b->s.N, W = (int64_t)a.NH * a.HS, capacity = a.T + 3;
    uint8_t *cache_mask = bench_host(b, (size_t)(a.B * capacity));
    int32_t *first_of_row = bench_host(b, (size_t)a.B * sizeof *first_of_row);
    for (int64_t n = 0; n < N; n++) {
        const int32_t first = (int32_t)(n / a.T % 3), t = (int32_t)(n % a.T);
        cache_mask[n / a.T * capacity + t] = a.mask[n];
        first_of_row[n / a.T] = first;
        a.first_key[n] = first < t ? first : t;
    }
    expect(b, &a);

    const size_t cache_bytes = (size_t)(2 * a.B * W * capacity) * dtype_bytes(b->act);
    void *cache = bench_garbage(b, cache_bytes);
    const uint8_t *mask = bench_put(b, cache_mask, (size_t)(a.B * capacity));
    const int32_t *first = bench_put(b, first_of_row, (size_t)a.B * sizeof *first_of_row);
    float *row = bench_host(b, (size_t)(a.B * 3 * W) * sizeof *row);
    double *expected = bench_zeros(b, a.B * W);
    for (int t = 0; t < a.T; t++) {
        for (int64_t r = 0; r < a.B; r++) {
            const int64_t n = r * a.T + t;
            memcpy(row + r * 3 * W, a.qkv + n * 3 * W, (size_t)(3 * W) * sizeof *row);
            memcpy(expected + r * W, a.out + n * W, (size_t)W * sizeof *expected);
        }
        void *out = bench_new_act(b, a.B * W);
        b->k->attention_decode(b->device, &(struct attention_decode){
            .out = out, .cache = cache, .cache_mask = mask, .first_key = first,
            .qkv = bench_act(b, row, a.B * 3 * W), .B = a.B, .n = 1, .NH = a.NH, .HS = a.HS,
            .scale = a.scale, .capacity = (int)capacity, .position = t});
        if (t >= 3)    /* before that some rows see nothing here and themselves there */
            check_act(b, "attention_decode", out, expected, a.B * W);
    }
}

static void check_all(struct bench *b)
{
    for (int i = 0; i < 4; i++)
        check_attention(b, true, i & 1, i & 2);
    check_attention(b, false, false, false);
    check_decode(b);
}

static void test_attention_agrees_with_float64(void **state)
{
    (void)state;
    bench_run(&options, check_all);
}

static void check_bare(struct bench *b)
{
    check_attention(b, false, false, false);
}

/* Each size is padded to another, or loaded otherwise: all fit the memory that a block of any GPU
 * has. 18 queries are two tiles of fp32. */
static void test_every_head_size_fits(void **state)
{
    (void)state;
    enum { SMALLEST = 8, LARGEST = 128, SIZES = LARGEST - SMALLEST + 1, QUERIES = 18 };
    static struct kernel_limits heads[SIZES];
    for (int i = 0; i < SIZES; i++)
        heads[i] = (struct kernel_limits){.N = QUERIES, .T = QUERIES, .C = SMALLEST + i,
                                          .F = 1, .NH = 1, .HS = SMALLEST + i, .V = 1};
    bench_run_shapes(&options, heads, SIZES, check_bare);
}

/* Where the terms of a sum have one sign, what every step of it loses adds up: by a GPU's tensor cores,
 * which cut off instead of rounding, more than fp32 may. (The simulated ones round.) */
static void check_one_sign(struct bench *b)
{
    struct problem a = make_problem(b, false, false, false);
    const int64_t N = b->s.N, W = (int64_t)a.NH * a.HS;
    for (int64_t i = 0; i < N * 3 * W; i++)
        a.qkv[i] = fabsf(a.qkv[i]);
    for (int64_t i = 0; i < N * W; i++)
        a.dout[i] = fabsf(a.dout[i]);
    compare(b, &a, false, false);
}

static void test_long_rows(void **state)
{
    (void)state;
    static const struct kernel_limits rows[] = {
        {.N = 2048, .T = 2048, .C = 16, .F = 1, .NH = 1, .HS = 16, .V = 1}};
    bench_run_shapes(&options, rows, 1, check_one_sign);
}

/* Masks are about as thin as the rate says, keep the expectation, and differ wherever a coordinate
 * does. */
static void test_dropout_drops_its_share(void **state)
{
    (void)state;
    enum { N = 400, C = 512 };
    const struct dropout d = dropout_at(0.1f, 1, 0, 0, DROPOUT_EMBEDDING, 0, N);
    double sum = 0;
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = 0; c < C; c++)
            sum += bench_kept(&d, 0, n, 0, c);
    /* Each is scale with probability 0.9: deviation sqrt(0.1 / 0.9) of one. */
    assert_true(fabs(sum / (N * C) - 1) < 5 * sqrt(0.1 / 0.9 / (N * C)));
    assert_true(fabs((double)d.scale * (1 - d.threshold / 65536.0) - 1) < 1e-7);

    const struct dropout others[] = {
        dropout_at(0.1f, 2, 0, 0, DROPOUT_EMBEDDING, 0, N),
        dropout_at(0.1f, 1, 1, 0, DROPOUT_EMBEDDING, 0, N),
        dropout_at(0.1f, 1, 0, 1, DROPOUT_EMBEDDING, 0, N),
        dropout_at(0.1f, 1, 0, 0, DROPOUT_ATTENTION, 0, N),
        dropout_at(0.1f, 1, 0, 0, DROPOUT_EMBEDDING, 1, N),
    };
    for (size_t k = 0; k < sizeof others / sizeof others[0]; k++) {
        int differ = 0;    /* two independent masks differ in 18 of 100 places */
        for (int64_t c = 0; c < C; c++)
            differ += bench_kept(&d, 0, 0, 0, c) != bench_kept(&others[k], 0, 0, 0, c);
        assert_in_range(differ, C * 9 / 100, C * 27 / 100);
    }
    const struct dropout second = dropout_at(0.1f, 1, 0, 0, DROPOUT_EMBEDDING, 6, N);
    for (int64_t c = 0; c < C; c++)    /* row 7 of one rank is row 1 of the next */
        assert_true(bench_kept(&d, 7, 3, 0, c) == bench_kept(&second, 1, 3, 0, c));
}

int main(int argc, char **argv)
{
    options = bench_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_agrees_with_float64),
        cmocka_unit_test(test_every_head_size_fits),
        cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_dropout_drops_its_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
