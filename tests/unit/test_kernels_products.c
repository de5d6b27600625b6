/*
 * test_kernels_products.c - the kernels on matrix products, against float64; on a GPU also with the
 * products tuned, by which cuBLASLt's epilogues and kernels of ours change places.
 */
#include "kernel_bench.h"

static struct bench_options options;

/* c += a . b with optional transposes, in float64. */
static void multiply(double *c, const float *a, const float *b, int64_t M, int64_t N, int64_t K,
                     bool ta, bool tb)
{
    for (int64_t i = 0; i < M; i++)
        for (int64_t k = 0; k < K; k++) {
            const double x = (double)a[ta ? k * M + i : i * K + k];
            for (int64_t j = 0; j < N; j++)
                c[i * N + j] += x * (double)b[tb ? j * K + k : k * N + j];
        }
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

/* ---- linear ---- */

static void check_linear_forward(struct bench *b)
{
    const int64_t N = b->s.N, K = b->s.C, M = b->s.F;
    const float *x = bench_values(b, N * K, 1), *w = bench_values(b, K * M, 0.5);
    const float *bias = bench_values(b, M, 0.5);
    const void *xa = bench_act(b, x, N * K), *wa = bench_act(b, w, K * M);
    const float *bias_there = bench_put_floats(b, bias, M);
    for (int kind = ACTIVATION_NONE; kind <= ACTIVATION_GELU; kind++) {
        double *e = bench_zeros(b, N * M), *e_pre = bench_zeros(b, N * M);
        multiply(e, x, w, N, M, K, false, false);
        for (int64_t i = 0; i < N * M; i++) {
            e[i] += (double)bias[i % M];
            e_pre[i] = e[i];
            if (kind == ACTIVATION_RELU && e[i] < 0)
                e[i] = 0;
            if (kind == ACTIVATION_GELU)
                e[i] = gelu(e[i]);
        }
        for (int keep = 0; keep < (kind == ACTIVATION_GELU ? 2 : 1); keep++) {
            void *y = bench_new_act(b, N * M), *pre = bench_new_act(b, N * M);
            b->k->linear_forward(b->device, &(struct linear_forward){
                .y = y, .pre = keep ? pre : NULL, .x = xa, .weight = wa, .bias = bias_there,
                .activation = (enum activation)kind, .N = N, .K = (int)K, .M = (int)M});
            check_act(b, "linear_forward", y, e, N * M);
            if (keep)
                check_act(b, "linear_forward pre", pre, e_pre, N * M);
        }
    }
}

/* The gradients of two micro-batches of N rows each, added to what is there. */
static void check_linear_backward(struct bench *b)
{
    enum { BATCHES = 2 };
    const int64_t N = b->s.N, K = b->s.C, M = b->s.F, all = BATCHES * N;
    const float *x = bench_values(b, all * K, 1), *w = bench_values(b, K * M, 0.5);
    const float *dy = bench_values(b, all * M, 1), *before = bench_values(b, K * M, 1);
    const void *wa = bench_act(b, w, K * M);
    float *dw = bench_put_floats(b, before, K * M), *db = bench_put_floats(b, before, M);
    double *edw = bench_zeros(b, K * M), *edb = bench_zeros(b, M);
    for (int64_t i = 0; i < K * M; i++)
        edw[i] = (double)before[i];
    for (int64_t i = 0; i < M; i++)
        edb[i] = (double)before[i];
    multiply(edw, x, dy, K, M, all, true, false);
    for (int64_t i = 0; i < all * M; i++)
        edb[i % M] += (double)dy[i];
    for (int batch = 0; batch < BATCHES; batch++) {
        const float *xb = x + batch * N * K, *dyb = dy + batch * N * M;
        void *dx = bench_new_act(b, N * K);
        double *edx = bench_zeros(b, N * K);
        multiply(edx, dyb, w, N, K, M, false, true);
        for (int64_t i = 0; i < N * K; i++)
            edx[i] = xb[i] > 0 ? edx[i] : 0;
        b->k->linear_backward(b->device, &(struct linear_backward){
            .dx = dx, .dweight = dw, .dbias = db, .dy = bench_act(b, dyb, N * M),
            .x = bench_act(b, xb, N * K), .weight = wa, .x_activation = ACTIVATION_RELU, .N = N,
            .K = (int)K, .M = (int)M});
        check_act(b, "linear_backward dx", dx, edx, N * K);
    }
    check_floats(b, "linear_backward dweight", dw, edw, K * M);
    check_floats(b, "linear_backward dbias", db, edb, M);
}

/* Through a GELU whose input is x: its derivative by central differences. */
static void check_gelu_backward(struct bench *b)
{
    const int64_t N = b->s.N, K = b->s.C, M = b->s.F;
    const float *x = bench_values(b, N * K, 1), *w = bench_values(b, K * M, 0.5);
    const float *dy = bench_values(b, N * M, 1);
    const void *xa = bench_act(b, x, N * K);
    void *dx = bench_new_act(b, N * K);
    double *edx = bench_zeros(b, N * K);
    multiply(edx, dy, w, N, K, M, false, true);
    for (int64_t i = 0; i < N * K; i++)
        edx[i] *= (gelu((double)x[i] + 1e-5) - gelu((double)x[i] - 1e-5)) / 2e-5;
    b->k->linear_backward(b->device, &(struct linear_backward){
        .dx = dx, .dweight = bench_new_floats(b, K * M), .dy = bench_act(b, dy, N * M), .x = xa,
        .x_pre = xa, .weight = bench_act(b, w, K * M), .x_activation = ACTIVATION_GELU, .N = N,
        .K = (int)K, .M = (int)M});
    check_act(b, "linear_backward dx through GELU", dx, edx, N * K);
}

/* ---- classifier ---- */

/* One row of logits in float64: its loss and, in z, softmax - onehot where it counts; whether the
 * target is the largest, and by how much the largest leads. */
static double cross_entropy(double *z, int V, int target, bool counts, bool *right, double *lead)
{
    double max = -INFINITY, second = -INFINITY, sum = 0;
    int best = 0;
    for (int v = 0; v < V; v++) {
        if (z[v] > max) {
            second = max;
            max = z[v];
            best = v;
        } else if (z[v] > second) {
            second = z[v];
        }
    }
    for (int v = 0; v < V; v++)
        sum += exp(z[v] - max);
    const double loss = log(sum) + max - z[target];
    for (int v = 0; v < V; v++)
        z[v] = counts ? exp(z[v] - max) / sum - (v == target) : 0;
    *right = best == target;
    *lead = max - second;
    return loss;
}

/* The same head with its weight as (C, V), and as (V, C) as a tied table has it. */
static void check_classifier(struct bench *b, bool transposed)
{
    const int64_t N = b->s.N, C = b->s.C, V = b->s.V;
    const float *x = bench_values(b, N * C, 1), *w = bench_values(b, C * V, 0.5);
    const float *bias = bench_values(b, V, 1), *before = bench_values(b, C * V, 1);
    const float scale = 4;
    int32_t *targets = bench_host(b, (size_t)N * sizeof *targets);
    uint8_t *mask = bench_host(b, (size_t)N);
    for (int64_t n = 0; n < N; n++) {
        targets[n] = (int32_t)((n * 7 + 1) % V);
        mask[n] = n % 4 != 2;
    }
    const void *xa = bench_act(b, x, N * C), *wa = bench_act(b, w, C * V);
    const float *bias_there = bench_put_floats(b, bias, V);
    void *dx = bench_new_act(b, N * C);
    uint8_t *correct = bench_garbage(b, (size_t)N);
    float *losses = bench_new_floats(b, N), *logits = bench_new_floats(b, N * V);
    float *dw = bench_put_floats(b, before, C * V), *db = bench_put_floats(b, before, V);
    b->k->classifier(b->device, &(struct classifier){
        .losses = losses, .correct = correct, .dx = dx, .dweight = dw, .dbias = db, .x = xa,
        .weight = wa, .bias = bias_there,
        .targets = bench_put(b, targets, (size_t)N * sizeof *targets),
        .mask = bench_put(b, mask, (size_t)N),
        .gradient_scale = transposed ? bench_put_floats(b, &scale, 1) : NULL,
        .transposed = transposed, .N = N, .C = (int)C, .V = (int)V});
    b->k->logits_forward(b->device, &(struct logits_forward){
        .logits = logits, .x = xa, .weight = wa, .bias = bias_there, .transposed = transposed,
        .N = N, .C = (int)C, .V = (int)V});

    double *z = bench_zeros(b, N * V), *el = bench_zeros(b, N), *edx = bench_zeros(b, N * C);
    double *edw = bench_zeros(b, C * V), *edb = bench_zeros(b, V);
    for (int64_t i = 0; i < C * V; i++)
        edw[i] = (double)before[i];    /* gradients are added to what is there */
    for (int64_t v = 0; v < V; v++)
        edb[v] = (double)before[v];
    multiply(z, x, w, N, V, C, false, transposed);
    for (int64_t i = 0; i < N * V; i++)
        z[i] += (double)bias[i % V];
    check_floats(b, "logits_forward", logits, z, N * V);
    const uint8_t *got_correct = bench_get(b, correct, (size_t)N);
    for (int64_t n = 0; n < N; n++) {
        bool right;
        double lead, *dz = z + n * V;
        el[n] = cross_entropy(dz, (int)V, targets[n], mask[n], &right, &lead);
        if (lead > b->bound)    /* nearer ones may be rounded to the other order */
            assert_int_equal(got_correct[n], right);
        for (int64_t v = 0; v < V; v++) {
            dz[v] *= transposed ? (double)scale : 1;
            edb[v] += dz[v];
            for (int64_t c = 0; c < C; c++) {
                const int64_t at = transposed ? v * C + c : c * V + v;
                edx[n * C + c] += dz[v] * (double)w[at];
                edw[at] += dz[v] * (double)x[n * C + c];
            }
        }
    }
    check_floats(b, "classifier losses", losses, el, N);
    check_act(b, "classifier dx", dx, edx, N * C);
    check_floats(b, "classifier dweight", dw, edw, C * V);
    check_floats(b, "classifier dbias", db, edb, V);
}

/* Of equal logits the first is the prediction. */
static void check_first_of_equals(struct bench *b)
{
    const int32_t V = b->s.V, targets[2] = {0, V - 1};
    const uint8_t mask[2] = {1, 1};
    uint8_t *correct = bench_garbage(b, 2);
    b->k->classifier(b->device, &(struct classifier){
        .losses = bench_new_floats(b, 2), .correct = correct,
        .x = bench_act(b, bench_host(b, 2 * sizeof(float)), 2),
        .weight = bench_act(b, bench_values(b, V, 1), V),
        .targets = bench_put(b, targets, sizeof targets), .mask = bench_put(b, mask, 2), .N = 2,
        .C = 1, .V = V});
    const uint8_t *got = bench_get(b, correct, 2);
    assert_int_equal(got[0], 1);
    assert_int_equal(got[1], 0);
}

/* One logit that is none makes the loss none, wherever it stands. */
static void check_nan(struct bench *b)
{
    const int32_t V = b->s.V, target = 0;
    const uint8_t mask = 1;
    const int32_t places[] = {0, V / 2, V - 1};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        float *bias = bench_values(b, V, 1);
        bias[places[i]] = NAN;
        float *losses = bench_new_floats(b, 1);
        b->k->classifier(b->device, &(struct classifier){
            .losses = losses, .correct = bench_garbage(b, 1),
            .x = bench_act(b, bench_host(b, sizeof(float)), 1),
            .weight = bench_act(b, bench_values(b, V, 1), V),
            .bias = bench_put_floats(b, bias, V),
            .targets = bench_put(b, &target, sizeof target), .mask = bench_put(b, &mask, 1),
            .N = 1, .C = 1, .V = V});
        const float *got = bench_get(b, losses, sizeof *got);
        if (!isnan(*got))
            fail_msg("NaN at %d of %d logits: the loss is %g", places[i], V, (double)*got);
    }
}

static void check_layers(struct bench *b)
{
    check_linear_forward(b);
    check_linear_backward(b);
    check_gelu_backward(b);
}

static void check_heads(struct bench *b)
{
    for (int tied = 0; tied < 2; tied++)
        check_classifier(b, tied);
    check_first_of_equals(b);
    check_nan(b);
}

static void check_all(struct bench *b)
{
    check_layers(b);
    check_heads(b);
}

/* Trials run a product twenty times; of the largest head that takes a simulated GPU ten seconds. */
static void check_tuned(struct bench *b)
{
    check_layers(b);
    if (b->s.N * b->s.V < 100000)
        check_heads(b);
}

static void test_products_agree_with_float64(void **state)
{
    (void)state;
    bench_run(&options, check_all);
}

static void test_tuned_products_agree_with_float64(void **state)
{
    (void)state;
    if (!strcmp(options.device, "cpu"))
        skip();
    bench_run_tuned(&options, DTYPE_F32, NULL, 0, check_tuned);
    bench_run_tuned(&options, DTYPE_BF16, NULL, 0, check_tuned);
}

int main(int argc, char **argv)
{
    options = bench_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_agree_with_float64),
        cmocka_unit_test(test_tuned_products_agree_with_float64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
