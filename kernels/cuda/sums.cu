/*
 * sums.cu - sums over the flat buffers: of squares, and of hashes.
 *
 * A number of blocks that depends on the count alone adds up parts, one more block adds those: the
 * same order, so the same bits, on every GPU.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.cuh"

#include <algorithm>

namespace {

constexpr int THREADS = 256;
constexpr int64_t MOST_PARTS = 1024;

struct square {
    using sum = double;
    static __device__ double of(float x, int64_t)
    {
        return (double)x * (double)x;
    }
};

/* The finisher of splitmix64. */
struct hash {
    using sum = unsigned long long;
    static __device__ unsigned long long of(float x, int64_t i)
    {
        uint64_t z = (uint64_t)i * 0x9E3779B97F4A7C15u + __float_as_uint(x);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
};

template <typename F>
__global__ void parts_kernel(typename F::sum *parts, const float *x, int64_t count)
{
    __shared__ typename F::sum slots[WARP];
    typename F::sum total = 0;
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < count;
         i += (int64_t)gridDim.x * THREADS)
        total += F::of(x[i], i);
    total = block_sum(total, slots);
    if (threadIdx.x == 0)
        parts[blockIdx.x] = total;
}

template <typename Sum, typename Result>
__global__ void add_parts_kernel(Result *result, const Sum *parts, int count)
{
    __shared__ Sum slots[WARP];
    Sum total = 0;
    for (int i = threadIdx.x; i < count; i += THREADS)
        total += parts[i];
    total = block_sum(total, slots);
    if (threadIdx.x == 0)
        *result = total;
}

template <typename F, typename Result>
void sum(struct device *device, const char *kernel, Result *result, const float *x, int64_t count)
{
    using Sum = typename F::sum;
    const unsigned blocks =
        (unsigned)std::clamp<int64_t>(count / (THREADS * 4), 1, MOST_PARTS);
    Sum *parts = static_cast<Sum *>(cuda_scratch(device, blocks * sizeof(Sum)));
    cudaStream_t stream = device_cuda_stream(device);
    cuda_launched(device, launch(stream, dim3(blocks), dim3(THREADS), 0, parts_kernel<F>, parts, x,
                                 count),
                  kernel, "%lld elements", (long long)count);
    cuda_launched(device, launch(stream, dim3(1), dim3(THREADS), 0, add_parts_kernel<Sum, Result>,
                                 result, parts, (int)blocks),
                  kernel, "%u parts", blocks);
}

} // namespace

size_t cuda_sums_scratch_bytes()
{
    return MOST_PARTS * sizeof(double);
}

void cuda_sum_of_squares(struct device *device, enum dtype, const struct sum_of_squares *a)
{
    sum<square>(device, "sum_of_squares", a->result, a->x, a->count);
}

void cuda_checksum(struct device *device, enum dtype, const struct checksum *a)
{
    sum<hash>(device, "checksum", a->result, a->x, a->count);
}
