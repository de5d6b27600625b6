/*
 * test_simgpu_streams.cpp - streams, events, graphs and copies of the simulated device: right where
 * the edges are there, wrong under some seed where one is missing, one message where a call may not
 * be.
 */
#include "kernels/cuda/gpu.cuh"

#include <vector>

#include "child.h"

using simgpu::assert_dies;
using simgpu::assert_good;
using simgpu::assert_missed;

namespace {

enum { SEEDS = 50, N = 300 };

__global__ void add_kernel(float *x, float value)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < N)
        x[i] += value;
}

/* Two streams, device memory full of 0, pinned memory full of 1. */
struct scene {
    cudaStream_t a, b;
    cudaEvent_t event;
    float *device, *pinned;
    bool good = true;

    scene()
    {
        void *d, *p;
        *this << cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking)
              << cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking)
              << cudaEventCreateWithFlags(&event, cudaEventDisableTiming)
              << cudaMalloc(&d, N * sizeof(float)) << cudaMallocHost(&p, N * sizeof(float));
        device = static_cast<float *>(d);
        pinned = static_cast<float *>(p);
        std::fill(pinned, pinned + N, 1.0f);
        *this << cudaMemsetAsync(device, 0, N * sizeof(float), a) << cudaStreamSynchronize(a);
    }

    scene &operator<<(cudaError_t status)
    {
        good &= status == cudaSuccess;
        return *this;
    }

    cudaError_t add(cudaStream_t stream, float value)
    {
        return launch(stream, dim3(2), dim3(160), 0, add_kernel, device, value);
    }

    cudaError_t copy(cudaStream_t stream, bool out)
    {
        return out ? cudaMemcpyAsync(pinned, device, N * sizeof(float), cudaMemcpyDeviceToHost,
                                     stream)
                   : cudaMemcpyAsync(device, pinned, N * sizeof(float), cudaMemcpyHostToDevice,
                                     stream);
    }

    bool pinned_is(float value) const
    {
        return good && std::count(pinned, pinned + N, value) == N;
    }
};

/* ---- order ---- */

template <bool wait> bool event_orders_streams()
{
    scene s;
    s << s.add(s.a, 3) << cudaEventRecord(s.event, s.a);
    if (wait)
        s << cudaStreamWaitEvent(s.b, s.event, 0);
    s << s.copy(s.b, true) << cudaStreamSynchronize(s.b) << cudaStreamSynchronize(s.a);
    return s.pinned_is(3);
}

void test_events_order_streams(void **)
{
    assert_good(SEEDS, event_orders_streams<true>);
    assert_missed(SEEDS, event_orders_streams<false>);
}

template <bool wait> bool pinned_memory_is_read_when_the_copy_runs()
{
    scene s;
    s << s.copy(s.a, false) << cudaEventRecord(s.event, s.a);
    if (wait)
        s << cudaEventSynchronize(s.event);
    std::fill(s.pinned, s.pinned + N, 7.0f);
    s << s.add(s.a, 1) << s.copy(s.a, true) << cudaStreamSynchronize(s.a);
    return s.pinned_is(2);
}

void test_pinned_memory_is_read_when_the_copy_runs(void **)
{
    assert_good(SEEDS, pinned_memory_is_read_when_the_copy_runs<true>);
    assert_missed(SEEDS, pinned_memory_is_read_when_the_copy_runs<false>);
}

void test_queries_end(void **)
{
    assert_good(SEEDS, [] {
        scene s;
        s << s.add(s.a, 1) << s.copy(s.a, true) << cudaEventRecord(s.event, s.a);
        cudaError_t status;
        while ((status = cudaEventQuery(s.event)) == cudaErrorNotReady)
            ;
        s << status << cudaStreamQuery(s.a);
        return s.pinned_is(1);
    });
}

/* The host does something else, such as waiting for another process. */
void test_work_goes_on_while_the_host_is_silent(void **)
{
    assert_good(3, [] {
        scene s;
        s << s.add(s.a, 1) << s.copy(s.a, true);
        for (int i = 0; i < 100 && *static_cast<volatile float *>(s.pinned + N - 1) != 1; i++)
            usleep(20000);
        usleep(1000);
        return s.pinned_is(1);
    });
}

/* ---- graphs ---- */

/* Two branches that meet: b adds 1 and a copies out; `join`: a waits for b. */
template <bool join> cudaGraph_t capture(scene &s)
{
    cudaGraph_t graph;
    cudaEvent_t back;
    s << cudaEventCreateWithFlags(&back, cudaEventDisableTiming);
    s << cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal) << s.copy(s.a, false)
      << cudaEventRecord(s.event, s.a) << cudaStreamWaitEvent(s.b, s.event, 0) << s.add(s.b, 1);
    s << cudaEventRecord(back, s.b);
    if (join)
        s << cudaStreamWaitEvent(s.a, back, 0);
    s << s.copy(s.a, true) << cudaStreamWaitEvent(s.a, back, 0) << cudaStreamEndCapture(s.a,
        &graph);
    return graph;
}

template <bool join> bool graph_is_right()
{
    scene s;
    const cudaGraph_t graph = capture<join>(s);
    cudaGraphExec_t exec;
    s << cudaGraphInstantiate(&exec, graph, 0) << cudaGraphDestroy(graph);
    for (int i = 0; i < 4; i++)
        s << cudaGraphLaunch(exec, i % 2 ? s.b : s.a);
    s << s.add(s.b, 0) << cudaStreamSynchronize(s.b) << cudaStreamSynchronize(s.a)
      << cudaGraphExecDestroy(exec);
    return s.pinned_is(5);
}

void test_graphs_keep_the_captured_edges(void **)
{
    assert_good(SEEDS, graph_is_right<true>);
    assert_missed(SEEDS, graph_is_right<false>);
}

void test_a_graph_is_updated_by_one_of_its_shape(void **)
{
    assert_good(5, [] {
        scene s;
        const cudaGraph_t graph = capture<true>(s), other = capture<false>(s);
        const cudaGraph_t same = capture<true>(s);
        cudaGraphExec_t exec;
        s << cudaGraphInstantiate(&exec, graph, 0) << cudaGraphExecUpdate(exec, same, nullptr);
        return s.good && cudaGraphExecUpdate(exec, other,
                                             nullptr) == cudaErrorGraphExecUpdateFailure;
    });
}

void test_wrong_captures_are_refused(void **)
{
    const auto refused = [](cudaError_t expected, bool joins,
                            const std::function<cudaError_t(scene &)> &call) {
        assert_good(1, [=] {
            scene s;
            s << cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal) << s.add(s.a, 1);
            const cudaError_t first = call(s);
            cudaGraph_t graph;
            const cudaError_t end = cudaStreamEndCapture(s.a, &graph);
            return joins ? end == expected : first == expected && end == cudaErrorStreamCaptureInvalidated;
        });
    };
    refused(cudaErrorStreamCaptureUnsupported, false,
            [](scene &s) { return cudaStreamSynchronize(s.a); });
    refused(cudaErrorStreamCaptureUnsupported, false,
            [](scene &s) { return cudaStreamSynchronize(s.b); });
    refused(cudaErrorStreamCaptureUnsupported, false, [](scene &) {
        void *memory;
        return cudaMalloc(&memory, 8);
    });
    refused(cudaErrorStreamCaptureIsolation, false, [](scene &s) {
        s << cudaEventRecord(s.event, s.b);
        return cudaStreamWaitEvent(s.a, s.event, 0);
    });
    refused(cudaErrorCapturedEvent, false, [](scene &s) {
        s << cudaEventRecord(s.event, s.a);
        return cudaEventQuery(s.event);
    });
    refused(cudaErrorStreamCaptureUnjoined, true, [](scene &s) {
        s << cudaEventRecord(s.event, s.a) << cudaStreamWaitEvent(s.b, s.event, 0);
        return s.add(s.b, 1);
    });
}

/* ---- memory ---- */

void test_copies_outside_an_allocation_are_told(void **)
{
    assert_dies("its destination takes bytes 4 to 1204 of 1200 bytes of device memory", [] {
        scene s;
        return !cudaMemcpyAsync(s.device + 1, s.pinned, N * sizeof(float), cudaMemcpyHostToDevice,
                                s.a);
    });
    assert_dies("its source takes bytes 0 to 1204 of 1200 bytes of pinned host memory", [] {
        scene s;
        void *large;
        return !cudaMalloc(&large, 5000) &&
               !cudaMemcpyAsync(large, s.pinned, 1204, cudaMemcpyHostToDevice, s.a);
    });
    assert_dies("its source points to memory that the device does not know", [] {
        scene s;
        std::vector<float> host(N);
        return !cudaMemcpyAsync(s.pinned, host.data(), N * sizeof(float), cudaMemcpyDeviceToHost,
                                s.a);
    });
    assert_dies("its destination points into 1200 bytes that have been freed", [] {
        scene s;
        return !cudaFree(s.device) && !s.copy(s.a, false);
    });
    assert_dies("cudaFree of", [] {
        scene s;
        return !cudaFree(s.device + 1);
    });
    assert_dies("on the default stream", [] {
        scene s;
        return !s.add(nullptr, 1);
    });
}

/* Rows of 3 floats, 5 apart on the device, 4 on the host: there and back, and nothing between. */
void test_rows_are_copied_alone(void **)
{
    enum { WIDTH = 3, ROWS = 50 };
    const size_t wide = 5 * sizeof(float), host = 4 * sizeof(float), row = WIDTH * sizeof(float);
    for (const bool pinned : {true, false})
        assert_good(SEEDS, [=] {
            scene s;
            std::vector<float> ordinary(N, 1.0f);
            float *const memory = pinned ? s.pinned : ordinary.data();
            for (int i = 0; i < ROWS * 4; i++)
                memory[i] = (float)(10 + i);
            s << cudaMemcpy2DAsync(s.device, wide, memory, host, row, ROWS, cudaMemcpyHostToDevice,
                                   s.a)
              << s.add(s.a, 1000);
            if (pinned)
                s << cudaStreamSynchronize(s.a);
            std::fill(memory, memory + ROWS * 4, -1.0f);
            s << cudaMemcpy2DAsync(memory, host, s.device, wide, row, ROWS, cudaMemcpyDeviceToHost,
                                   s.a);
            if (pinned)
                s << cudaStreamSynchronize(s.a);
            for (int i = 0; i < ROWS * 4; i++)
                s.good &= memory[i] == (i % 4 < WIDTH ? (float)(1010 + i) : -1.0f);
            s << s.copy(s.a, true) << cudaStreamSynchronize(s.a);
            for (int i = 0; i < ROWS * 5; i++)
                s.good &= s.pinned[i] == (i % 5 < WIDTH ? (float)(1010 + i / 5 * 4 + i % 5) : 1000.0f);
            return s.good;
        });
    assert_good(1, [=] {
        scene s;
        return cudaMemcpy2DAsync(s.device, row - 1, s.pinned, host, row, ROWS,
                                 cudaMemcpyHostToDevice, s.a) == cudaErrorInvalidPitchValue;
    });
    assert_dies("its destination takes bytes 0 to 1212 of 1200 bytes of device memory", [=] {
        scene s;
        return !cudaMemcpy2DAsync(s.device, wide, s.pinned, row, row, 61, cudaMemcpyHostToDevice,
                                  s.a);
    });
    assert_dies("its destination takes bytes 0 to 1208 of 1200 bytes of pinned host memory", [=] {
        scene s;
        return !cudaMemcpy2DAsync(s.pinned, host + 4, s.device, row, row - 4, 61,
                                  cudaMemcpyDeviceToHost, s.a);
    });
}

void test_fresh_memory_is_no_number(void **)
{
    assert_good(1, [] {
        scene s;
        void *fresh;
        s << cudaMalloc(&fresh, N * sizeof(float))
          << cudaMemcpyAsync(s.pinned, fresh, N * sizeof(float), cudaMemcpyDeviceToHost, s.a)
          << cudaStreamSynchronize(s.a);
        return s.good && std::isnan(s.pinned[0]) && std::isnan(s.pinned[N - 1]);
    });
}

/* ---- settings ---- */

bool under(const std::vector<std::string> &settings, const std::function<bool()> &body)
{
    return simgpu::in_child(settings, body).good;
}

void test_devices_and_memory_are_as_asked_for(void **)
{
    assert_true(under({"SIMGPU_DEVICES=none"}, [] {
        int count = -1;
        void *memory;
        return cudaGetDeviceCount(&count) == cudaErrorInsufficientDriver && count == -1 &&
               cudaMalloc(&memory, 1) == cudaErrorInsufficientDriver;
    }));
    assert_true(under({"SIMGPU_DEVICES=0"}, [] {
        int count;
        return cudaGetDeviceCount(&count) == cudaErrorNoDevice;
    }));
    assert_true(under({"SIMGPU_DEVICES=3"}, [] {
        int count;
        return !cudaGetDeviceCount(&count) && count == 3 && !cudaSetDevice(2) &&
               cudaSetDevice(3) == cudaErrorInvalidDevice;
    }));
    assert_true(under({"SIMGPU_DEVICES=4", "CUDA_VISIBLE_DEVICES=2,0,9,1"}, [] {
        int count, bus;
        return !cudaGetDeviceCount(&count) && count == 2 &&
               !cudaDeviceGetAttribute(&bus, cudaDevAttrPciBusId, 0) && bus == 3;
    }));
    assert_true(under({"SIMGPU_MEMORY=1000000"}, [] {
        void *first, *second;
        return !cudaMalloc(&first, 600000) && cudaMalloc(&second,
                                                         600000) == cudaErrorMemoryAllocation &&
               !cudaFree(first) && !cudaMalloc(&second, 600000);
    }));
}

void test_the_chosen_call_fails(void **)
{
    assert_true(under({"SIMGPU_FAIL=cudaMalloc:2:2"}, [] {
        void *memory;
        return !cudaMalloc(&memory, 8) && cudaMalloc(&memory, 8) == cudaErrorMemoryAllocation &&
               !cudaMalloc(&memory, 8);
    }));
    assert_true(under({"SIMGPU_FAIL=kernel:2:700"}, [] {
        scene s;
        s << s.add(s.a, 1) << cudaStreamSynchronize(s.a) << s.add(s.a, 1);
        return s.good && cudaStreamSynchronize(s.a) == cudaErrorIllegalAddress &&
               cudaStreamQuery(s.b) == cudaErrorIllegalAddress;    /* for good */
    }));
    assert_false(under({"SIMGPU_FAIL=cudaMalloc"}, [] {
        void *memory;
        cudaMalloc(&memory, 8);
        return true;
    }));
}

}    // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_events_order_streams),
        cmocka_unit_test(test_pinned_memory_is_read_when_the_copy_runs),
        cmocka_unit_test(test_queries_end),
        cmocka_unit_test(test_work_goes_on_while_the_host_is_silent),
        cmocka_unit_test(test_graphs_keep_the_captured_edges),
        cmocka_unit_test(test_a_graph_is_updated_by_one_of_its_shape),
        cmocka_unit_test(test_wrong_captures_are_refused),
        cmocka_unit_test(test_copies_outside_an_allocation_are_told),
        cmocka_unit_test(test_rows_are_copied_alone),
        cmocka_unit_test(test_fresh_memory_is_no_number),
        cmocka_unit_test(test_devices_and_memory_are_as_asked_for),
        cmocka_unit_test(test_the_chosen_call_fails),
    };
    return cmocka_run_group_tests_name("simulated streams", tests, nullptr, nullptr);
}
