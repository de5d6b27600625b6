/*
 * layernorm.cu - layer norm fused with the residual sum before it, forward and backward.
 *
 * A warp works on a row; a lane always on the same channels of it, so nothing but the row's sums
 * moves between lanes. Backward adds up the gradients of weight and bias warp by warp in shared
 * memory, then block by block in scratch, then over all blocks: always in the same order.
 */
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/dropout.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/reduce.cuh"

#include <algorithm>

namespace {

constexpr int FORWARD_WARPS = 4;
constexpr int BACKWARD_WARPS = 8;
constexpr int BACKWARD_BLOCKS = 512;    /* at most; so many sums of the parameters' gradients */
constexpr int64_t SHARED_BYTES = 96 * 1024;    /* of a block, unless one warp needs more */
static_assert(SHARED_BYTES <= CUDA_SHARED_BYTES, "what a block has");

template <typename T, int W>
__global__ void layernorm_forward_kernel(T *y, T *sum, float *means, float *rstds, const T *x,
                                         const T *delta, const float *weight, const float *bias,
                                         int64_t N, int C, float epsilon, struct dropout dropout)
{
    DYNAMIC_SHARED(float, rows);
    const int64_t n = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    if (n >= N)
        return;
    float *row = rows + threadIdx.y * C;
    float total = 0;
    for (int c = threadIdx.x * W; c < C; c += WARP * W) {
        float v[W], d[W];
        load<T, W>(v, x + n * C + c);
        if (delta) {
            load<T, W>(d, delta + n * C + c);
            drop_in_row<W>(d, dropout, n, c);
            for (int i = 0; i < W; i++)
                v[i] += d[i];
        }
        if (sum)
            store<T, W>(sum + n * C + c, v);
        store<float, W>(row + c, v);
        for (int i = 0; i < W; i++)
            total += v[i];
    }
    const float mean = warp_sum(total) / (float)C;

    float squares = 0;
    for (int c = threadIdx.x * W; c < C; c += WARP * W)
        for (int i = 0; i < W; i++)
            squares += (row[c + i] - mean) * (row[c + i] - mean);
    const float rstd = 1.0f / sqrtf(warp_sum(squares) / (float)C + epsilon);

    for (int c = threadIdx.x * W; c < C; c += WARP * W) {
        float v[W], w[W], b[W];
        load<float, W>(v, row + c);
        load<float, W>(w, weight + c);
        load<float, W>(b, bias + c);
        for (int i = 0; i < W; i++)
            v[i] = (v[i] - mean) * rstd * w[i] + b[i];
        store<T, W>(y + n * C + c, v);
    }
    if (means && threadIdx.x == 0) {
        means[n] = mean;
        rstds[n] = rstd;
    }
}

/* dy + dy_more at one place. */
template <typename T, int W>
__device__ void load_gradient(float *g, const T *dy, const T *dy_more, int64_t at)
{
    load<T, W>(g, dy + at);
    if (dy_more) {
        float more[W];
        load<T, W>(more, dy_more + at);
        for (int i = 0; i < W; i++)
            g[i] += more[i];
    }
}

/* partial (blocks, 2, C): the block's sums for weight and bias. */
template <typename T, int W>
__global__ void layernorm_backward_kernel(T *dsum, T *ddelta, float *partial, const T *dy,
                                          const T *dy_more,
                                          const T *dresidual, const T *sum, const float *means,
                                          const float *rstds, const float *weight, int64_t N, int C,
                                          struct dropout dropout)
{
    DYNAMIC_SHARED(float, sums);    /* (warps, 2, C) */
    float *dweight = sums + (int64_t)threadIdx.y * 2 * C, *dbias = dweight + C;
    for (int c = threadIdx.x; c < 2 * C; c += WARP)
        dweight[c] = 0;
    __syncwarp();    /* lanes zeroed each other's channels */

    for (int64_t n = (int64_t)blockIdx.x * blockDim.y + threadIdx.y; n < N;
         n += (int64_t)gridDim.x * blockDim.y) {
        const float mean = means[n], rstd = rstds[n];
        float g_total = 0, gx_total = 0;
        for (int c = threadIdx.x * W; c < C; c += WARP * W) {
            float d[W], s[W], w[W];
            load_gradient<T, W>(d, dy, dy_more, n * C + c);
            load<T, W>(s, sum + n * C + c);
            load<float, W>(w, weight + c);
            for (int i = 0; i < W; i++) {
                const float xhat = (s[i] - mean) * rstd;
                g_total += d[i] * w[i];
                gx_total += d[i] * w[i] * xhat;
                dweight[c + i] += d[i] * xhat;
                dbias[c + i] += d[i];
            }
        }
        const float g_mean = warp_sum(g_total) / (float)C;
        const float gx_mean = warp_sum(gx_total) / (float)C;
        for (int c = threadIdx.x * W; c < C; c += WARP * W) {
            float d[W], s[W], w[W], r[W] = {};
            load_gradient<T, W>(d, dy, dy_more, n * C + c);
            load<T, W>(s, sum + n * C + c);
            load<float, W>(w, weight + c);
            if (dresidual)
                load<T, W>(r, dresidual + n * C + c);
            for (int i = 0; i < W; i++)
                r[i] += (d[i] * w[i] - g_mean - (s[i] - mean) * rstd * gx_mean) * rstd;
            store<T, W>(dsum + n * C + c, r);
            if (ddelta) {
                drop_in_row<W>(r, dropout, n, c);
                store<T, W>(ddelta + n * C + c, r);
            }
        }
    }
    __syncthreads();

    for (int c = threadIdx.y * WARP + threadIdx.x; c < 2 * C; c += blockDim.y * WARP) {
        float total = 0;
        for (int warp = 0; warp < (int)blockDim.y; warp++)
            total += sums[(int64_t)warp * 2 * C + c];
        partial[(int64_t)blockIdx.x * 2 * C + c] = total;
    }
}

/* Warps of a block so that each has `floats` of shared memory. */
unsigned warps_that_fit(int most, int64_t floats)
{
    const int64_t fit = SHARED_BYTES / (floats * (int64_t)sizeof(float));
    return (unsigned)std::clamp<int64_t>(fit, 1, most);
}

template <typename T> void forward(struct device *device, const struct layernorm_forward *a)
{
    const unsigned warps = warps_that_fit(FORWARD_WARPS, a->C);
    const unsigned blocks = (unsigned)((a->N + warps - 1) / warps);
    const bool aligned =
        rows_are_aligned<T>(a->C, a->y, a->sum, a->x, a->delta, a->weight, a->bias);
    with_width<T>(aligned, [&](auto width) {
        cuda_launched(device,
                      launch(device_cuda_stream(device), dim3(blocks), dim3(WARP, warps),
                             warps * (size_t)a->C * sizeof(float),
                             layernorm_forward_kernel<T, decltype(width)::value>,
                             static_cast<T *>(a->y),
                             a->sum == a->x && !a->delta ? nullptr : static_cast<T *>(a->sum),
                             a->mean, a->rstd, static_cast<const T *>(a->x),
                             static_cast<const T *>(a->delta), a->weight, a->bias, a->N, a->C,
                             a->epsilon, a->dropout),
                      "layernorm_forward", "%lld x %d", (long long)a->N, a->C);
    });
}

template <typename T> void backward(struct device *device, const struct layernorm_backward *a)
{
    const unsigned warps = warps_that_fit(BACKWARD_WARPS, 2 * (int64_t)a->C);
    const int64_t wanted = (a->N + warps - 1) / warps;
    const unsigned blocks = (unsigned)std::min<int64_t>(wanted, BACKWARD_BLOCKS);
    const size_t shared_bytes = warps * 2 * (size_t)a->C * sizeof(float);
    float *partial =
        static_cast<float *>(cuda_scratch(device, blocks * 2 * (size_t)a->C * sizeof(float)));
    const bool aligned =
        rows_are_aligned<T>(a->C, a->dsum, a->ddelta, a->dy, a->dy_more, a->dresidual, a->sum,
                            a->weight);
    with_width<T>(aligned, [&](auto width) {
        cuda_launched(device,
                      launch(device_cuda_stream(device), dim3(blocks), dim3(WARP, warps),
                             shared_bytes, layernorm_backward_kernel<T, decltype(width)::value>,
                             static_cast<T *>(a->dsum), static_cast<T *>(a->ddelta), partial,
                             static_cast<const T *>(a->dy), static_cast<const T *>(a->dy_more),
                             static_cast<const T *>(a->dresidual), static_cast<const T *>(a->sum),
                             a->mean, a->rstd, a->weight, a->N, a->C, a->dropout),
                      "layernorm_backward", "%lld x %d", (long long)a->N, a->C);
    });
    cuda_add_parts(device, "layernorm_backward", a->dweight, a->dbias, a->C, partial, (int)blocks,
                   2 * a->C);
}

} // namespace

size_t cuda_layernorm_scratch_bytes(const struct kernel_limits *limits)
{
    return BACKWARD_BLOCKS * 2 * (size_t)limits->C * sizeof(float);
}

size_t cuda_layernorm_shared_bytes(int C)
{
    return 2 * (size_t)C * sizeof(float);
}

void cuda_layernorm_forward(struct device *device, enum dtype act,
                            const struct layernorm_forward *a)
{
    if (a->N > 0)
        with_type(act, [&](auto zero) { forward<decltype(zero)>(device, a); });
}

void cuda_layernorm_backward(struct device *device, enum dtype act,
                             const struct layernorm_backward *a)
{
    if (a->N > 0)
        with_type(act, [&](auto zero) { backward<decltype(zero)>(device, a); });
}
