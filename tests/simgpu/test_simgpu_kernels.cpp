/*
 * test_simgpu_kernels.cpp - kernels on the simulated device: barriers, warp operations, shared
 * memory, tensor-core tiles, and that what is wrong with a kernel shows.
 */
#include "kernels/cuda/gpu.cuh"
#include "kernels/cuda/mma.cuh"

#include <vector>

#include "child.h"
#include "sanitizer.h"

using simgpu::assert_dies;
using simgpu::assert_good;
using simgpu::assert_missed;

namespace {

enum { SEEDS = 10, THREADS = 96 };

/* Device memory with a copy of `host`, which may be empty. */
template <typename T> T *on_device(cudaStream_t stream, const std::vector<T> &host)
{
    void *memory;
    if (cudaMalloc(&memory, host.size() * sizeof(T)) ||
        cudaMemcpyAsync(memory, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice,
                        stream))
        abort();
    return static_cast<T *>(memory);
}

template <typename T> std::vector<T> on_host(cudaStream_t stream, const T *memory, size_t n)
{
    std::vector<T> host(n);
    if (cudaMemcpyAsync(host.data(), memory, n * sizeof(T), cudaMemcpyDeviceToHost, stream))
        abort();
    return host;
}

cudaStream_t new_stream()
{
    cudaStream_t stream;
    if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking))
        abort();
    return stream;
}

/* ---- sums: shuffles, shared memory, a barrier between ---- */

__device__ float warp_sum(float x)
{
    for (int with = 16; with > 0; with /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, with);
    return x;
}

template <bool barrier> __global__ void sum_kernel(float *sums, const float *x)
{
    __shared__ float partial[THREADS / 32];
    const float sum = warp_sum(x[blockIdx.x * THREADS + threadIdx.x]);
    if (threadIdx.x % 32 == 0)
        partial[threadIdx.x / 32] = sum;
    if (barrier)
        __syncthreads();
    if (threadIdx.x == 0)
        sums[blockIdx.x] = partial[0] + partial[1] + partial[2];
}

template <bool barrier> bool sums_are_right()
{
    enum { BLOCKS = 5 };
    std::vector<float> x(BLOCKS * THREADS), none(BLOCKS);
    for (size_t i = 0; i < x.size(); i++)
        x[i] = (float)(i % 31);
    const cudaStream_t stream = new_stream();
    float *const dx = on_device(stream, x), *const sums = on_device(stream, none);
    if (launch(stream, dim3(BLOCKS), dim3(THREADS), 0, sum_kernel<barrier>, sums, dx))
        return false;
    const std::vector<float> got = on_host(stream, sums, BLOCKS);
    for (size_t b = 0; b < BLOCKS; b++) {
        float expected = 0;
        for (size_t i = 0; i < THREADS; i++)
            expected += x[b * THREADS + i];
        if (!(got[b] == expected))
            return false;
    }
    return true;
}

void test_threads_meet_at_barriers_and_shuffles(void **)
{
    assert_good(SEEDS, sums_are_right<true>);
}

void test_a_missing_barrier_shows(void **)
{
    assert_missed(SEEDS, sums_are_right<false>);
}

/* ---- every warp operation, on a warp of 32 and one of 9 lanes ---- */

__global__ void warp_kernel(int *wrong)
{
    const int lane = threadIdx.x % 32;
    const bool whole = threadIdx.x < 32;
    const unsigned all = whole ? 0xffffffffu : 0x1ffu;
    const int lanes = whole ? 32 : 9;
    int bad = 0;
    bad += __shfl_sync(all, lane * 3, 5) != 15;
    bad += lane >= 2 && __shfl_up_sync(all & ~3u, lane, 1, 32) != (lane > 2 ? lane - 1 : -1);
    bad += whole && __shfl_down_sync(all, lane, 4, 8) != (lane % 8 < 4 ? lane + 4 : lane);
    bad += __ballot_sync(all, lane % 3 == 0) != (0x49249249u & all);
    bad += __any_sync(all, lane == 8) != 1 || __any_sync(all, lane == 40) != 0;
    bad += __all_sync(all, lane < lanes) != 1 || __all_sync(all, lane == 1) != 0;
    bad += __match_any_sync(all, lane % 2) != ((lane % 2 ? 0xaaaaaaaau : 0x55555555u) & all);
    bad += __reduce_add_sync(all, lane) != lanes * (lanes - 1) / 2;
    bad += __reduce_max_sync(all, (unsigned)lane) != (unsigned)lanes - 1;
    bad += __reduce_min_sync(all, lane - 3) != -3;
    if (lane % 2)    /* two halves of a warp apart, then together */
        bad += __shfl_sync(0xaaaaaaaau & all, lane, 7) != 7;
    else
        bad += __shfl_sync(0x55555555u & all, lane, 6) != 6;
    __syncwarp(all);
    if (lane < 4) {
        atomicAdd(wrong, bad);
        return;    /* lanes that are gone are waited for no longer */
    }
    bad += __ballot_sync(all, 1) != (all & ~15u);
    atomicAdd(wrong, bad);
}

bool warp_operations_are_right()
{
    const cudaStream_t stream = new_stream();
    int *const wrong = on_device(stream, std::vector<int>{0});
    if (launch(stream, dim3(3), dim3(41), 0, warp_kernel, wrong))
        return false;
    return on_host(stream, wrong, 1)[0] == 0;
}

void test_warp_operations(void **)
{
    assert_good(SEEDS, warp_operations_are_right);
}

/* ---- tiles and asynchronous copies ---- */

template <typename T, bool wait> __global__ void tile_kernel(float *c, const T *a, const T *b)
{
    constexpr int K = MMA_DEPTH<T>;
    DYNAMIC_SHARED(T, tile_a);
    T *const tile_b = tile_a + 16 * K;
    for (int i = threadIdx.x * 16; i < 16 * K * (int)sizeof(T); i += 32 * 16) {
        copy_async_16(reinterpret_cast<char *>(tile_a) + i, reinterpret_cast<const char *>(a) + i,
                      true);
        copy_async_16(reinterpret_cast<char *>(tile_b) + i, reinterpret_cast<const char *>(b) + i,
                      true);
    }
    copy_async_commit();
    if (wait)
        copy_async_wait<0>();
    __syncthreads();

    mma_a<T> left;
    mma_b<T> right[2];
    mma_c sum[2] = {};
    mma_load_a(left, tile_a, K);
    mma_load_b(right, tile_b, K);
    for (int side = 0; side < 2; side++)
        mma_multiply_add(sum[side], left, right[side]);
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < 4; i++)
            c[(g + i / 2 * 8) * 16 + side * 8 + 2 * t + i % 2] = sum[side].x[i];
}

template <typename T, bool wait> bool tile_is_right()
{
    constexpr int K = MMA_DEPTH<T>;
    std::vector<T> a(16 * K), b(16 * K);
    for (int i = 0; i < 16 * K; i++) {
        a[(size_t)i] = (T)(float)(i * 7 % 11 - 5);
        b[(size_t)i] = (T)(float)(i * 5 % 13 - 6);
    }
    const cudaStream_t stream = new_stream();
    float *const c = on_device(stream, std::vector<float>(256));
    const T *const da = on_device(stream, a), *const db = on_device(stream, b);
    if (launch(stream, dim3(1), dim3(32), 32 * K * sizeof(T), tile_kernel<T, wait>, c, da, db))
        return false;
    const std::vector<float> got = on_host(stream, c, 256);
    for (size_t row = 0; row < 16; row++)
        for (size_t column = 0; column < 16; column++) {
            float expected = 0;
            for (size_t k = 0; k < K; k++)
                expected += (float)a[row * K + k] * (float)b[column * K + k];
            if (!(got[row * 16 + column] == expected))
                return false;
        }
    return true;
}

void test_tensor_core_tiles(void **)
{
    assert_good(2, tile_is_right<float, true>);
    assert_good(2, tile_is_right<__nv_bfloat16, true>);
    assert_good(2, tile_is_right<__half, true>);
}

void test_a_missing_wait_for_a_copy_shows(void **)
{
    assert_missed(1, tile_is_right<float, false>);
}

/* ---- what ends the process ---- */

template <typename K, typename... A> bool run_alone(size_t shared_bytes, K kernel, A... arguments)
{
    const cudaStream_t stream = new_stream();
    float *const memory = on_device(stream, std::vector<float>(100));
    return !launch(stream, dim3(1), dim3(64), shared_bytes, kernel, memory, arguments...) &&
           !cudaStreamSynchronize(stream);
}

__global__ void half_at_barrier_kernel(float *)
{
    if (threadIdx.x < 16)
        __syncwarp();
    else
        __syncthreads();
}

__global__ void write_past_end_kernel(float *x, int at)
{
    x[at] = 1;
}

__global__ void read_other_kernel(float *x, const float *other)
{
    x[0] = other[0];
}

__global__ void deep_kernel(float *x)
{
    volatile char stack[1 << 20];
    stack[threadIdx.x] = 1;
    x[threadIdx.x] = stack[threadIdx.x];
    __syncthreads();
}

void test_a_deadlock_is_told(void **)
{
    assert_dies("16 of warp 0 at __syncthreads",
                [] { return run_alone(0, half_at_barrier_kernel); });
    assert_dies("16 of warp 0 at __syncwarp with mask 0xffffffff",
                [] { return run_alone(0, half_at_barrier_kernel); });
}

void test_writes_past_an_allocation_are_told(void **)
{
    if (!simgpu::sanitized)
        assert_dies("wrote to byte 400 of 400 bytes of device memory",
                    [] { return run_alone(0, write_past_end_kernel, 100); });
    assert_dies("touches byte 4000 of 400 bytes",
                [] { return run_alone(0, write_past_end_kernel, 1000); });
    assert_dies("touches memory that the device does not know",
                [] { return run_alone(0, write_past_end_kernel, 100000000); });
}

void test_foreign_and_freed_pointers_are_told(void **)
{
    assert_dies("argument 2 points to memory that the device does not know", [] {
        static float host;
        return run_alone(0, read_other_kernel, (const float *)&host);
    });
    assert_dies("argument 2 points into 4 bytes that have been freed", [] {
        void *freed;
        if (cudaMalloc(&freed, 4) || cudaFree(freed))
            return false;
        return run_alone(0, read_other_kernel, (const float *)freed);
    });
}

void test_host_code_may_not_touch_device_memory(void **)
{
    assert_dies("host code touches byte 8 of 64 bytes of device memory", [] {
        void *memory;
        return !cudaMalloc(&memory, 64) && static_cast<volatile float *>(memory)[2] == 0;
    });
}

void test_a_stack_overflow_ends_the_process(void **)
{
    const simgpu::ending e = simgpu::in_child({}, [] { return run_alone(0, deep_kernel); });
    assert_false(e.good);
}

void test_impossible_launches_fail(void **)
{
    assert_good(1, [] {
        const cudaStream_t stream = new_stream();
        float *const x = on_device(stream, std::vector<float>(1));
        const cudaError_t refused = cudaErrorInvalidConfiguration;
        return launch(stream, dim3(1), dim3(1025), 0, deep_kernel, x) == refused &&
               launch(stream, dim3(0), dim3(32), 0, deep_kernel, x) == refused &&
               launch(stream, dim3(1), dim3(32), 164 * 1024, deep_kernel,
                      x) == cudaErrorInvalidValue &&
               cudaGetLastError() == cudaErrorInvalidValue && cudaGetLastError() == cudaSuccess;
    });
}

}    // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_meet_at_barriers_and_shuffles),
        cmocka_unit_test(test_a_missing_barrier_shows),
        cmocka_unit_test(test_warp_operations),
        cmocka_unit_test(test_tensor_core_tiles),
        cmocka_unit_test(test_a_missing_wait_for_a_copy_shows),
        cmocka_unit_test(test_a_deadlock_is_told),
        cmocka_unit_test(test_writes_past_an_allocation_are_told),
        cmocka_unit_test(test_foreign_and_freed_pointers_are_told),
        cmocka_unit_test(test_host_code_may_not_touch_device_memory),
        cmocka_unit_test(test_a_stack_overflow_ends_the_process),
        cmocka_unit_test(test_impossible_launches_fail),
    };
    return cmocka_run_group_tests_name("simulated kernels", tests, nullptr, nullptr);
}
