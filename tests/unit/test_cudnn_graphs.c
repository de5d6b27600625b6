/*
 * test_cudnn_graphs.c - the graphs of attention, shown to the real cuDNN: it knows the pattern and
 * has engines for an H200, for every head size and type that Galley gives to it.
 *
 * No GPU is needed up to the loading of what was compiled: cuDNN is told of one in JSON, and its
 * path leads to the CUDA toolkit's stand-in for the driver.
 */
#include "testing.h"

#include "kernels/cuda/cudnn_library.h"
#include "kernels/cuda/cudnn_sdpa_graph.h"

static const char h200[] =
    "{\"deviceVer\":900,\"multiProcessorCount\":132,\"warpSize\":32,"
    "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":232448,"
    "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":32,"
    "\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"regsPerBlock\":65536,"
    "\"totalGlobalMem\":150754820096,\"smClockRateKHz\":1980000,\"l2CacheSize\":62914560,"
    "\"maxBlockSize\":[1024,1024,64],\"memClockRateKHz\":3201000,"
    "\"maxGridSize\":[2147483647,65535,65535],\"supportCoopLaunch\":1,\"pciDeviceId\":0,"
    "\"isTccDriver\":0,\"cudaDeviceId\":0,\"driverVer\":13000,\"deviceName\":\"NVIDIA H200\"}";

static struct cudnn_target target;

static const struct sdpa_shape gpt2 = {.B = 16, .T = 1024, .NH = 12, .HS = 64, .act = DTYPE_BF16};

static void propose(enum sdpa_pass pass, const struct sdpa_shape *shape, bool expected)
{
    struct cudnn_graph graph = {0};
    sdpa_describe(&graph, pass, shape);
    struct error *e = cudnn_graph_propose(&graph, &target);
    if (e && expected)
        fail_msg("%s %s of heads of %d: %s", dtype_name(shape->act),
                 pass == SDPA_FORWARD ? "forward" : "backward", shape->HS, error_message(e));
    if (!e && !expected)
        fail_msg("heads of %d are taken", shape->HS);
    assert_true(e ? graph.candidate_count == 0 : graph.candidate_count > 0);
    error_destroy(e);
    cudnn_graph_destroy(&graph);
}

static void test_both_passes_have_engines(void **state)
{
    (void)state;
    static const int sizes[] = {8, 64, 88, 96, 128};
    static const enum dtype types[] = {DTYPE_BF16, DTYPE_F16};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int t = 0; t < 2; t++) {
            struct sdpa_shape shape = gpt2;
            shape.HS = sizes[i];
            shape.act = types[t];
            assert_true(cudnn_sdpa_takes(&shape));
            for (int pass = 0; pass < SDPA_PASSES; pass++)
                propose((enum sdpa_pass)pass, &shape, true);
        }
}

/* Lengths that no tile divides, one head, one sequence. */
static void test_odd_shapes_have_engines(void **state)
{
    (void)state;
    static const struct sdpa_shape shapes[] = {
        {.B = 1, .T = 77, .NH = 1, .HS = 128, .act = DTYPE_BF16},
        {.B = 3, .T = 200, .NH = 5, .HS = 88, .act = DTYPE_F16},
    };
    for (int i = 0; i < 2; i++)
        for (int pass = 0; pass < SDPA_PASSES; pass++)
            propose((enum sdpa_pass)pass, &shapes[i], true);
}

static void test_what_cudnn_refuses_is_not_given_to_it(void **state)
{
    (void)state;
    struct sdpa_shape shape = gpt2;
    shape.HS = 85;
    assert_false(cudnn_sdpa_takes(&shape));
    for (int pass = 0; pass < SDPA_PASSES; pass++)
        propose((enum sdpa_pass)pass, &shape, false);
    shape.HS = 136;
    assert_false(cudnn_sdpa_takes(&shape));
    shape = gpt2;
    shape.act = DTYPE_F32;
    assert_false(cudnn_sdpa_takes(&shape));
}

/* The plan is compiled, and comes as far as the driver, which is not there. */
static void test_plans_are_made(void **state)
{
    (void)state;
    for (int pass = 0; pass < SDPA_PASSES; pass++) {
        struct cudnn_graph graph = {0};
        sdpa_describe(&graph, (enum sdpa_pass)pass, &gpt2);
        struct error *e = cudnn_graph_plan(&graph, &target);
        if (e && !strstr(error_message(e), "CUDA_DRIVER"))
            fail_msg("%s", error_message(e));
        assert_true(e ? !graph.plan_count : graph.plan_count && graph.workspace_bytes >= 0);
        error_destroy(e);
        cudnn_graph_destroy(&graph);
    }
}

/* The first failure is what is told, and nothing is asked of cuDNN behind it. */
static void test_a_mistake_is_told(void **state)
{
    (void)state;
    struct cudnn_graph graph = {0};
    cudnnBackendDescriptor_t none = cudnn_tensor(
        &graph, 1, CUDNN_DATA_BFLOAT16, cudnn_dense(1, 1, -4, 8), CUDNN_IN_MEMORY);
    cudnn_matmul(&graph, none, none, none);
    assert_fails(cudnn_graph_propose(&graph, &target), "describing a tensor: cudnnBackendFinalize");
    cudnn_graph_destroy(&graph);
}

int main(void)
{
    struct error *e = cudnn_load();
    if (e) {
        printf("skipped: %s\n", error_message(e));
        error_destroy(e);
        return 77;
    }
    assert_ok(cudnn_check(cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR,
                                                       &target.properties), "create"));
    assert_ok(cudnn_check(cudnnBackendSetAttribute(target.properties,
                                                   CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                                   CUDNN_TYPE_CHAR, sizeof h200, h200), "set"));
    assert_ok(cudnn_check(cudnnBackendFinalize(target.properties), "finalize"));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_passes_have_engines),
        cmocka_unit_test(test_odd_shapes_have_engines),
        cmocka_unit_test(test_what_cudnn_refuses_is_not_given_to_it),
        cmocka_unit_test(test_plans_are_made),
        cmocka_unit_test(test_a_mistake_is_told),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cudnnBackendDestroyDescriptor(target.properties);
    return failed;
}
