/* test_kernels.c - the kernels that work row by row, against float64. */
#include "kernel_bench.h"

static struct bench_options options;

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
    for (int on = 0; on < 2; on++) {
        check_layernorm(b, on);
        check_embedding(b, on, on);
    }
}

static void test_rows_agree_with_float64(void **state)
{
    (void)state;
    bench_run(&options, check_all);
}

int main(int argc, char **argv)
{
    options = bench_arguments(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows_agree_with_float64)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
