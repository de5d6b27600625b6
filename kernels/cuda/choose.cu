/*
 * choose.cu - which tokens follow: a block a row walks its logits a few times; nothing is sorted
 * but a search's candidates.
 *
 * What is chosen depends on logits and uniform numbers alone: sums of probabilities are exact
 * (select.cuh), and the softmax's denominator is a sum of doubles in an order that the number of
 * ids gives.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/select.cuh"

namespace {

constexpr int FEW_THREADS = 128, FEW_IDS = 4096, MOST_THREADS = 1024;

/* Of a row's block: by the number of ids alone, as a sum of doubles depends on it. */
unsigned threads_for(int ids)
{
    return ids <= FEW_IDS ? FEW_THREADS : MOST_THREADS;
}

/* The largest of the first `ids` over the temperature; not finite where the row has no p. Every
 * thread gets it. */
__device__ float scaled_maximum(workspace &w, const float *logits, int V, int ids,
                                float temperature)
{
    float largest = -INFINITY;
    for (int v = threadIdx.x; v < V; v += blockDim.x) {
        const float x = logits[v];
        if (!isfinite(x))
            largest = INFINITY;
        else if (v < ids && x > largest)
            largest = x;
    }
    __syncthreads();
    return block_max(largest, w.slots.floats) / temperature;
}

/* Writes p; each thread those that it reads. */
__device__ void softmax(workspace &w, float *p, const float *logits, int ids, float temperature,
                        float largest)
{
    double sum = 0;
    for (int v = threadIdx.x; v < ids; v += blockDim.x) {
        p[v] = expf(logits[v] / temperature - largest);
        sum += (double)p[v];
    }
    __syncthreads();
    const float total = (float)block_sum(sum, w.slots.doubles);
    for (int v = threadIdx.x; v < ids; v += blockDim.x)
        p[v] /= total;
}

/* The first maximum, without histograms. */
__device__ edge first_maximum(workspace &w, const float *p, int n)
{
    float largest = -1;
    int first = 0;
    for (int v = threadIdx.x; v < n; v += blockDim.x) {
        if (p[v] > largest) {
            largest = p[v];
            first = v;
        }
    }
    __syncthreads();
    const float of_all = block_max(largest, w.slots.floats);
    __syncthreads();
    const int last = -block_max(largest == of_all ? -first : INT_MIN, w.slots.ints);
    return {key_of(of_all), last};
}

/* Makes p 0 beyond the edge and divides the others by their sum. */
__device__ void cut(workspace &w, float *p, int n, edge e)
{
    mass_t sum = 0;
    for (int v = threadIdx.x; v < n; v += blockDim.x)
        sum += e.holds(p[v], v) ? mass_of(p[v]) : 0;
    __syncthreads();
    const float total = float_of(block_sum(sum, w.slots.masses));
    for (int v = threadIdx.x; v < n; v += blockDim.x)
        p[v] = e.holds(p[v], v) ? p[v] / total : 0.0f;
}

__device__ int draw_id(workspace &w, const float *p, int n, double uniform)
{
    return first_beyond(
        w, n, [=](int v) { return mass_of(p[v]); },
        [=](mass_t sum) {
            const mass_t point = (mass_t)((double)sum * uniform);
            return point < sum ? point : sum - 1;    /* should rounding put it at the end */
        });
}

__global__ void __launch_bounds__(MOST_THREADS) draw_kernel(struct draw a)
{
    __shared__ workspace w;
    const int64_t b = blockIdx.x;
    const float *logits = a.logits + b * a.V;
    float *p = a.probabilities + b * a.ids;
    const float largest = scaled_maximum(w, logits, a.V, a.ids, a.temperature);
    int chosen = isfinite(largest) ? 0 : (int)NOT_FINITE;
    if (chosen == NOT_FINITE || a.uniforms[b] < 0) {
        if (threadIdx.x == 0)
            a.chosen[b] = chosen;
        return;
    }
    softmax(w, p, logits, a.ids, a.temperature, largest);
    __syncthreads();
    if (a.most > 0) {
        const limit most = {a.most, a.mass};
        const edge e = a.most == 1     ? first_maximum(w, p, a.ids)
                       : isinf(a.mass) ? find_edge<false>(w, p, a.ids, most)
                                       : find_edge<true>(w, p, a.ids, most);
        cut(w, p, a.ids, e);
        __syncthreads();
    }
    chosen = draw_id(w, p, a.ids, a.uniforms[b]);
    if (threadIdx.x == 0)
        a.chosen[b] = chosen;
}

/* ---- candidates of a search ---- */

/* Sorts n, a power of two, in shared memory, the largest first. */
__device__ void sort_descending(mass_t *x, int n)
{
    for (int size = 2; size <= n; size *= 2) {
        for (int distance = size / 2; distance > 0; distance /= 2) {
            __syncthreads();
            for (int i = threadIdx.x; i < n; i += blockDim.x) {
                const int other = i ^ distance;
                if (other > i && (x[i] < x[other]) == !(i & size)) {
                    const mass_t swap = x[i];
                    x[i] = x[other];
                    x[other] = swap;
                }
            }
        }
    }
    __syncthreads();
}

__global__ void __launch_bounds__(MOST_THREADS) largest_kernel(struct largest a)
{
    __shared__ workspace w;
    __shared__ mass_t list[LARGEST_MOST];    /* key, then an id that makes it unique */
    const int64_t b = blockIdx.x;
    const float *logits = a.logits + (a.rows ? a.rows[b] : b) * a.V;
    float *all = a.all + b * a.ids;
    const float largest = scaled_maximum(w, logits, a.V, a.ids, a.temperature);
    if (!isfinite(largest)) {
        if (threadIdx.x == 0)
            a.chosen[b * a.k] = NOT_FINITE;
        return;
    }
    softmax(w, all, logits, a.ids, a.temperature, largest);
    for (int v = threadIdx.x; a.scores && v < a.ids; v += blockDim.x)
        all[v] = logf(all[v]) + a.scores[b];
    for (int i = threadIdx.x; i < LARGEST_MOST; i += blockDim.x)
        list[i] = 0;
    __syncthreads();
    const edge e = find_edge<false>(w, all, a.ids, limit{a.k, INFINITY});
    __syncthreads();    /* the edge may have come through w.found */
    if (threadIdx.x == 0)
        w.found = 0;
    __syncthreads();
    for (int v = threadIdx.x; v < a.ids; v += blockDim.x)
        if (e.holds(all[v], v))
            list[atomicAdd(&w.found, 1)] = (mass_t)key_of(all[v]) << 32 | (unsigned)(INT_MAX - v);
    int n = 1;
    while (n < a.k)
        n *= 2;
    __syncthreads();
    sort_descending(list, n);
    for (int i = threadIdx.x; i < a.k; i += blockDim.x) {
        const int v = INT_MAX - (int)(unsigned)list[i];
        a.chosen[b * a.k + i] = v;
        a.values[b * a.k + i] = all[v];
    }
}

} // namespace

void cuda_draw(struct device *device, enum dtype, const struct draw *a)
{
    cuda_launched(device,
                  launch(device_cuda_stream(device), dim3((unsigned)a->B),
                         dim3(threads_for(a->ids)), 0, draw_kernel, *a),
                  "draw", "%d x %d of %d", a->B, a->ids, a->V);
}

void cuda_largest(struct device *device, enum dtype, const struct largest *a)
{
    cuda_launched(device,
                  launch(device_cuda_stream(device), dim3((unsigned)a->B),
                         dim3(threads_for(a->ids)), 0, largest_kernel, *a),
                  "largest", "%d of %d x %d of %d", a->k, a->B, a->ids, a->V);
}
