/*
 * test_kernels.c - every kernel against plain float64 loops, in fp32 and bf16, over odd, tiny and larger
 * shapes. Outputs are filled with garbage before, so that what a kernel leaves out is seen.
 */
#include "testing.h"

#include "kernels/kernels.h"

enum { SHAPES = 4 };
static const struct kernel_limits shapes[SHAPES] = {
    {.N = 1, .T = 1, .C = 1, .F = 1, .NH = 1, .HS = 1, .V = 5},
    {.N = 3 * 7, .T = 7, .C = 10, .F = 9, .NH = 3, .HS = 3, .V = 17},
    {.N = 2 * 33, .T = 33, .C = 40, .F = 31, .NH = 4, .HS = 10, .V = 200},
    {.N = 5 * 128, .T = 128, .C = 256, .F = 128, .NH = 3, .HS = 85, .V = 999},
};

struct bench {
    struct device *device;
    const struct kernels *k;
    enum dtype act;
    struct kernel_limits s;
    double bound;
    uint64_t random;
};

static double next_uniform(struct bench *b)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (double)(b->random >> 11) * 0x1p-52 - 1.0;
}

/* Rounded to what the activation type can hold, so that reference and kernel read the same. */
static float *new_values(struct bench *b, int64_t n, double scale)
{
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)(scale * next_uniform(b));
        if (b->act == DTYPE_BF16)
            x[i] = bf16_to_float(bf16_from_float(x[i]));
    }
    return x;
}

/* The same values as an activation. */
static void *as_act(const struct bench *b, const float *x, int64_t n)
{
    void *a = malloc((size_t)n * dtype_bytes(b->act) + 1);
    for (int64_t i = 0; i < n; i++) {
        if (b->act == DTYPE_F32)
            ((float *)a)[i] = x[i];
        else
            ((uint16_t *)a)[i] = bf16_from_float(x[i]);
    }
    return a;
}

static void *new_act(const struct bench *b, int64_t n)
{
    void *a = malloc((size_t)n * dtype_bytes(b->act) + 1);
    memset(a, 0x7f, (size_t)n * dtype_bytes(b->act));    /* a huge number in both types */
    return a;
}

static void check_act(const struct bench *b, const char *what, const void *got,
                      const double *expected, int64_t n)
{
    float *g = calloc((size_t)n + 1, sizeof *g), *e = calloc((size_t)n + 1, sizeof *e);
    for (int64_t i = 0; i < n; i++) {
        g[i] = b->act == DTYPE_F32 ? ((const float *)got)[i]
                                   : bf16_to_float(((const uint16_t *)got)[i]);
        e[i] = (float)expected[i];
    }
    assert_close(what, g, e, n, b->bound);
    free(g);
    free(e);
}

static void check_floats(const struct bench *b, const char *what, const float *got,
                         const double *expected, int64_t n)
{
    float *e = calloc((size_t)n + 1, sizeof *e);
    for (int64_t i = 0; i < n; i++)
        e[i] = (float)expected[i];
    assert_close(what, got, e, n, b->bound);
    free(e);
}

static double *zeros(int64_t n)
{
    return calloc((size_t)n + 1, sizeof(double));
}

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

/* What dropout multiplies an element of row (b, position, head) by: from the contract, bit by bit. */
static double kept(const struct dropout *d, int64_t b, int64_t position, int64_t head, int64_t i)
{
    uint32_t words[4];
    if (d->threshold == 0)
        return 1;
    dropout_bits(d->key, (uint32_t)(i / 8), (uint32_t)position, (uint32_t)(d->first_sample + b),
                 (uint32_t)head, words);
    const uint32_t bits = words[i % 8 / 2] >> (i % 2 ? 16 : 0) & 0xffff;
    return bits < d->threshold ? 0 : (double)d->scale;
}

/* None, or some of a micro-batch that begins at sample 3 of its global batch. */
static struct dropout dropout_of(const struct bench *b, bool on)
{
    return dropout_at(on ? 0.3f : 0, 11, 5, 2, DROPOUT_ATTENTION, 3, b->s.T);
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

static void check_linear(struct bench *b)
{
    const int64_t N = b->s.N, K = b->s.C, M = b->s.F;
    float *x = new_values(b, N * K, 1), *w = new_values(b, K * M, 0.5), *bias = new_values(b, M, 0.5);
    float *dy = new_values(b, N * M, 1);
    void *xa = as_act(b, x, N * K), *wa = as_act(b, w, K * M), *dya = as_act(b, dy, N * M);
    void *y = new_act(b, N * M), *dx = new_act(b, N * K);
    void *pre = new_act(b, N * M);
    for (int kind = ACTIVATION_NONE; kind <= ACTIVATION_GELU; kind++) {
        double *e = zeros(N * M), *e_pre = zeros(N * M);
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
            b->k->linear_forward(b->device, &(struct linear_forward){
                .y = y, .pre = keep ? pre : NULL, .x = xa, .weight = wa, .bias = bias,
                .activation = (enum activation)kind, .N = N, .K = (int)K, .M = (int)M});
            assert_ok(device_synchronize(b->device));
            check_act(b, "linear_forward", y, e, N * M);
        }
        if (kind == ACTIVATION_GELU)
            check_act(b, "linear_forward pre", pre, e_pre, N * M);
        free(e);
        free(e_pre);
    }

    float *dw = calloc((size_t)(K * M), sizeof *dw), *db = calloc((size_t)M, sizeof *db);
    double *edx = zeros(N * K), *edw = zeros(K * M), *edb = zeros(M);
    multiply(edx, dy, w, N, K, M, false, true);
    for (int64_t i = 0; i < N * K; i++)
        edx[i] = x[i] > 0 ? edx[i] : 0;
    multiply(edw, x, dy, K, M, N, true, false);
    for (int64_t i = 0; i < N * M; i++)
        edb[i % M] += (double)dy[i];
    for (int64_t i = 0; i < K * M; i++) {    /* gradients add to what is there */
        dw[i] = 1;
        edw[i] += 1;
    }
    b->k->linear_backward(b->device, &(struct linear_backward){
        .dx = dx, .dweight = dw, .dbias = db, .dy = dya, .x = xa, .weight = wa,
        .x_activation = ACTIVATION_RELU, .N = N, .K = (int)K, .M = (int)M});
    assert_ok(device_synchronize(b->device));
    check_act(b, "linear_backward dx", dx, edx, N * K);
    check_floats(b, "linear_backward dweight", dw, edw, K * M);
    check_floats(b, "linear_backward dbias", db, edb, M);

    /* The same product through a GELU whose input is x: its derivative by central differences. */
    memset(edx, 0, (size_t)(N * K) * sizeof *edx);
    multiply(edx, dy, w, N, K, M, false, true);
    for (int64_t i = 0; i < N * K; i++)
        edx[i] *= (gelu((double)x[i] + 1e-5) - gelu((double)x[i] - 1e-5)) / 2e-5;
    b->k->linear_backward(b->device, &(struct linear_backward){
        .dx = dx, .dweight = dw, .dy = dya, .x = xa, .x_pre = xa, .weight = wa,
        .x_activation = ACTIVATION_GELU, .N = N, .K = (int)K, .M = (int)M});
    assert_ok(device_synchronize(b->device));
    check_act(b, "linear_backward dx through GELU", dx, edx, N * K);
    void *const all[] = {x, w, bias, dy, xa, wa, dya, y, pre, dx, dw, db, edx, edw, edb};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void check_layernorm(struct bench *b, bool dropping)
{
    const int64_t N = b->s.N, C = b->s.C;
    const struct dropout dropout = dropout_of(b, dropping);
    const double epsilon = 1e-5;
    float *x = new_values(b, N * C, 1), *delta = new_values(b, N * C, 1);
    float *w = new_values(b, C, 1), *bias = new_values(b, C, 1), *dy = new_values(b, N * C, 1);
    void *xa = as_act(b, x, N * C), *da = as_act(b, delta, N * C), *dya = as_act(b, dy, N * C);
    float *residual = new_values(b, N * C, 1);
    void *ra = as_act(b, residual, N * C), *ddelta = new_act(b, N * C);
    void *y = new_act(b, N * C), *sum = new_act(b, N * C), *dsum = new_act(b, N * C);
    float *mean = malloc((size_t)N * sizeof *mean), *rstd = malloc((size_t)N * sizeof *rstd);
    b->k->layernorm_forward(b->device, &(struct layernorm_forward){
        .y = y, .sum = sum, .mean = mean, .rstd = rstd, .x = xa, .delta = da, .weight = w,
        .bias = bias, .N = N, .C = (int)C, .epsilon = (float)epsilon, .dropout = dropout});
    float *dw = calloc((size_t)C, sizeof *dw), *db = calloc((size_t)C, sizeof *db);
    b->k->layernorm_backward(b->device, &(struct layernorm_backward){
        .dsum = dsum, .ddelta = ddelta, .dweight = dw, .dbias = db, .dy = dya, .dy_more = dya,
        .dresidual = dropping ? ra : NULL, .sum = sum, .mean = mean, .rstd = rstd, .weight = w,
        .N = N, .C = (int)C, .dropout = dropout});
    assert_ok(device_synchronize(b->device));

    double *ey = zeros(N * C), *eds = zeros(N * C), *edw = zeros(C), *edb = zeros(C);
    double *edd = zeros(N * C);
    for (int64_t n = 0; n < N; n++) {
        const int64_t sample = n / b->s.T, position = n % b->s.T;
        double m = 0, v = 0, g_mean = 0, gx_mean = 0;
        double s[256], xhat[256];
        for (int64_t c = 0; c < C; c++) {
            s[c] = (double)x[n * C + c] +
                   kept(&dropout, sample, position, 0, c) * (double)delta[n * C + c];
            m += s[c] / (double)C;
        }
        for (int64_t c = 0; c < C; c++)
            v += (s[c] - m) * (s[c] - m) / (double)C;
        const double r = 1 / sqrt(v + epsilon);
        for (int64_t c = 0; c < C; c++) {
            xhat[c] = (s[c] - m) * r;
            ey[n * C + c] = xhat[c] * (double)w[c] + (double)bias[c];
            const double d = 2 * (double)dy[n * C + c], g = d * (double)w[c];
            g_mean += g / (double)C;
            gx_mean += g * xhat[c] / (double)C;
            edw[c] += d * xhat[c];
            edb[c] += d;
        }
        for (int64_t c = 0; c < C; c++) {
            eds[n * C + c] =
                (2 * (double)dy[n * C + c] * (double)w[c] - g_mean - xhat[c] * gx_mean) * r +
                (dropping ? (double)residual[n * C + c] : 0);
            edd[n * C + c] = kept(&dropout, sample, position, 0, c) * eds[n * C + c];
        }
    }
    check_act(b, "layernorm_forward", y, ey, N * C);
    if (C > 1) {    /* of one channel the gradient is 0 but for rounding */
        check_act(b, "layernorm_backward dsum", dsum, eds, N * C);
        check_act(b, "layernorm_backward ddelta", ddelta, edd, N * C);
        check_floats(b, "layernorm_backward dweight", dw, edw, C);
    }
    check_floats(b, "layernorm_backward dbias", db, edb, C);
    void *const all[] = {x, delta, w, bias, dy, xa, da, dya, y, sum, dsum, mean, rstd, dw, db, ey,
                         eds, edw, edb, edd, ddelta, residual, ra};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* Attention by its definition, and its gradients by the chain rule on full matrices. */
static void check_attention(struct bench *b, bool packed, bool dropping)
{
    const int T = b->s.T, NH = b->s.NH, HS = b->s.HS, B = (int)(b->s.N / T);
    const int64_t W = (int64_t)NH * HS, N = b->s.N;
    float *qkv = new_values(b, N * 3 * W, 1), *dout = new_values(b, N * W, 1);
    void *qkva = as_act(b, qkv, N * 3 * W), *douta = as_act(b, dout, N * W);
    void *out = new_act(b, N * W), *dqkv = new_act(b, N * 3 * W);
    float *lse = malloc((size_t)(N * NH) * sizeof *lse);
    uint8_t *mask = malloc((size_t)N);
    int32_t *first_key = malloc((size_t)N * sizeof *first_key);
    const struct dropout dropout = dropout_of(b, dropping);
    for (int64_t n = 0; n < N; n++) {
        mask[n] = (uint8_t)(n % T == 0 ? n / T % 2 == 0 : n % 5 != 3);    /* some rows see nothing at all */
        first_key[n] = packed ? (int32_t)(n % T / 45 * 45) : 0;    /* texts of 45 tokens in a row */
    }
    b->k->attention_forward(b->device, &(struct attention_forward){
        .out = out, .lse = lse, .qkv = qkva, .key_mask = mask,
        .first_key = packed ? first_key : NULL, .B = B, .T = T, .NH = NH, .HS = HS,
        .dropout = dropout});
    b->k->attention_backward(b->device, &(struct attention_backward){
        .dqkv = dqkv, .dout = douta, .out = out, .lse = lse, .qkv = qkva, .key_mask = mask,
        .first_key = packed ? first_key : NULL, .B = B, .T = T, .NH = NH, .HS = HS,
        .dropout = dropout});
    assert_ok(device_synchronize(b->device));

    double *eo = zeros(N * W), *ed = zeros(N * 3 * W), *p = zeros(T), *dp = zeros(T);
    const double scale = 1 / sqrt((double)HS);
    for (int bh = 0; bh < B * NH; bh++) {
        const int64_t row0 = (int64_t)(bh / NH) * T, head = bh % NH, at = head * HS;
        for (int t = 0; t < T; t++) {
            const int first = first_key[row0 + t];
            const float *q = qkv + (row0 + t) * 3 * W + at;
            double max = -INFINITY, sum = 0, D = 0;
            for (int j = first; j <= t; j++) {
                const float *k = qkv + (row0 + j) * 3 * W + W + at;
                p[j] = 0;
                for (int c = 0; c < HS; c++)
                    p[j] += (double)q[c] * (double)k[c] * scale;
                if (mask[row0 + j] && p[j] > max)
                    max = p[j];
            }
            for (int j = first; j <= t; j++) {
                p[j] = mask[row0 + j] ? exp(p[j] - max) : 0;
                sum += p[j];
            }
            for (int j = first; j <= t; j++) {
                const float *v = qkv + (row0 + j) * 3 * W + 2 * W + at;
                const double m = kept(&dropout, bh / NH, t, head, j);
                p[j] = sum > 0 ? p[j] / sum : 0;
                dp[j] = 0;
                for (int c = 0; c < HS; c++) {
                    const double d = (double)dout[(row0 + t) * W + at + c];
                    eo[(row0 + t) * W + at + c] += p[j] * m * (double)v[c];
                    dp[j] += d * m * (double)v[c];
                    ed[(row0 + j) * 3 * W + 2 * W + at + c] += p[j] * m * d;
                }
                D += p[j] * dp[j];
            }
            for (int j = first; j <= t; j++) {
                const float *k = qkv + (row0 + j) * 3 * W + W + at;
                const double ds = p[j] * (dp[j] - D) * scale;
                for (int c = 0; c < HS; c++) {
                    ed[(row0 + t) * 3 * W + at + c] += ds * (double)k[c];
                    ed[(row0 + j) * 3 * W + W + at + c] += ds * (double)q[c];
                }
            }
        }
    }
    check_act(b, "attention_forward", out, eo, N * W);
    check_act(b, "attention_backward", dqkv, ed, N * 3 * W);
    void *const all[] = {qkv, dout, qkva, douta, out, dqkv, lse, mask, first_key, eo, ed, p, dp};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* Position after position against a cache: what attention over the whole sequence gives. */
static void check_decode(struct bench *b)
{
    const int T = b->s.T, NH = b->s.NH, HS = b->s.HS, B = (int)(b->s.N / T), capacity = T + 3;
    const int64_t W = (int64_t)NH * HS, N = b->s.N;
    float *qkv = new_values(b, N * 3 * W, 1);
    void *qkva = as_act(b, qkv, N * 3 * W), *out = new_act(b, N * W), *one = new_act(b, B * W);
    void *cache = new_act(b, 2 * (int64_t)B * NH * capacity * HS), *row = new_act(b, B * 3 * W);
    uint8_t *mask = calloc((size_t)N, 1), *cache_mask = calloc((size_t)(B * capacity), 1);
    int32_t *first_key = calloc((size_t)N, sizeof *first_key);
    int32_t *first_of_row = calloc((size_t)B, sizeof *first_of_row);
    for (int64_t n = 0; n < N; n++) {
        mask[n] = n % 7 != 2;
        cache_mask[n / T * capacity + n % T] = mask[n];
        first_of_row[n / T] = (int32_t)(n / T % 3 < T ? n / T % 3 : 0);
        first_key[n] = first_of_row[n / T] < (int32_t)(n % T) ? first_of_row[n / T]
                                                              : (int32_t)(n % T);
    }
    b->k->attention_forward(b->device, &(struct attention_forward){
        .out = out, .qkv = qkva, .key_mask = mask, .first_key = first_key, .B = B, .T = T,
        .NH = NH, .HS = HS});
    assert_ok(device_synchronize(b->device));
    const size_t bytes = dtype_bytes(b->act), width = (size_t)W;
    double *expected = zeros(B * W);
    for (int t = 0; t < T; t++) {
        for (int r = 0; r < B; r++) {
            const size_t n = (size_t)(r * T + t);
            memcpy((char *)row + (size_t)r * 3 * width * bytes,
                   (const char *)qkva + n * 3 * width * bytes, 3 * width * bytes);
            for (size_t c = 0; c < width; c++)
                expected[(size_t)r * width + c] =
                    b->act == DTYPE_F32
                        ? (double)((const float *)out)[n * width + c]
                        : (double)bf16_to_float(((const uint16_t *)out)[n * width + c]);
        }
        b->k->attention_decode(b->device, &(struct attention_decode){
            .out = one, .cache = cache, .cache_mask = cache_mask, .first_key = first_of_row,
            .qkv = row, .B = B, .n = 1, .NH = NH, .HS = HS, .capacity = capacity, .position = t});
        assert_ok(device_synchronize(b->device));
        if (t >= 3)    /* before that some rows see nothing here and themselves there */
            check_act(b, "attention_decode", one, expected, B * W);
    }
    void *const all[] = {qkv, qkva, out, one, cache, row, mask, cache_mask, first_key, first_of_row,
                         expected};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* The same head with its weight as (C, V), and as (V, C) as a tied table has it. */
static void check_classifier(struct bench *b, bool transposed)
{
    const int64_t N = b->s.N, C = b->s.C, V = b->s.V;
    float *x = new_values(b, N * C, 1), *w = new_values(b, C * V, 0.5), *bias = new_values(b, V, 1);
    void *xa = as_act(b, x, N * C), *wa = as_act(b, w, C * V), *dx = new_act(b, N * C);
    int32_t *targets = malloc((size_t)N * sizeof *targets);
    uint8_t *mask = malloc((size_t)N), *correct = malloc((size_t)N);
    float *losses = malloc((size_t)N * sizeof *losses);
    float *dw = new_values(b, C * V, 1), *db = calloc((size_t)V, sizeof *db);
    double *edw = zeros(C * V);
    for (int64_t i = 0; i < C * V; i++)
        edw[i] = (double)dw[i];    /* gradients are added to what is there */
    for (int64_t n = 0; n < N; n++) {
        targets[n] = (int32_t)((n * 7 + 1) % V);
        mask[n] = n % 4 != 2;
    }
    b->k->classifier(b->device, &(struct classifier){
        .losses = losses, .correct = correct, .dx = dx, .dweight = dw, .dbias = db, .x = xa,
        .weight = wa, .bias = bias, .targets = targets, .mask = mask,
        .transposed = transposed, .N = N, .C = (int)C, .V = (int)V});
    float *logits = malloc((size_t)(N * V) * sizeof *logits);
    b->k->logits_forward(b->device, &(struct logits_forward){
        .logits = logits, .x = xa, .weight = wa, .bias = bias, .transposed = transposed, .N = N,
        .C = (int)C, .V = (int)V});
    assert_ok(device_synchronize(b->device));

    double *z = zeros(N * V), *el = zeros(N), *edx = zeros(N * C), *edb = zeros(V);
    multiply(z, x, w, N, V, C, false, transposed);
    for (int64_t n = 0; n < N; n++) {
        double *row = z + n * V, max = -INFINITY, sum = 0;
        int best = 0;
        for (int v = 0; v < V; v++) {
            row[v] += (double)bias[v];
            if (row[v] > max) {
                max = row[v];
                best = v;
            }
        }
        for (int v = 0; v < V; v++)
            sum += exp(row[v] - max);
        el[n] = log(sum) + max - row[targets[n]];
        assert_int_equal(correct[n], best == targets[n]);
        for (int v = 0; v < V; v++) {
            const double dz = mask[n] ? exp(row[v] - max) / sum - (v == targets[n]) : 0;
            edb[v] += dz;
            for (int64_t c = 0; c < C; c++) {
                const int64_t at = transposed ? v * C + c : c * V + v;
                edx[n * C + c] += dz * (double)w[at];
                edw[at] += dz * (double)x[n * C + c];
            }
        }
    }
    check_floats(b, "logits_forward", logits, z, N * V);
    check_floats(b, "classifier losses", losses, el, N);
    check_act(b, "classifier dx", dx, edx, N * C);
    check_floats(b, "classifier dweight", dw, edw, C * V);
    check_floats(b, "classifier dbias", db, edb, V);
    void *const all[] = {x, w, bias, xa, wa, dx, targets, mask, correct, losses, dw, db, z, el, edx,
                         edw, edb, logits};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void check_embedding(struct bench *b, bool packed, bool dropping)
{
    const int64_t N = b->s.N, C = b->s.C, V = b->s.V, T = b->s.T;
    const struct dropout dropout = dropout_of(b, dropping);
    float *table = new_values(b, V * C, 1), *positions = new_values(b, T * C, 1);
    float *d = new_values(b, N * C, 1);
    void *x = new_act(b, N * C), *da = as_act(b, d, N * C);
    int32_t *tokens = malloc((size_t)N * sizeof *tokens);
    float *dt = calloc((size_t)(V * C), sizeof *dt), *dp = calloc((size_t)(T * C), sizeof *dp);
    float *squares = calloc((size_t)(V * C), sizeof *squares);
    for (int64_t n = 0; n < N; n++)
        tokens[n] = (int32_t)((n * n + 3) % V);
    int32_t *at = malloc((size_t)N * sizeof *at);
    for (int64_t n = 0; n < N; n++)
        at[n] = (int32_t)(packed ? n % T % 6 : n % T);
    b->k->embed_forward(b->device, &(struct embed_forward){
        .x = x, .tokens = tokens, .token_table = table, .position_table = positions,
        .positions = packed ? at : NULL, .B = (int)(N / T), .T = (int)T, .C = (int)C,
        .dropout = dropout});
    b->k->embed_backward(b->device, &(struct embed_backward){
        .dtoken_table = dt, .dposition_table = dp, .dtoken_squares = squares, .dx = da,
        .tokens = tokens, .positions = packed ? at : NULL, .B = (int)(N / T), .T = (int)T,
        .C = (int)C, .dropout = dropout});
    assert_ok(device_synchronize(b->device));
    double *ex = zeros(N * C), *edt = zeros(V * C), *edp = zeros(T * C), *es = zeros(V * C);
    for (int64_t i = 0; i < N * C; i++) {
        const int64_t n = i / C, c = i % C, token = tokens[n] * C + c, position = at[n] * C + c;
        const double m = kept(&dropout, n / T, n % T, 0, c), g = m * (double)d[i];
        ex[i] = m * ((double)table[token] + (double)positions[position]);
        edt[token] += g;
        edp[position] += g;
        es[token] += g * g;
    }
    check_act(b, "embed_forward", x, ex, N * C);
    check_floats(b, "embed_backward tokens", dt, edt, V * C);
    check_floats(b, "embed_backward positions", dp, edp, T * C);
    check_floats(b, "embed_backward squares", squares, es, V * C);
    void *const all[] = {table, positions, d, x, da, tokens, at, dt, dp, squares, ex, edt, edp, es};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void check_flat(struct bench *b)
{
    const int64_t n = b->s.N * b->s.C;
    double got, expected = 0;
    float *x = new_values(b, n, 2);
    for (int64_t i = 0; i < n; i++)
        expected += (double)x[i] * (double)x[i];
    b->k->sum_of_squares(b->device,
                         &(struct sum_of_squares){.result = &got, .x = x, .count = n});
    assert_ok(device_synchronize(b->device));
    assert_true(fabs(got - expected) <= 1e-12 * expected);
    x[n / 2] = NAN;
    b->k->sum_of_squares(b->device,
                         &(struct sum_of_squares){.result = &got, .x = x, .count = n});
    assert_true(got != got);
    free(x);
}

static void test_kernels_agree_with_float64(void **state)
{
    (void)state;
    for (int type = DTYPE_F32; type <= DTYPE_BF16; type++) {
        struct bench b = {.act = (enum dtype)type, .bound = type == DTYPE_F32 ? 1e-5 : 1e-2};
        b.random = 42;
        assert_ok(device_open(&b.device, &(struct device_options){.kind = "cpu"}));
        struct error *e = kernels_for(&b.k, b.device, b.act);
        if (e && type == DTYPE_BF16) {
            print_message("skipped in bf16: %s\n", error_message(e));
            error_destroy(e);
            device_close(b.device);
            continue;
        }
        assert_ok(e);
        print_message("%s\n", b.k->name);
        for (int i = 0; i < SHAPES; i++) {
            b.s = shapes[i];
            assert_ok(b.k->reserve(b.device, &b.s));
            check_linear(&b);
            for (int on = 0; on < 2; on++) {
                check_layernorm(&b, on);
                check_attention(&b, false, on);
                check_attention(&b, true, on);
                check_embedding(&b, on, on);
                check_classifier(&b, on);
            }
            check_decode(&b);
            check_flat(&b);
        }
        device_close(b.device);
    }
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
            sum += kept(&d, 0, n, 0, c);
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
            differ += kept(&d, 0, 0, 0, c) != kept(&others[k], 0, 0, 0, c);
        assert_in_range(differ, C * 9 / 100, C * 27 / 100);
    }
    const struct dropout second = dropout_at(0.1f, 1, 0, 0, DROPOUT_EMBEDDING, 6, N);
    for (int64_t c = 0; c < C; c++)    /* row 7 of one rank is row 1 of the next */
        assert_true(kept(&d, 7, 3, 0, c) == kept(&second, 1, 3, 0, c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels_agree_with_float64),
        cmocka_unit_test(test_dropout_drops_its_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
