/*
 * test_simgpu_attention.c - who runs attention: cuDNN where it is faster and right, our own kernels
 * in every other case, and the results are the same.
 */
#include "testing.h"

#include "kernels/kernels.h"

#include <dlfcn.h>
#include <stdbool.h>

/* So small that a simulated kernel, which computes whole tiles, is slower than the plain loops of
 * the simulated cuDNN. */
enum { B = 2, T = 8, NH = 2, HS = 8, W = NH * HS, N = B * T };

/* A device, and one problem on it. */
struct rig {
    struct device *device;
    const struct kernels *k;
    uint16_t *qkv, *dout, *out, *dqkv;    /* device memory */
    float *lse;
    uint8_t *mask;
    int32_t *first_key;
};

static void *take(struct rig *r, size_t bytes)
{
    void *memory;
    assert_ok(device_allocate(r->device, &memory, bytes, "an array of a test"));
    return memory;
}

static void open_limited(struct rig *r, const char *mood, bool tune, bool attends)
{
    setenv("SIMGPU_CUDNN", mood, 1);
    assert_ok(device_open(&r->device, &(struct device_options){.kind = "cuda", .tune = tune}));
    assert_ok(kernels_for(&r->k, r->device, DTYPE_BF16));
    assert_ok(r->k->reserve(r->device, &(struct kernel_limits){
        .N = N, .T = T, .C = W, .F = W, .NH = NH, .HS = HS, .V = W, .attends = attends}));
    r->qkv = take(r, N * 3 * W * sizeof *r->qkv);
    r->dout = take(r, N * W * sizeof *r->dout);
    r->out = take(r, N * W * sizeof *r->out);
    r->dqkv = take(r, N * 3 * W * sizeof *r->dqkv);
    r->lse = take(r, N * NH * sizeof *r->lse);
    r->mask = take(r, N);
    r->first_key = take(r, N * sizeof *r->first_key);

    uint16_t values[N * 3 * W];
    uint8_t ones[N];
    for (int i = 0; i < N * 3 * W; i++)
        values[i] = bf16_from_float(sinf((float)(i * i % 997)));
    memset(ones, 1, sizeof ones);
    device_copy_in(r->device, r->qkv, values, sizeof values);
    device_copy_in(r->device, r->dout, values + 7, N * W * sizeof *values);
    device_copy_in(r->device, r->mask, ones, sizeof ones);
    assert_ok(device_synchronize(r->device));
}

static void open_rig(struct rig *r, const char *mood, bool tune)
{
    open_limited(r, mood, tune, true);
}

static struct attention_forward forward_of(const struct rig *r)
{
    return (struct attention_forward){.out = r->out, .lse = r->lse, .qkv = r->qkv, .B = B, .T = T,
                                      .NH = NH, .HS = HS, .scale = 1.0f / sqrtf((float)HS)};
}

static struct attention_backward backward_of(const struct rig *r)
{
    return (struct attention_backward){.dqkv = r->dqkv, .dout = r->dout, .out = r->out,
                                       .lse = r->lse, .qkv = r->qkv, .B = B, .T = T, .NH = NH,
                                       .HS = HS, .scale = 1.0f / sqrtf((float)HS)};
}

static void run_both(const struct rig *r)
{
    const struct attention_forward forward = forward_of(r);
    const struct attention_backward backward = backward_of(r);
    r->k->attention_forward(r->device, &forward);
    r->k->attention_backward(r->device, &backward);
}

/* How many plans of cuDNN ran in this process; what is queued runs first. */
static int64_t runs(const struct rig *r)
{
    assert_ok(device_synchronize(r->device));
    void *library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_NOLOAD);
    if (!library)
        return 0;
    int64_t (*count)(void);
    void *address = dlsym(library, "simulated_cudnn_runs");
    assert_non_null(address);
    memcpy(&count, &address, sizeof count);
    const int64_t n = count();
    dlclose(library);
    return n;
}

struct results {
    float out[N * W], dqkv[N * 3 * W];
};

static void get_results(const struct rig *r, struct results *to)
{
    static uint16_t out[N * W], dqkv[N * 3 * W];
    device_copy_out(r->device, out, r->out, sizeof out);
    device_copy_out(r->device, dqkv, r->dqkv, sizeof dqkv);
    assert_ok(device_synchronize(r->device));
    for (int i = 0; i < N * W; i++)
        to->out[i] = bf16_to_float(out[i]);
    for (int i = 0; i < N * 3 * W; i++)
        to->dqkv[i] = bf16_to_float(dqkv[i]);
}

static struct results own;    /* without tune */

/* Results are right, and the last ones came from cuDNN or did not. */
static void check_next(const struct rig *r, int64_t expected_runs)
{
    static struct results got;
    const int64_t before = runs(r);
    device_zero(r->device, r->out, N * W * sizeof *r->out);
    device_zero(r->device, r->dqkv, N * 3 * W * sizeof *r->dqkv);
    run_both(r);
    assert_int_equal(runs(r) - before, expected_runs);
    get_results(r, &got);
    assert_close("out", got.out, own.out, N * W, 1e-2);
    assert_close("dqkv", got.dqkv, own.dqkv, N * 3 * W, 1e-2);
}

static void test_without_tune_it_is_our_own(void **state)
{
    (void)state;
    struct rig r;
    open_rig(&r, "", false);
    run_both(&r);
    get_results(&r, &own);
    assert_int_equal(runs(&r), 0);
    device_close(r.device);
}

static void test_the_faster_runs(void **state)
{
    (void)state;
    struct rig r;
    open_rig(&r, "", true);
    run_both(&r);
    assert_true(runs(&r) > 0);
    check_next(&r, 2);
    device_close(r.device);

    open_rig(&r, "slow", true);
    const int64_t before = runs(&r);
    run_both(&r);
    assert_true(runs(&r) > before);
    check_next(&r, 0);
    device_close(r.device);
}

/* Once it has been tried, a cuDNN of this mood runs so many of the passes. */
static void check_mood(const char *mood, int passes)
{
    struct rig r;
    open_rig(&r, mood, true);
    run_both(&r);
    check_next(&r, passes);
    device_close(r.device);
}

/* The engine that cuDNN proposes first may be slow, or wrong. */
static void test_a_better_engine_runs(void **state)
{
    (void)state;
    static const char *const moods[] = {"first slow", "first wrong"};
    for (int i = 0; i < 2; i++)
        check_mood(moods[i], 2);
    check_mood("second large", 0);
}

/* Where cuDNN is not what it should be, nobody but the log hears of it. */
static void test_a_bad_cudnn_harms_nothing(void **state)
{
    (void)state;
    static const char *const moods[] = {"wrong", "fail", "none", "old"};
    struct rig r;
    for (int i = 0; i < 4; i++)
        check_mood(moods[i], 0);
    open_rig(&r, "", true);
    run_both(&r);
    check_next(&r, 2);
    setenv("SIMGPU_CUDNN", "fail", 1);    /* from now on */
    check_next(&r, 0);
    setenv("SIMGPU_CUDNN", "", 1);
    check_next(&r, 0);
    device_close(r.device);
}

static void test_what_cudnn_cannot_see_is_our_own(void **state)
{
    (void)state;
    struct rig r;
    open_rig(&r, "", true);
    const int64_t before = runs(&r);
    struct attention_forward f = forward_of(&r);
    f.key_mask = r.mask;
    r.k->attention_forward(r.device, &f);
    f = forward_of(&r);
    f.first_key = r.first_key;
    r.k->attention_forward(r.device, &f);
    f = forward_of(&r);
    f.dropout = dropout_at(0.1f, 1, 0, 0, DROPOUT_PROBABILITIES, 0, T);
    r.k->attention_forward(r.device, &f);
    f = forward_of(&r);
    f.B = 1;
    r.k->attention_forward(r.device, &f);
    f = forward_of(&r);
    f.lse = NULL;
    r.k->attention_forward(r.device, &f);
    struct attention_backward b = backward_of(&r);
    b.key_mask = r.mask;
    r.k->attention_backward(r.device, &b);
    assert_int_equal(runs(&r), before);
    device_close(r.device);
}

/* As for a decoder, and where probabilities are dropped. */
static void test_nothing_is_planned_for_who_does_not_attend(void **state)
{
    (void)state;
    struct rig r;
    open_limited(&r, "", true, false);
    const int64_t before = runs(&r);
    run_both(&r);
    assert_int_equal(runs(&r), before);
    device_close(r.device);
}

/* A graph must not be timed while it is made; then it is made of whichever was chosen before. */
static void test_graphs_take_what_was_chosen(void **state)
{
    (void)state;
    struct rig r;
    struct device_graph *graph;
    open_rig(&r, "", true);
    for (int chosen = 0; chosen < 2; chosen++) {
        const int64_t before = runs(&r);
        device_graph_begin(r.device);
        run_both(&r);
        assert_ok(device_graph_end(r.device, &graph));
        device_graph_launch(graph);
        assert_int_equal(runs(&r) - before, chosen ? 2 : 0);
        device_graph_destroy(graph);
        run_both(&r);
    }
    device_close(r.device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_tune_it_is_our_own),
        cmocka_unit_test(test_the_faster_runs),
        cmocka_unit_test(test_a_better_engine_runs),
        cmocka_unit_test(test_a_bad_cudnn_harms_nothing),
        cmocka_unit_test(test_what_cudnn_cannot_see_is_our_own),
        cmocka_unit_test(test_nothing_is_planned_for_who_does_not_attend),
        cmocka_unit_test(test_graphs_take_what_was_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
