/*
 * test_attention_cudnn.c - attention by cuDNN on a GPU is the CPU's, forward and backward, called
 * and replayed from a graph; and so is what the kernel table makes of cuDNN and our own kernels.
 */
#include "kernel_bench.h"

#include "device/device_cuda.h"
#include "kernels/cuda/cudnn_sdpa.h"

static struct bench_options options;

/* Lengths that tiles divide and that they do not; one sequence, one head; padded heads. */
static const struct kernel_limits shapes[] = {
    {.N = 2 * 128, .T = 128, .C = 64, .F = 64, .NH = 1, .HS = 64, .V = 64, .attends = true},
    {.N = 1 * 77, .T = 77, .C = 64, .F = 64, .NH = 1, .HS = 128, .V = 64, .attends = true},
    {.N = 3 * 33, .T = 33, .C = 64, .F = 64, .NH = 2, .HS = 88, .V = 64, .attends = true},
    {.N = 2 * 3, .T = 3, .C = 64, .F = 64, .NH = 2, .HS = 96, .V = 64, .attends = true},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

struct problem {
    int B, T, NH, HS;
    int64_t N, W;
    float scale;
    float *qkv, *dout;
    float *out, *lse, *dqkv;    /* expected */

    const void *qkv_there, *dout_there;
    void *out_there, *dqkv_there;
    float *lse_there;
};

/* Of the CPU's kernels, in fp32. */
static void expect(struct problem *a)
{
    struct device *cpu;
    const struct kernels *k;
    assert_ok(device_open(&cpu, &(struct device_options){.kind = "cpu"}));
    assert_ok(kernels_for(&k, cpu, DTYPE_F32));
    assert_ok(k->reserve(cpu, &(struct kernel_limits){
        .N = a->N, .T = a->T, .C = 8, .F = 8, .NH = a->NH, .HS = a->HS, .V = 8}));
    k->attention_forward(cpu, &(struct attention_forward){
        .out = a->out, .lse = a->lse, .qkv = a->qkv, .B = a->B, .T = a->T, .NH = a->NH,
        .HS = a->HS, .scale = a->scale});
    k->attention_backward(cpu, &(struct attention_backward){
        .dqkv = a->dqkv, .dout = a->dout, .out = a->out, .lse = a->lse, .qkv = a->qkv, .B = a->B,
        .T = a->T, .NH = a->NH, .HS = a->HS, .scale = a->scale});
    assert_ok(device_synchronize(cpu));
    device_close(cpu);
}

/* The scale is that of heads that were padded to this size. */
static struct problem make_problem(struct bench *b)
{
    const int64_t N = b->s.N, W = (int64_t)b->s.NH * b->s.HS;
    struct problem a = {
        .B = (int)(N / b->s.T), .T = b->s.T, .NH = b->s.NH, .HS = b->s.HS, .N = N, .W = W,
        .scale = 1.0f / sqrtf((float)b->s.HS - 3),
        .qkv = bench_values(b, N * 3 * W, 1), .dout = bench_values(b, N * W, 1),
        .out = bench_host(b, (size_t)(N * W) * sizeof(float)),
        .lse = bench_host(b, (size_t)(N * b->s.NH) * sizeof(float)),
        .dqkv = bench_host(b, (size_t)(N * 3 * W) * sizeof(float)),
    };
    expect(&a);
    a.qkv_there = bench_act(b, a.qkv, N * 3 * W);
    a.dout_there = bench_act(b, a.dout, N * W);
    return a;
}

static void forget_results(struct bench *b, struct problem *a)
{
    a->out_there = bench_new_act(b, a->N * a->W);
    a->lse_there = bench_new_floats(b, a->N * a->NH);
    a->dqkv_there = bench_new_act(b, a->N * 3 * a->W);
}

static struct attention_forward forward_of(const struct problem *a)
{
    return (struct attention_forward){
        .out = a->out_there, .lse = a->lse_there, .qkv = a->qkv_there, .B = a->B, .T = a->T,
        .NH = a->NH, .HS = a->HS, .scale = a->scale};
}

static struct attention_backward backward_of(const struct problem *a)
{
    return (struct attention_backward){
        .dqkv = a->dqkv_there, .dout = a->dout_there, .out = a->out_there, .lse = a->lse_there,
        .qkv = a->qkv_there, .B = a->B, .T = a->T, .NH = a->NH, .HS = a->HS,
        .scale = a->scale};
}

/* dq, dk and dv apart: each must be right by its own size. */
static void check_results(struct bench *b, const struct problem *a)
{
    static const char *const names[] = {"dq", "dk", "dv"};
    const int64_t N = a->N, W = a->W;
    const float *lse = bench_get(b, a->lse_there, (size_t)(N * a->NH) * sizeof *lse);
    assert_close("out", bench_get_act(b, a->out_there, N * W), a->out, N * W, b->bound);
    assert_close("lse", lse, a->lse, N * a->NH, b->bound);
    const float *dqkv = bench_get_act(b, a->dqkv_there, N * 3 * W);
    float *got = bench_host(b, (size_t)(N * W) * sizeof *got);
    float *expected = bench_host(b, (size_t)(N * W) * sizeof *expected);
    for (int part = 0; part < 3; part++) {
        for (int64_t i = 0; i < N * W; i++) {
            got[i] = dqkv[(i / W * 3 + part) * W + i % W];
            expected[i] = a->dqkv[(i / W * 3 + part) * W + i % W];
        }
        assert_close(names[part], got, expected, N * W, b->bound);
    }
}

/* Calls it, then lets a graph do it twice. */
static void check_called_and_replayed(struct bench *b, struct problem *a,
                                      void (*run)(struct bench *b, const struct problem *a))
{
    struct device_graph *graph;
    forget_results(b, a);
    run(b, a);
    check_results(b, a);
    forget_results(b, a);
    device_graph_begin(b->device);
    run(b, a);
    assert_ok(device_graph_end(b->device, &graph));
    for (int i = 0; i < 2; i++)
        device_graph_launch(graph);
    check_results(b, a);
    device_graph_destroy(graph);
}

/* ---- cuDNN alone ---- */

static struct cudnn_sdpa *sdpa;
static struct sdpa_plan *plans[SDPA_PASSES];
static void *scratch;

static void run_cudnn(struct bench *b, const struct problem *a)
{
    (void)b;
    const struct attention_forward forward = forward_of(a);
    const struct attention_backward backward = backward_of(a);
    assert_ok(cudnn_sdpa_forward(sdpa, plans[SDPA_FORWARD], &forward, scratch));
    assert_ok(cudnn_sdpa_backward(sdpa, plans[SDPA_BACKWARD], &backward, scratch));
}

static void check_cudnn(struct bench *b)
{
    struct problem a = make_problem(b);
    const struct sdpa_shape shape = {.B = a.B, .T = a.T, .NH = a.NH, .HS = a.HS, .act = b->act};
    size_t bytes = 0;
    assert_ok(cudnn_sdpa_open(&sdpa, device_cuda_stream(b->device)));
    for (int pass = 0; pass < SDPA_PASSES; pass++) {
        assert_ok(cudnn_sdpa_plan(&plans[pass], sdpa, (enum sdpa_pass)pass, &shape));
        const size_t needed = cudnn_sdpa_scratch_bytes(plans[pass]);
        bytes = needed > bytes ? needed : bytes;
    }
    scratch = bench_garbage(b, bytes);
    check_called_and_replayed(b, &a, run_cudnn);
    for (int pass = 0; pass < SDPA_PASSES; pass++)
        cudnn_sdpa_destroy(plans[pass]);
    cudnn_sdpa_close(sdpa);
}

static void test_cudnn_agrees_with_the_cpu(void **state)
{
    (void)state;
    bench_run_tuned(&options, DTYPE_BF16, shapes, SHAPES, check_cudnn);
    bench_run_tuned(&options, DTYPE_F16, shapes, SHAPES, check_cudnn);
}

/* ---- whichever the table takes ---- */

static void run_table(struct bench *b, const struct problem *a)
{
    const struct attention_forward forward = forward_of(a);
    const struct attention_backward backward = backward_of(a);
    b->k->attention_forward(b->device, &forward);
    b->k->attention_backward(b->device, &backward);
}

static void check_table(struct bench *b)
{
    struct problem a = make_problem(b);
    check_called_and_replayed(b, &a, run_table);
}

static void test_the_faster_agrees_with_the_cpu(void **state)
{
    (void)state;
    bench_run_tuned(&options, DTYPE_BF16, shapes, SHAPES, check_table);
    bench_run_tuned(&options, DTYPE_F16, shapes, SHAPES, check_table);
}

int main(int argc, char **argv)
{
    options = bench_arguments(argc, argv);
    if (!strcmp(options.device, "cpu")) {
        puts("skipped: cuDNN needs a GPU");
        return 77;
    }
    struct error *e = cudnn_sdpa_open(&sdpa, NULL);
    if (e) {
        printf("skipped: %s\n", error_message(e));
        error_destroy(e);
        return 77;
    }
    cudnn_sdpa_close(sdpa);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cudnn_agrees_with_the_cpu),
        cmocka_unit_test(test_the_faster_agrees_with_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
