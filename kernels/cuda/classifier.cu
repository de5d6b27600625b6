/*
 * classifier.cu - the head fused with softmax and cross entropy.
 *
 * Rows go through in chunks: logits of a chunk, their softmax, its gradient in the activation type,
 * then both products of backward; logits as a whole (13 GB for 64 x 1024 rows of GPT-2's words)
 * never exist. Rows of the chunk's matrices are padded to a multiple of 128 elements, as products
 * on odd row lengths (GPT-2 has 50257 words) are slow.
 */
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/weight_gradient.h"

#include <algorithm>

namespace {

constexpr int THREADS = 512;
constexpr int64_t PADDING = 128;
constexpr int64_t CHUNK_BYTES = 1LL << 30;    /* of fp32 logits, at most */
constexpr int64_t FEWEST_ROWS = 128, MOST_ROWS = 8192;

int64_t padded(int64_t n)
{
    return (n + PADDING - 1) / PADDING * PADDING;
}

int64_t chunk_rows(int64_t N, int V)
{
    const int64_t rows = CHUNK_BYTES / (int64_t)sizeof(float) / padded(V) / PADDING * PADDING;
    return std::min(N, std::clamp(rows, FEWEST_ROWS, MOST_ROWS));
}

/* The largest of some logits, the first place where it stands, and the sum of exp(z - max). */
struct maximum {
    float max;
    int at;
    float sum;
};

__device__ inline maximum combine(const maximum &x, const maximum &y)
{
    const bool x_wins = x.max > y.max || (x.max == y.max && x.at < y.at);
    maximum r = x_wins ? x : y;
    r.sum = 0;
    if (x.sum != 0)    /* true of a NaN, which is to stay one */
        r.sum += x.sum * expf(x.max - r.max);
    if (y.sum != 0)
        r.sum += y.sum * expf(y.max - r.max);
    return r;
}

__device__ inline maximum warp_maximum(maximum x)
{
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        maximum y;
        y.max = __shfl_xor_sync(ALL_LANES, x.max, distance);
        y.at = __shfl_xor_sync(ALL_LANES, x.at, distance);
        y.sum = __shfl_xor_sync(ALL_LANES, x.sum, distance);
        /* Both sides combine in the same order, or their sums could differ by rounding. */
        x = threadIdx.x & distance ? combine(y, x) : combine(x, y);
    }
    return x;
}

/* Of a row z + bias; every thread gets it. */
__device__ maximum row_maximum(const float *z, const float *bias, int V)
{
    __shared__ maximum slots[WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    maximum mine = {-INFINITY, 0, 0};
    for (int v = threadIdx.x; v < V; v += THREADS) {
        const float x = z[v] + (bias ? bias[v] : 0.0f);
        if (x > mine.max || v == (int)threadIdx.x) {
            mine.sum = v == (int)threadIdx.x ? 1.0f : mine.sum * expf(mine.max - x) + 1.0f;
            mine.max = x;
            mine.at = v;
        } else {
            mine.sum += expf(x - mine.max);
        }
    }
    mine = warp_maximum(mine);
    if (lane == 0)
        slots[warp] = mine;
    __syncthreads();
    const maximum none = {-INFINITY, 0, 0};
    return warp_maximum(lane < THREADS / WARP ? slots[lane] : none);
}

/*
 * A block a row of the chunk: loss, whether the first largest is the target's, and, with dz, the
 * gradient (softmax - onehot) * scale of rows that count, 0 of others. z and dz have rows of ld
 * elements.
 */
template <typename T>
__global__ void cross_entropy_kernel(float *losses, uint8_t *correct, T *dz, const float *z,
                                     const float *bias, const int32_t *targets,
                                     const uint8_t *mask, const float *gradient_scale, int V,
                                     int64_t ld)
{
    const int64_t n = blockIdx.x;
    const float *row = z + n * ld;
    const int target = targets[n];
    const maximum m = row_maximum(row, bias, V);
    if (threadIdx.x == 0) {
        losses[n] = logf(m.sum) + m.max - (row[target] + (bias ? bias[target] : 0.0f));
        correct[n] = m.at == target;
    }
    if (!dz)
        return;
    const float scale = gradient_scale ? *gradient_scale : 1.0f;
    const bool counts = mask[n];
    for (int v = threadIdx.x; v < V; v += THREADS) {
        float d = 0;    /* of a row that does not count, whatever its logits were */
        if (counts) {
            d = expf(row[v] + (bias ? bias[v] : 0.0f) - m.max) / m.sum;
            d = (v == target ? d - 1.0f : d) * scale;
        }
        dz[n * ld + v] = from_float<T>(d);
    }
}

size_t scratch_bytes(int64_t N, int V, enum dtype act)
{
    return (size_t)(chunk_rows(N, V) * padded(V)) * (sizeof(float) + dtype_bytes(act)) +
           cuda_weight_gradient_floats((size_t)V) * sizeof(float);
}

/* What the chunk's matrices are in scratch. */
struct chunk {
    float *z;
    void *dz;           /* act, with rows of ld elements as z has */
    float *scratch;     /* for the bias's gradient */
    int64_t rows, ld;
};

chunk lay_out(struct device *device, enum dtype act, const struct classifier *a)
{
    chunk c = {};
    c.ld = padded(a->V);
    c.rows = chunk_rows(a->N, a->V);
    const size_t elements = (size_t)(c.rows * c.ld);
    char *scratch = static_cast<char *>(cuda_scratch(device, scratch_bytes(a->N, a->V, act)));
    c.z = reinterpret_cast<float *>(scratch);
    c.dz = scratch + elements * sizeof(float);
    c.scratch = reinterpret_cast<float *>(scratch + elements * (sizeof(float) + dtype_bytes(act)));
    return c;
}

void compute_logits(struct device *device, enum dtype act, const struct classifier *a,
                    const chunk &c, const void *x, int64_t rows)
{
    struct cuda_matmul product = {};
    product.c = c.z;
    product.ldc = c.ld;
    product.a = x;
    product.b = a->weight;
    product.transpose_b = a->transposed;
    product.M = rows;
    product.N = a->V;
    product.K = a->C;
    product.operands = act;
    product.result = DTYPE_F32;
    cuda_matmul_run(device, "classifier logits", &product);
}

void compute_losses(struct device *device, enum dtype act, const struct classifier *a,
                    const chunk &c, int64_t first, int64_t rows)
{
    with_type(act, [&](auto zero) {
        using T = decltype(zero);
        cuda_launched(device,
                      launch(device_cuda_stream(device), dim3((unsigned)rows), dim3(THREADS), 0,
                             cross_entropy_kernel<T>, a->losses + first, a->correct + first,
                             a->dx ? static_cast<T *>(c.dz) : nullptr, c.z, a->bias,
                             a->targets + first, a->mask + first, a->gradient_scale, a->V, c.ld),
                      "classifier", "%lld x %d", (long long)rows, a->V);
    });
}

/* dweight (V, C) += dz^T . x. */
void add_tied_gradient(struct device *device, enum dtype act, const struct classifier *a,
                       const chunk &c, const void *x, int64_t rows)
{
    struct cuda_matmul product = {};
    product.c = a->dweight;
    product.a = c.dz;
    product.lda = c.ld;
    product.transpose_a = true;
    product.b = x;
    product.M = a->V;
    product.N = a->C;
    product.K = rows;
    product.accumulate = true;
    product.operands = act;
    product.result = DTYPE_F32;
    cuda_matmul_run(device, "classifier dweight", &product);
    if (a->dbias)
        cuda_column_sums(device, "classifier dbias", act, a->dbias, c.dz, rows, a->V, c.ld,
                         c.scratch);
}

void backward(struct device *device, enum dtype act, const struct classifier *a, const chunk &c,
              const void *x, void *dx, int64_t rows)
{
    struct cuda_matmul product = {};
    product.c = dx;
    product.a = c.dz;
    product.lda = c.ld;
    product.b = a->weight;
    product.transpose_b = !a->transposed;
    product.M = rows;
    product.N = a->C;
    product.K = a->V;
    product.operands = product.result = act;
    cuda_matmul_run(device, "classifier dx", &product);

    if (a->transposed) {
        add_tied_gradient(device, act, a, c, x, rows);
        return;
    }
    struct cuda_weight_gradient gradient = {};
    gradient.dweight = a->dweight;
    gradient.dbias = a->dbias;
    gradient.x = x;
    gradient.dy = c.dz;
    gradient.N = rows;
    gradient.ld = c.ld;
    gradient.K = a->C;
    gradient.M = a->V;
    gradient.scratch = c.scratch;
    cuda_add_weight_gradient(device, "classifier dweight", act, &gradient);
}

} // namespace

size_t cuda_classifier_scratch_bytes(const struct kernel_limits *limits, enum dtype act)
{
    return scratch_bytes(limits->N, limits->V, act);
}

void cuda_classifier(struct device *device, enum dtype act, const struct classifier *a)
{
    const chunk c = lay_out(device, act, a);
    const size_t row_bytes = (size_t)a->C * dtype_bytes(act);
    for (int64_t first = 0; first < a->N; first += c.rows) {
        const int64_t rows = std::min(a->N - first, c.rows);
        const char *x = static_cast<const char *>(a->x) + (size_t)first * row_bytes;
        compute_logits(device, act, a, c, x, rows);
        compute_losses(device, act, a, c, first, rows);
        if (a->dx)
            backward(device, act, a, c, x, static_cast<char *>(a->dx) + (size_t)first * row_bytes,
                     rows);
    }
}
