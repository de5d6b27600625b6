/*
 * test_simgpu_kept.cpp - what the CUDA kernels keep with their device between calls.
 *
 * Plans, by which products run with an epilogue or without: where they are not tuned, as rounds the
 * same in every run, else as is faster, once that was timed, which is never in a graph, but behind
 * it. And scratch memory, which graphs hold.
 */
#include "kernels/cuda/cuda.h"

#include <cublasLt.h>

#include "child.h"
#include "gemm.h"

using simgpu::ending;
using simgpu::gemm_runs;
using simgpu::in_child;

namespace {

enum { N = 32, K = 24, M = 40 };

[[noreturn]] void stop(struct error *e)
{
    fprintf(stderr, "%s\n", error_message(e));
    _exit(4);
}

void must(struct error *e)
{
    if (e)
        stop(e);
}

/* A linear layer's forward and backward pass through a GELU, with all that they want. */
struct layer {
    struct device *device;
    const struct kernels *k;
    void *x, *y, *pre, *weight, *dx;
    float *bias, *dweight, *dbias;

    explicit layer(bool tune)
    {
        struct device_options options = {};
        options.kind = "cuda";
        options.local_size = 1;
        options.tune = tune;
        must(device_open(&device, &options));
        must(kernels_for(&k, device, DTYPE_BF16));
        reserve(N);
        const size_t largest = sizeof(float) * M * (N + K);
        for (void **memory : {&x, &y, &pre, &weight, &dx})
            must(device_allocate(device, memory, largest, "an array of a test"));
        for (float **memory : {&bias, &dweight, &dbias})
            must(device_allocate(device, reinterpret_cast<void **>(memory), largest,
                                 "an array of a test"));
    }

    void reserve(int64_t rows)
    {
        struct kernel_limits limits = {};
        limits.N = rows;
        limits.C = K;
        limits.F = M;
        limits.T = limits.NH = limits.HS = 1;
        limits.V = M;
        must(k->reserve(device, &limits));
    }

    /* Plain: the same products, with nothing beside them. */
    void queue(bool plain = false)
    {
        struct linear_forward forward = {};
        forward.y = y;
        forward.pre = plain ? nullptr : pre;
        forward.x = x;
        forward.weight = weight;
        forward.bias = plain ? nullptr : bias;
        forward.activation = plain ? ACTIVATION_NONE : ACTIVATION_GELU;
        forward.N = N;
        forward.K = K;
        forward.M = M;
        k->linear_forward(device, &forward);
        struct linear_backward backward = {};
        backward.dx = dx;
        backward.dweight = dweight;
        backward.dbias = plain ? nullptr : dbias;
        backward.dy = y;
        backward.x = x;
        backward.weight = weight;
        backward.x_activation = plain ? ACTIVATION_NONE : ACTIVATION_GELU;
        backward.x_pre = x;
        backward.N = N;
        backward.K = K;
        backward.M = M;
        k->linear_backward(device, &backward);
    }
};

/* Products by their epilogues. */
struct products {
    long plain, forward, derivative, bias_gradient;

    static products so_far()
    {
        return {gemm_runs(0), gemm_runs(CUBLASLT_EPILOGUE_GELU_AUX_BIAS),
                gemm_runs(CUBLASLT_EPILOGUE_DGELU), gemm_runs(CUBLASLT_EPILOGUE_BGRADA)};
    }
    bool are(const products &before, long p, long f, long d, long b) const
    {
        const bool right = plain - before.plain == p && forward - before.forward == f &&
                           derivative - before.derivative == d && bias_gradient - before.bias_gradient == b;
        if (!right)
            fprintf(stderr, "%ld plain products, %ld with GELU_AUX_BIAS, %ld with DGELU, %ld "
                    "with BGRADA\n",
                    plain - before.plain, forward - before.forward, derivative - before.derivative,
                    bias_gradient - before.bias_gradient);
        return right;
    }
};

/* What runs when all plans are made: the second time. */
bool planned(layer &l, long plain, long forward, long derivative, long bias_gradient)
{
    l.queue();
    must(device_synchronize(l.device));
    const products before = products::so_far();
    l.queue();
    must(device_synchronize(l.device));
    return products::so_far().are(before, plain, forward, derivative, bias_gradient);
}

bool second_time(bool tune, long plain, long forward, long derivative, long bias_gradient)
{
    layer l(tune);
    return planned(l, plain, forward, derivative, bias_gradient);
}

void assert_ends_well(const ending &e)
{
    if (!e.good)
        fail_msg("%s", e.printed.empty() ? "wrong" : e.printed.c_str());
}

void test_untuned_products_take_the_epilogues_that_round_alike(void **)
{
    for (const char *speed : {"SIMGPU_EPILOGUES=fast", "SIMGPU_EPILOGUES=slow"})
        assert_ends_well(in_child({speed}, [] { return second_time(false, 1, 1, 1, 0); }));
}

void test_tuned_products_take_the_epilogues_that_pay(void **)
{
    assert_ends_well(in_child({"SIMGPU_EPILOGUES=fast"},
                              [] { return second_time(true, 0, 1, 1, 1); }));
    assert_ends_well(in_child({"SIMGPU_EPILOGUES=slow"},
                              [] { return second_time(true, 3, 0, 0, 0); }));
}

/* There nothing can be waited for: products are what they are without tuning. */
void test_nothing_is_timed_in_a_graph(void **)
{
    assert_ends_well(in_child({"SIMGPU_EPILOGUES=fast"}, [] {
        layer l(true);
        struct device_graph *graph;
        device_graph_begin(l.device);
        l.queue();
        must(device_graph_end(l.device, &graph));
        device_graph_launch(graph);
        must(device_synchronize(l.device));
        return products::so_far().are({}, 1, 1, 1, 0);
    }));
}

/* What runs when plans were made in a graph, of whose memory some is gone, and are met outside. */
bool after_a_graph(bool plain_in_graph, long plain, long forward, long derivative,
                   long bias_gradient)
{
    layer l(true);
    struct device_graph *graph;
    device_graph_begin(l.device);
    l.queue(plain_in_graph);
    must(device_graph_end(l.device, &graph));
    device_graph_destroy(graph);
    void *const gone = l.pre;
    must(device_allocate(l.device, &l.pre, sizeof(float) * M * (N + K), "an array of a test"));
    device_release(l.device, gone);
    return planned(l, plain, forward, derivative, bias_gradient);
}

void test_products_of_a_graph_are_timed_after_it(void **)
{
    for (const bool plain_in_graph : {false, true}) {
        assert_ends_well(in_child({"SIMGPU_EPILOGUES=fast"}, [plain_in_graph] {
            return after_a_graph(plain_in_graph, 0, 1, 1, 1);
        }));
        assert_ends_well(in_child({"SIMGPU_EPILOGUES=slow"}, [plain_in_graph] {
            return after_a_graph(plain_in_graph, 3, 0, 0, 0);
        }));
    }
}

/* As when texts are sampled between steps, by more rows at a time than a step has. */
void test_graphs_outlive_growing_scratch(void **)
{
    assert_ends_well(in_child({}, [] {
        layer l(false);
        struct device_graph *graph;
        l.queue();
        device_graph_begin(l.device);
        l.queue();
        must(device_graph_end(l.device, &graph));
        l.reserve(1000 * N);
        device_graph_launch(graph);
        must(device_synchronize(l.device));
        return true;
    }));
}

}    // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_untuned_products_take_the_epilogues_that_round_alike),
        cmocka_unit_test(test_tuned_products_take_the_epilogues_that_pay),
        cmocka_unit_test(test_nothing_is_timed_in_a_graph),
        cmocka_unit_test(test_products_of_a_graph_are_timed_after_it),
        cmocka_unit_test(test_graphs_outlive_growing_scratch),
    };
    return cmocka_run_group_tests_name("what kernels keep", tests, nullptr, nullptr);
}
