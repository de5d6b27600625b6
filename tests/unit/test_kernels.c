/* test_kernels.c - the kernels that work row by row, and those on matrix products, against
 * float64. */
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

static void check_linear_backward(struct bench *b)
{
    const int64_t N = b->s.N, K = b->s.C, M = b->s.F;
    const float *x = bench_values(b, N * K, 1), *w = bench_values(b, K * M, 0.5);
    const float *dy = bench_values(b, N * M, 1), *before = bench_values(b, K * M, 1);
    const void *xa = bench_act(b, x, N * K), *wa = bench_act(b, w, K * M);
    const void *dya = bench_act(b, dy, N * M);
    void *dx = bench_new_act(b, N * K);
    float *dw = bench_put_floats(b, before, K * M), *db = bench_put_floats(b, before, M);
    double *edx = bench_zeros(b, N * K), *edw = bench_zeros(b, K * M), *edb = bench_zeros(b, M);
    multiply(edx, dy, w, N, K, M, false, true);
    for (int64_t i = 0; i < N * K; i++)
        edx[i] = x[i] > 0 ? edx[i] : 0;
    for (int64_t i = 0; i < K * M; i++)    /* gradients add to what is there */
        edw[i] = (double)before[i];
    for (int64_t i = 0; i < M; i++)
        edb[i] = (double)before[i];
    multiply(edw, x, dy, K, M, N, true, false);
    for (int64_t i = 0; i < N * M; i++)
        edb[i % M] += (double)dy[i];
    b->k->linear_backward(b->device, &(struct linear_backward){
        .dx = dx, .dweight = dw, .dbias = db, .dy = dya, .x = xa, .weight = wa,
        .x_activation = ACTIVATION_RELU, .N = N, .K = (int)K, .M = (int)M});
    check_act(b, "linear_backward dx", dx, edx, N * K);
    check_floats(b, "linear_backward dweight", dw, edw, K * M);
    check_floats(b, "linear_backward dbias", db, edb, M);

    /* The same product through a GELU whose input is x: its derivative by central differences. */
    edx = bench_zeros(b, N * K);
    multiply(edx, dy, w, N, K, M, false, true);
    for (int64_t i = 0; i < N * K; i++)
        edx[i] *= (gelu((double)x[i] + 1e-5) - gelu((double)x[i] - 1e-5)) / 2e-5;
    b->k->linear_backward(b->device, &(struct linear_backward){
        .dx = dx, .dweight = dw, .dy = dya, .x = xa, .x_pre = xa, .weight = wa,
        .x_activation = ACTIVATION_GELU, .N = N, .K = (int)K, .M = (int)M});
    check_act(b, "linear_backward dx through GELU", dx, edx, N * K);
}

/* ---- layer norm ---- */

/* One row in float64: (sum - mean) * rstd in xhat; returns rstd. */
static double normalize(double *xhat, const double *sum, int64_t C, double epsilon, double *mean)
{
    double v = 0;
    *mean = 0;
    for (int64_t c = 0; c < C; c++)
        *mean += sum[c] / (double)C;
    for (int64_t c = 0; c < C; c++)
        v += (sum[c] - *mean) * (sum[c] - *mean) / (double)C;
    const double rstd = 1 / sqrt(v + epsilon);
    for (int64_t c = 0; c < C; c++)
        xhat[c] = (sum[c] - *mean) * rstd;
    return rstd;
}

static void check_layernorm(struct bench *b, bool dropping)
{
    const int64_t N = b->s.N, C = b->s.C;
    const struct dropout dropout = bench_dropout(b, dropping);
    const double epsilon = 1e-5;
    const float *x = bench_values(b, N * C, 1), *delta = bench_values(b, N * C, 1);
    const float *w = bench_values(b, C, 1), *bias = bench_values(b, C, 1);
    const float *dy = bench_values(b, N * C, 1), *residual = bench_values(b, N * C, 1);
    const void *dya = bench_act(b, dy, N * C);
    const float *w_there = bench_put_floats(b, w, C);
    void *y = bench_new_act(b, N * C), *sum = bench_new_act(b, N * C);
    void *dsum = bench_new_act(b, N * C), *ddelta = bench_new_act(b, N * C);
    float *mean = bench_new_floats(b, N), *rstd = bench_new_floats(b, N);
    float *dw = bench_put_floats(b, w, C), *db = bench_put_floats(b, bias, C);
    b->k->layernorm_forward(b->device, &(struct layernorm_forward){
        .y = y, .sum = sum, .mean = mean, .rstd = rstd, .x = bench_act(b, x, N * C),
        .delta = bench_act(b, delta, N * C), .weight = w_there,
        .bias = bench_put_floats(b, bias, C), .N = N, .C = (int)C, .epsilon = (float)epsilon,
        .dropout = dropout});
    b->k->layernorm_backward(b->device, &(struct layernorm_backward){
        .dsum = dsum, .ddelta = ddelta, .dweight = dw, .dbias = db, .dy = dya, .dy_more = dya,
        .dresidual = dropping ? bench_act(b, residual, N * C) : NULL, .sum = sum, .mean = mean,
        .rstd = rstd, .weight = w_there, .N = N, .C = (int)C, .dropout = dropout});

    double *ey = bench_zeros(b, N * C), *eds = bench_zeros(b, N * C), *edd = bench_zeros(b, N * C);
    double *es = bench_zeros(b, N * C), *em = bench_zeros(b, N), *er = bench_zeros(b, N);
    double *edw = bench_zeros(b, C), *edb = bench_zeros(b, C), *xhat = bench_zeros(b, C);
    for (int64_t c = 0; c < C; c++) {    /* gradients add to what is there */
        edw[c] = (double)w[c];
        edb[c] = (double)bias[c];
    }
    for (int64_t n = 0; n < N; n++) {
        double g_mean = 0, gx_mean = 0, *s = es + n * C;
        for (int64_t c = 0; c < C; c++)
            s[c] = (double)x[n * C + c] + bench_kept(&dropout, n / b->s.T, n % b->s.T, 0, c) *
                                              (double)delta[n * C + c];
        er[n] = normalize(xhat, s, C, epsilon, &em[n]);
        for (int64_t c = 0; c < C; c++) {
            const double d = 2 * (double)dy[n * C + c], g = d * (double)w[c];
            ey[n * C + c] = xhat[c] * (double)w[c] + (double)bias[c];
            g_mean += g / (double)C;
            gx_mean += g * xhat[c] / (double)C;
            edw[c] += d * xhat[c];
            edb[c] += d;
        }
        for (int64_t c = 0; c < C; c++) {
            const double g = 2 * (double)dy[n * C + c] * (double)w[c];
            eds[n * C + c] = (g - g_mean - xhat[c] * gx_mean) * er[n] +
                             (dropping ? (double)residual[n * C + c] : 0);
            edd[n * C + c] =
                bench_kept(&dropout, n / b->s.T, n % b->s.T, 0, c) * eds[n * C + c];
        }
    }
    check_act(b, "layernorm_forward", y, ey, N * C);
    check_act(b, "layernorm_forward sum", sum, es, N * C);
    check_floats(b, "layernorm_forward mean", mean, em, N);
    check_floats(b, "layernorm_backward dbias", db, edb, C);
    if (C > 1) {    /* of one channel the gradient is 0 but for rounding */
        check_floats(b, "layernorm_forward rstd", rstd, er, N);
        check_act(b, "layernorm_backward dsum", dsum, eds, N * C);
        check_act(b, "layernorm_backward ddelta", ddelta, edd, N * C);
        check_floats(b, "layernorm_backward dweight", dw, edw, C);
    }
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

/* ---- embedding ---- */

static void check_embedding(struct bench *b, bool packed, bool dropping)
{
    const int64_t N = b->s.N, C = b->s.C, V = b->s.V, T = b->s.T;
    const struct dropout dropout = bench_dropout(b, dropping);
    const float *table = bench_values(b, V * C, 1), *positions = bench_values(b, T * C, 1);
    const float *d = bench_values(b, N * C, 1);
    int32_t *tokens = bench_host(b, (size_t)N * sizeof *tokens);
    int32_t *at = bench_host(b, (size_t)N * sizeof *at);
    for (int64_t n = 0; n < N; n++) {
        tokens[n] = (int32_t)(n % 3 ? (n * n + 3) % V : 0);    /* one is frequent, as padding is */
        at[n] = (int32_t)(packed ? n % T % 6 : n % T);
    }
    const int32_t *tokens_there = bench_put(b, tokens, (size_t)N * sizeof *tokens);
    const int32_t *at_there = packed ? bench_put(b, at, (size_t)N * sizeof *at) : NULL;
    void *x = bench_new_act(b, N * C);
    float *dt = bench_put_floats(b, table, V * C), *dp = bench_put_floats(b, positions, T * C);
    float *squares = bench_put_floats(b, bench_host(b, (size_t)(V * C) * sizeof(float)), V * C);
    b->k->embed_forward(b->device, &(struct embed_forward){
        .x = x, .tokens = tokens_there, .token_table = bench_put_floats(b, table, V * C),
        .position_table = bench_put_floats(b, positions, T * C), .positions = at_there,
        .B = (int)(N / T), .T = (int)T, .C = (int)C, .dropout = dropout});
    b->k->embed_backward(b->device, &(struct embed_backward){
        .dtoken_table = dt, .dposition_table = dp, .dtoken_squares = squares,
        .dx = bench_act(b, d, N * C), .dx_more = packed ? bench_act(b, d, N * C) : NULL,
        .tokens = tokens_there, .positions = at_there, .B = (int)(N / T), .T = (int)T,
        .C = (int)C, .dropout = dropout});

    double *ex = bench_zeros(b, N * C), *es = bench_zeros(b, V * C);
    double *edt = bench_zeros(b, V * C), *edp = bench_zeros(b, T * C);
    for (int64_t i = 0; i < V * C; i++)
        edt[i] = (double)table[i];    /* gradients add to what is there */
    for (int64_t i = 0; i < T * C; i++)
        edp[i] = (double)positions[i];
    for (int64_t i = 0; i < N * C; i++) {
        const int64_t n = i / C, c = i % C, token = tokens[n] * C + c, position = at[n] * C + c;
        const double m = bench_kept(&dropout, n / T, n % T, 0, c);
        const double g = m * (packed ? 2 : 1) * (double)d[i];
        ex[i] = m * ((double)table[token] + (double)positions[position]);
        edt[token] += g;
        edp[position] += g;
        es[token] += g * g;
    }
    check_act(b, "embed_forward", x, ex, N * C);
    check_floats(b, "embed_backward tokens", dt, edt, V * C);
    check_floats(b, "embed_backward positions", dp, edp, T * C);
    check_floats(b, "embed_backward squares", squares, es, V * C);
}

static void check_all(struct bench *b)
{
    check_linear_forward(b);
    check_linear_backward(b);
    for (int on = 0; on < 2; on++) {
        check_layernorm(b, on);
        check_embedding(b, on, on);
        check_classifier(b, on);
    }
    check_first_of_equals(b);
}

static void test_rows_and_products_agree_with_float64(void **state)
{
    (void)state;
    bench_run(&options, check_all);
}

int main(int argc, char **argv)
{
    options = bench_arguments(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows_and_products_agree_with_float64)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
