/*
 * attention_decode.cu - attention of new positions against a cache of keys and values.
 *
 * New keys and values go to the cache first. Then a block takes one head of one new position: warps
 * share the keys, each with a softmax of its own over those it saw, and their results are combined
 * in order.
 */
#include "kernels/cuda/attention.cuh"

namespace {

constexpr int WARPS = 8;
constexpr int CHANNELS = LARGEST_HEAD / WARP;    /* of a lane, 32 apart */

/* One element a thread, of keys and values of (B, n, NH, HS). */
template <typename T> __global__ void append_kernel(const struct attention_decode a)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t width = (int64_t)a.NH * a.HS;
    if (i >= (int64_t)a.B * a.n * 2 * width)
        return;
    const int64_t row = i / (2 * width), channel = i % width, kv = i / width % 2;
    const int64_t b = row / a.n, position = a.position + row % a.n, head = channel / a.HS;
    const int64_t to =
        (((b * 2 + kv) * a.NH + head) * a.capacity + position) * a.HS + channel % a.HS;
    static_cast<T *>(a.cache)[to] =
        static_cast<const T *>(a.qkv)[row * 3 * width + (kv + 1) * width + channel];
}

template <typename T>
__device__ void load_lane(float (&x)[CHANNELS], const T *from, int HS)
{
#pragma unroll
    for (int i = 0; i < CHANNELS; i++) {
        const int c = i * WARP + threadIdx.x % WARP;
        x[i] = c < HS ? to_float(from[c]) : 0.0f;
    }
}

template <typename T>
__global__ void __launch_bounds__(WARPS * WARP) attention_decode_kernel(const struct attention_decode a)
{
    __shared__ float outs[WARPS][LARGEST_HEAD], maxima[WARPS], sums[WARPS];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int head = blockIdx.x, i = blockIdx.y, b = blockIdx.z;
    const int64_t width = (int64_t)a.NH * a.HS, row = (int64_t)b * a.n + i;
    const T *keys = static_cast<const T *>(a.cache) +
                    (((int64_t)b * 2) * a.NH + head) * a.capacity * a.HS;
    const T *values = keys + (int64_t)a.NH * a.capacity * a.HS;
    const uint8_t *shown = a.cache_mask + (int64_t)b * a.capacity;
    const float scale = LOG2_E * a.scale;

    float q[CHANNELS], out[CHANNELS] = {}, max = -INFINITY, sum = 0;
    load_lane(q, static_cast<const T *>(a.qkv) + row * 3 * width + head * a.HS, a.HS);
    for (int j = (a.first_key ? a.first_key[b] : 0) + warp; j <= a.position + i; j += WARPS) {
        if (!shown[j])
            continue;
        float x[CHANNELS], score = 0;
        load_lane(x, keys + (int64_t)j * a.HS, a.HS);
        for (int c = 0; c < CHANNELS; c++)
            score += q[c] * x[c];
        score = warp_sum(score) * scale;
        const float larger = fmaxf(max, score), shrink = exp2f(max - larger);
        const float p = exp2f(score - larger);
        load_lane(x, values + (int64_t)j * a.HS, a.HS);
        for (int c = 0; c < CHANNELS; c++)
            out[c] = out[c] * shrink + p * x[c];
        sum = sum * shrink + p;
        max = larger;
    }
    for (int c = 0; c < CHANNELS; c++)
        outs[warp][c * WARP + lane] = out[c];
    if (lane == 0) {
        maxima[warp] = max;
        sums[warp] = sum;
    }
    __syncthreads();

    float largest = -INFINITY, total = 0;
    for (int w = 0; w < WARPS; w++)
        largest = fmaxf(largest, maxima[w]);
    const float base = largest == -INFINITY ? 0.0f : largest;
    for (int w = 0; w < WARPS; w++)
        total += sums[w] * exp2f(maxima[w] - base);
    for (int c = threadIdx.x; c < a.HS; c += WARPS * WARP) {
        float x = 0;
        for (int w = 0; w < WARPS; w++)
            x += outs[w][c] * exp2f(maxima[w] - base);
        static_cast<T *>(a.out)[row * width + head * a.HS + c] =
            from_float<T>(total > 0 ? x / total : 0.0f);
    }
}

template <typename T> void decode(struct device *device, const struct attention_decode *a)
{
    cudaStream_t stream = device_cuda_stream(device);
    const int64_t elements = (int64_t)a->B * a->n * 2 * a->NH * a->HS;
    const int threads = WARPS * WARP;
    auto launched = [&](cudaError_t status) {
        cuda_launched(device, status, "attention_decode", "%d x %d x %d heads of %d", a->B, a->n,
                      a->NH, a->HS);
    };
    launched(launch(stream, dim3((unsigned)((elements + threads - 1) / threads)),
                    dim3((unsigned)threads), 0, append_kernel<T>, *a));
    launched(launch(stream, dim3((unsigned)a->NH, (unsigned)a->n, (unsigned)a->B),
                    dim3((unsigned)threads), 0, attention_decode_kernel<T>, *a));
}

} // namespace

void cuda_attention_decode(struct device *device, enum dtype act, const struct attention_decode *a)
{
    with_type(act, [&](auto zero) { decode<decltype(zero)>(device, a); });
}
