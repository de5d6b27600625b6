/*
 * bench_kernels.c - how fast each kernel of a device is, at the sizes of a model.
 *
 * usage: bench_kernels [DEVICE [MODEL [PRECISION [B]]]]
 *   DEVICE cpu (default) or cuda; MODEL mini (default; the example's, 64 x 128) or gpt2 (124M, 8 x 1024);
 *   PRECISION fp32 (default), bf16, fp16; B: samples of the batch.
 *
 * Data are random: a GPU that multiplies zeros is faster than one that works. A row's figures are
 * the median of five measurements of some repetitions each, after one that plans the matrix
 * products. Heads are as wide as the model has them in device memory; what is computed for the
 * padding is not counted. Where a GPU has cuDNN, the log tells first how long attention takes by it
 * and by our own kernels; the rows are of the faster. (gpt2 bf16 16 is GPT-2's shape: 16 x 1024, 12
 * heads of 64.)
 */
#include "testing.h"

#include "base/clock.h"
#include "kernels/kernels.h"

#include <stdbool.h>

struct sizes {
    const char *name;
    int B, T, C, F, NH, HS, V;
    enum activation activation;
    bool tied, padded;    /* padded: attention gets a mask of keys */
};

static const struct sizes models[] = {
    {"mini", 64, 128, 256, 128, 3, 85, 5000, ACTIVATION_RELU, false, true},
    {"gpt2", 8, 1024, 768, 3072, 12, 64, 50257, ACTIVATION_GELU, true, false},
};

struct bench {
    struct device *device;
    const struct kernels *k;
    struct sizes s;
    int HSP;       /* channels of a head in device memory */
    int64_t N;
    double act;    /* bytes of an activation */

    void *x, *y, *dx, *qkv, *dqkv, *hidden, *pre, *weight;
    float *dweight, *weights, *m, *v, *bias, *small;
    int32_t *tokens;
    uint8_t *ones, *correct;
    void *plan;
};

struct row {
    const char *name;
    void (*run)(const struct bench *b);
    double flops, bytes;    /* of one call: what must be computed and moved at least */
};

/* ---- memory ---- */

static void *take(struct bench *b, double bytes, bool random)
{
    enum { PIECE = 1 << 20 };
    static float values[PIECE];
    static uint16_t halves[PIECE];
    const bool wide = b->act > 2;
    void *memory;
    assert_ok(device_allocate(b->device, &memory, (size_t)bytes, "an array of the benchmark"));
    if (!random)
        return memory;
    for (int i = 0; i < PIECE; i++) {
        values[i] = (float)(rand() / (RAND_MAX + 1.0) - 0.5);
        halves[i] = b->k->activation == DTYPE_F16 ? f16_from_float(values[i])
                                                  : bf16_from_float(values[i]);
    }
    const size_t piece = wide ? sizeof values : sizeof halves;
    for (size_t at = 0; at < (size_t)bytes; at += piece)
        device_copy_in(b->device, (char *)memory + at, wide ? (void *)values : (void *)halves,
                       (size_t)bytes - at < piece ? (size_t)bytes - at : piece);
    assert_ok(device_synchronize(b->device));
    return memory;
}

static void make_arrays(struct bench *b)
{
    const double N = (double)b->N, a = b->act, W = 3.0 * b->s.NH * b->HSP;
    const double largest = (double)b->s.C * b->s.V, wide = fmax(b->s.C, W / 3);
    b->x = take(b, N * b->s.C * a, true);
    b->y = take(b, N * wide * a, true);
    b->dx = take(b, N * wide * a, true);
    b->qkv = take(b, N * W * a, true);
    b->dqkv = take(b, N * W * a, true);
    b->hidden = take(b, N * b->s.F * a, true);
    b->pre = take(b, N * b->s.F * a, true);
    b->weight = take(b, largest * a, true);
    b->dweight = take(b, largest * 4, false);
    b->weights = take(b, largest * 4, false);
    b->m = take(b, largest * 4, false);
    b->v = take(b, largest * 4, false);
    b->bias = take(b, 4.0 * (b->s.V + b->s.F + W), false);
    b->small = take(b, 4.0 * N * (b->s.NH + 4), false);
    b->tokens = take(b, 4 * N, false);
    b->correct = take(b, N, false);
    b->ones = take(b, N, false);
    b->plan = take(b, sizeof(struct update_plan), false);

    int32_t *tokens = malloc((size_t)b->N * sizeof *tokens);
    uint8_t *ones = malloc((size_t)b->N);
    assert_true(tokens && ones);
    for (int64_t n = 0; n < b->N; n++)
        tokens[n] = rand() % b->s.V;
    memset(ones, 1, (size_t)b->N);
    device_copy_in(b->device, b->tokens, tokens, (size_t)b->N * sizeof *tokens);
    device_copy_in(b->device, b->ones, ones, (size_t)b->N);
    assert_ok(device_synchronize(b->device));
    free(tokens);
    free(ones);
}

/* ---- one call of each kernel ---- */

static void embed_forward(const struct bench *b)
{
    b->k->embed_forward(b->device, &(struct embed_forward){
        .x = b->x, .tokens = b->tokens, .token_table = b->weights, .position_table = b->weights,
        .B = b->s.B, .T = b->s.T, .C = b->s.C});
}

static void embed_backward(const struct bench *b)
{
    b->k->embed_backward(b->device, &(struct embed_backward){
        .dtoken_table = b->dweight, .dposition_table = b->m, .dx = b->dx, .tokens = b->tokens,
        .B = b->s.B, .T = b->s.T, .C = b->s.C});
}

static void layernorm_forward(const struct bench *b)
{
    b->k->layernorm_forward(b->device, &(struct layernorm_forward){
        .y = b->y, .sum = b->hidden, .mean = b->small, .rstd = b->small + b->N, .x = b->x,
        .delta = b->dx, .weight = b->bias, .bias = b->bias, .N = b->N, .C = b->s.C,
        .epsilon = 1e-5f});
}

static void layernorm_backward(const struct bench *b)
{
    b->k->layernorm_backward(b->device, &(struct layernorm_backward){
        .dsum = b->dx, .dweight = b->m, .dbias = b->v, .dy = b->y, .dresidual = b->dqkv,
        .sum = b->x, .mean = b->small, .rstd = b->small + b->N, .weight = b->bias, .N = b->N,
        .C = b->s.C});
}

static void linear_qkv(const struct bench *b)
{
    b->k->linear_forward(b->device, &(struct linear_forward){
        .y = b->qkv, .x = b->x, .weight = b->weight, .bias = b->bias, .N = b->N, .K = b->s.C,
        .M = 3 * b->s.NH * b->HSP});
}

static void linear_qkv_backward(const struct bench *b)
{
    b->k->linear_backward(b->device, &(struct linear_backward){
        .dx = b->dx, .dweight = b->dweight, .dbias = b->m, .dy = b->qkv, .x = b->x,
        .weight = b->weight, .N = b->N, .K = b->s.C, .M = 3 * b->s.NH * b->HSP});
}

static void linear_up(const struct bench *b)
{
    b->k->linear_forward(b->device, &(struct linear_forward){
        .y = b->hidden, .pre = b->s.activation == ACTIVATION_GELU ? b->pre : NULL, .x = b->x,
        .weight = b->weight, .bias = b->bias, .activation = b->s.activation, .N = b->N,
        .K = b->s.C, .M = b->s.F});
}

static void linear_down_backward(const struct bench *b)
{
    b->k->linear_backward(b->device, &(struct linear_backward){
        .dx = b->hidden, .dweight = b->dweight, .dbias = b->m, .dy = b->dx, .x = b->pre,
        .x_pre = b->pre, .x_activation = b->s.activation, .weight = b->weight, .N = b->N,
        .K = b->s.F, .M = b->s.C});
}

static void attention_forward(const struct bench *b)
{
    b->k->attention_forward(b->device, &(struct attention_forward){
        .out = b->y, .lse = b->small, .qkv = b->qkv,
        .key_mask = b->s.padded ? b->ones : NULL, .B = b->s.B, .T = b->s.T, .NH = b->s.NH,
        .HS = b->HSP, .scale = 1.0f / sqrtf((float)b->s.HS)});
}

static void attention_backward(const struct bench *b)
{
    b->k->attention_backward(b->device, &(struct attention_backward){
        .dqkv = b->dqkv, .dout = b->dx, .out = b->y, .lse = b->small, .qkv = b->qkv,
        .key_mask = b->s.padded ? b->ones : NULL, .B = b->s.B, .T = b->s.T, .NH = b->s.NH,
        .HS = b->HSP, .scale = 1.0f / sqrtf((float)b->s.HS)});
}

static void classifier(const struct bench *b)
{
    b->k->classifier(b->device, &(struct classifier){
        .losses = b->small, .correct = b->correct, .dx = b->dx, .dweight = b->dweight, .x = b->x,
        .weight = b->weight, .targets = b->tokens, .mask = b->ones, .transposed = b->s.tied,
        .N = b->N, .C = b->s.C, .V = b->s.V});
}

static void adam(const struct bench *b)
{
    b->k->adam(b->device, &(struct adam){
        .weights = b->weights, .m = b->m, .v = b->v, .gradient = b->dweight, .plan = b->plan,
        .copy = b->k->activation == DTYPE_F32 ? NULL : b->weight,
        .count = (int64_t)b->s.C * b->s.V, .epsilon = 1e-7f, .beta1 = 0.9, .beta2 = 0.999});
}

static void sum_of_squares(const struct bench *b)
{
    b->k->sum_of_squares(b->device, &(struct sum_of_squares){
        .result = b->plan, .x = b->dweight, .count = (int64_t)b->s.C * b->s.V});
    device_zero(b->device, b->plan, sizeof(double));
}

/* ---- measuring ---- */

static double time_calls(const struct bench *b, const struct row *row, int calls)
{
    const double start_s = clock_now_s();
    for (int i = 0; i < calls; i++)
        row->run(b);
    assert_ok(device_synchronize(b->device));
    return (clock_now_s() - start_s) / calls;
}

static int compare(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void measure(const struct bench *b, const struct row *row)
{
    enum { MEASUREMENTS = 5 };
    double s[MEASUREMENTS];
    (void)time_calls(b, row, 1);
    const double one_s = time_calls(b, row, 1);
    const int calls = one_s > 0.05 ? 1 : one_s < 1e-4 ? 500 : (int)(0.05 / one_s);
    for (int i = 0; i < MEASUREMENTS; i++)
        s[i] = time_calls(b, row, calls);
    qsort(s, MEASUREMENTS, sizeof s[0], compare);
    const double median = s[MEASUREMENTS / 2];
    printf("%-22s %10.4f ms %10.1f GFLOP/s %9.1f GB/s\n", row->name, 1e3 * median,
           1e-9 * row->flops / median, 1e-9 * row->bytes / median);
    fflush(stdout);
}

static void measure_all(const struct bench *b)
{
    const double N = (double)b->N, C = b->s.C, F = b->s.F, V = b->s.V, a = b->act;
    const double W = (double)b->s.NH * b->s.HS, causal = 2 * N * (b->s.T + 1) * W;
    const struct row rows[] = {
        {"embed_forward", embed_forward, 0, N * C * (4 + a)},
        {"embed_backward", embed_backward, 0, N * C * a * 2 + N * C * 8},
        {"layernorm_forward", layernorm_forward, 0, 4 * N * C * a},
        {"layernorm_backward", layernorm_backward, 0, 4 * N * C * a},
        {"linear qkv", linear_qkv, 2 * N * C * 3 * W, N * (C + 3 * W) * a},
        {"linear qkv backward", linear_qkv_backward, 4 * N * C * 3 * W, 3 * N * (C + 3 * W) * a},
        {"linear up", linear_up, 2 * N * C * F, N * (C + 2 * F) * a},
        {"linear down backward", linear_down_backward, 4 * N * C * F, 3 * N * (C + F) * a},
        {"attention_forward", attention_forward, causal, 4 * N * W * a},
        {"attention_backward", attention_backward, 2.5 * causal, 8 * N * W * a},
        {"classifier", classifier, 6 * N * C * V, 3 * N * C * a},
        {"adam", adam, 0, C * V * (28 + (a < 4 ? a : 0))},
        {"sum_of_squares", sum_of_squares, 0, C * V * 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        measure(b, &rows[i]);
}

static enum dtype precision(const char *name)
{
    for (int type = DTYPE_F32; type <= DTYPE_F16; type++)
        if (!strcmp(name, dtype_name((enum dtype)type)))
            return (enum dtype)type;
    fprintf(stderr, "bench_kernels: no precision \"%s\": fp32, bf16 or fp16\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    struct bench b = {.s = models[0]};
    const enum dtype act = precision(argc > 3 ? argv[3] : "fp32");
    for (size_t i = 0; argc > 2 && i < sizeof models / sizeof models[0]; i++)
        if (!strcmp(argv[2], models[i].name))
            b.s = models[i];
    if (argc > 2 && strcmp(argv[2], b.s.name)) {
        fprintf(stderr, "bench_kernels: no model \"%s\": mini or gpt2\n", argv[2]);
        return 2;
    }
    if (argc > 4)
        b.s.B = atoi(argv[4]) > 0 ? atoi(argv[4]) : 1;
    b.N = (int64_t)b.s.B * b.s.T;
    b.act = (double)dtype_bytes(act);
    assert_ok(device_open(&b.device, &(struct device_options){.kind = argc > 1 ? argv[1] : "cpu",
                                                              .tune = true}));
    assert_ok(kernels_for(&b.k, b.device, act));
    const int unit = b.k->head_alignment;
    b.HSP = (b.s.HS + unit - 1) / unit * unit;
    assert_ok(b.k->reserve(b.device, &(struct kernel_limits){
        .N = b.N, .T = b.s.T, .C = b.s.C, .F = b.s.F, .NH = b.s.NH, .HS = b.HSP, .V = b.s.V,
        .attends = true}));
    make_arrays(&b);
    printf("%s on %s: %s, %d x %d tokens\n", b.k->name, device_description(b.device), b.s.name,
           b.s.B, b.s.T);
    measure_all(&b);
    device_close(b.device);
    return 0;
}
