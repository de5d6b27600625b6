/*
 * choose.cu - which tokens follow: a block a row walks its logits a few times; nothing is sorted.
 *
 * The last of the largest that stay is found digit by digit of its value, from histograms of counts
 * and, for top-p, of probability mass (radix select). Masses are integers in units of 2^-62: they
 * add up exactly in any order, so what is chosen depends on logits and uniform numbers alone, and
 * p from 2^-39 up, which an fp32 sum near 1 could not see, is exact. Only the softmax's denominator
 * is a sum of doubles, in an order that the number of ids gives.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.cuh"

#include <climits>

namespace {

constexpr int THREADS = 1024;
constexpr int DIGIT_BITS = 11, DIGITS = 3, BINS = 1 << DIGIT_BITS;
constexpr int BINS_EACH = BINS / THREADS;

using mass_t = unsigned long long;
constexpr float MASS_UNITS = 0x1p62f;

__device__ inline mass_t mass_of(float p)
{
    return (mass_t)(p * MASS_UNITS);
}

/* In fp32 by way of double, as the twin's sums are. */
__device__ inline float float_of(mass_t mass)
{
    return (float)((double)mass * (1.0 / (double)MASS_UNITS));
}

/* Keys are in the order of their floats; -0 is 0. */
__device__ inline unsigned key_of(float x)
{
    const unsigned bits = __float_as_uint(x + 0.0f);
    return bits >> 31 ? ~bits : bits | 1u << 31;
}

/* Of a float that is not negative. */
__device__ inline float value_of(unsigned key)
{
    return __uint_as_float(key & ~(1u << 31));
}

/* Shared memory of a row's block. Sums take turns with the slots: each function begins with a
 * barrier. */
struct workspace {
    union {
        mass_t masses[WARP];
        double doubles[WARP];
        float floats[WARP];
        int ints[WARP];
    } slots;
    unsigned counts[BINS];
    unsigned low[BINS], high[BINS];     /* of the bins' masses */
    mass_t mass_before;
    int before, bin, found;
};

/* One 64-bit sum by two 32-bit atomics, which shared memory does itself: whoever makes the low word
 * wrap carries. */
__device__ inline void add_mass(workspace &w, int bin, mass_t mass)
{
    const unsigned low = (unsigned)mass, old = atomicAdd(&w.low[bin], low);
    atomicAdd(&w.high[bin], (unsigned)(mass >> 32) + (old + low < old));
}

/* The largest of the first `ids` over the temperature; not finite where the row has no p. Every
 * thread gets it. */
__device__ float scaled_maximum(workspace &w, const float *logits, int V, int ids, float temperature)
{
    float largest = -INFINITY;
    for (int v = threadIdx.x; v < V; v += THREADS) {
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
    for (int v = threadIdx.x; v < ids; v += THREADS) {
        p[v] = expf(logits[v] / temperature - largest);
        sum += (double)p[v];
    }
    __syncthreads();
    const float total = (float)block_sum(sum, w.slots.doubles);
    for (int v = threadIdx.x; v < ids; v += THREADS)
        p[v] /= total;
}

/*
 * The first v below n at which the sum of weight(0) to weight(v) exceeds point(sum of all), which
 * must be less than that sum. Each warp sums a piece, the piece where it happens is walked again.
 */
template <typename Weight, typename Point>
__device__ int first_beyond(workspace &w, int n, Weight weight, Point point)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int each = (n + THREADS - 1) / THREADS * WARP, begin = warp * each;
    const int end = min(n, begin + each);
    mass_t sum = 0;
    for (int v = begin + lane; v < end; v += WARP)
        sum += weight(v);
    sum = warp_sum(sum);
    __syncthreads();
    if (lane == 0)
        w.slots.masses[warp] = sum;
    __syncthreads();

    const mass_t until = warp_running_sum(w.slots.masses[lane]);
    const mass_t target = point(__shfl_sync(ALL_LANES, until, WARP - 1));
    const int piece = __ffs((int)__ballot_sync(ALL_LANES, until > target)) - 1;
    mass_t before = __shfl_sync(ALL_LANES, until, piece > 0 ? piece - 1 : 0);
    before = piece > 0 ? before : 0;
    for (int base = begin; warp == piece && base < end; base += WARP) {
        const int v = base + lane;
        const mass_t here = before + warp_running_sum(v < end ? weight(v) : mass_t(0));
        const unsigned beyond = __ballot_sync(ALL_LANES, here > target);
        if (beyond) {
            if (lane == 0)
                w.found = base + __ffs((int)beyond) - 1;
            break;
        }
        before = __shfl_sync(ALL_LANES, here, WARP - 1);
    }
    __syncthreads();
    return w.found;
}

/* Where the largest end: those above `key` stay, and those at it up to the id `last`. */
struct edge {
    unsigned key;
    int last;

    __device__ bool holds(float x, int v) const
    {
        const unsigned k = key_of(x);
        return k > key || (k == key && v <= last);
    }
};

/* Whether one more may stay behind `before` others. */
struct limit {
    int most;
    float mass;

    __device__ bool admits(int before, mass_t mass_before) const
    {
        return before < most && (before == 0 || float_of(mass_before) <= mass);
    }
};

/* Counts, by their next digit, the values whose digits so far are `prefix`. */
template <bool BY_MASS>
__device__ void fill_bins(workspace &w, const float *x, int n, int shift, unsigned prefix)
{
    for (int i = threadIdx.x; i < BINS; i += THREADS)
        w.counts[i] = w.low[i] = w.high[i] = 0;
    __syncthreads();
    for (int v = threadIdx.x; v < n; v += THREADS) {
        const unsigned key = key_of(x[v]);
        if ((mass_t)key >> (shift + DIGIT_BITS) != prefix)
            continue;
        const int bin = (int)(key >> shift) & (BINS - 1);
        atomicAdd(&w.counts[bin], 1u);
        if (BY_MASS)
            add_mass(w, bin, mass_of(x[v]));
    }
    __syncthreads();
}

/* The lowest bin of which something stays, with what is before it in w. Bins are taken from the
 * highest down, BINS_EACH by each thread. */
__device__ int edge_bin(workspace &w, const limit &most, int before, mass_t mass_before)
{
    int counts[BINS_EACH], count = 0;
    mass_t masses[BINS_EACH], mass = 0;
    const int highest = BINS - 1 - (int)threadIdx.x * BINS_EACH;
    for (int i = 0; i < BINS_EACH; i++) {
        counts[i] = (int)w.counts[highest - i];
        masses[i] = (mass_t)w.high[highest - i] << 32 | w.low[highest - i];
        count += counts[i];
        mass += masses[i];
    }
    before += block_running_sum(count, w.slots.ints) - count;
    __syncthreads();
    mass_before += block_running_sum(mass, w.slots.masses) - mass;
    int mine = -1, before_mine = 0;
    mass_t mass_before_mine = 0;
    for (int i = 0; i < BINS_EACH; i++) {
        if (counts[i] > 0 && most.admits(before, mass_before)) {
            mine = i;
            before_mine = before;
            mass_before_mine = mass_before;
        }
        before += counts[i];
        mass_before += masses[i];
    }
    __syncthreads();
    const int last = block_max(mine < 0 ? -1 : (int)threadIdx.x, w.slots.ints);
    if ((int)threadIdx.x == last) {
        w.bin = highest - mine;
        w.before = before_mine;
        w.mass_before = mass_before_mine;
    }
    __syncthreads();
    return w.bin;
}

/* Of `equals` values, each of this mass, how many stay behind those before them. */
__device__ int equals_that_stay(const workspace &w, const limit &most, mass_t each, int equals)
{
    int stay = 1, go = equals;    /* the first stays; up to `go` may */
    while (stay < go) {
        const int middle = stay + (go - stay + 1) / 2;    /* so many stay if the last of them does */
        if (most.admits(w.before + middle - 1, w.mass_before + (mass_t)(middle - 1) * each))
            stay = middle;
        else
            go = middle - 1;
    }
    return stay;
}

/* Values are probabilities where BY_MASS. */
template <bool BY_MASS> __device__ edge find_edge(workspace &w, const float *x, int n, limit most)
{
    unsigned prefix = 0;
    int before = 0;
    mass_t mass_before = 0;
    for (int digit = DIGITS - 1; digit >= 0; digit--) {
        /* 33 bits of digits for keys of 32: the first digit is the shorter one. */
        const int shift = digit * DIGIT_BITS;
        fill_bins<BY_MASS>(w, x, n, shift, prefix);
        prefix = prefix << DIGIT_BITS | (unsigned)edge_bin(w, most, before, mass_before);
        before = w.before;
        mass_before = w.mass_before;
    }
    const mass_t each = BY_MASS ? mass_of(value_of(prefix)) : 0;
    const int equals = (int)w.counts[w.bin], stay = equals_that_stay(w, most, each, equals);
    edge e = {prefix, INT_MAX};
    if (stay < equals)
        e.last = first_beyond(
            w, n, [&](int v) { return (mass_t)(key_of(x[v]) == prefix); },
            [&](mass_t) { return (mass_t)(stay - 1); });
    return e;
}

/* The first maximum, without histograms. */
__device__ edge first_maximum(workspace &w, const float *p, int n)
{
    float largest = -1;
    int first = 0;
    for (int v = threadIdx.x; v < n; v += THREADS) {
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
    for (int v = threadIdx.x; v < n; v += THREADS)
        sum += e.holds(p[v], v) ? mass_of(p[v]) : 0;
    __syncthreads();
    const float total = float_of(block_sum(sum, w.slots.masses));
    for (int v = threadIdx.x; v < n; v += THREADS)
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

__global__ void __launch_bounds__(THREADS) draw_kernel(struct draw a)
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
            const int i = threadIdx.x, other = i ^ distance;
            if (i < n && other > i && (x[i] < x[other]) == !(i & size)) {
                const mass_t swap = x[i];
                x[i] = x[other];
                x[other] = swap;
            }
        }
    }
    __syncthreads();
}

__global__ void __launch_bounds__(THREADS) largest_kernel(struct largest a)
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
    for (int v = threadIdx.x; a.scores && v < a.ids; v += THREADS)
        all[v] = logf(all[v]) + a.scores[b];
    for (int i = threadIdx.x; i < LARGEST_MOST; i += THREADS)
        list[i] = 0;
    __syncthreads();
    const edge e = find_edge<false>(w, all, a.ids, limit{a.k, INFINITY});
    __syncthreads();    /* the edge may have come through w.found */
    if (threadIdx.x == 0)
        w.found = 0;
    __syncthreads();
    for (int v = threadIdx.x; v < a.ids; v += THREADS)
        if (e.holds(all[v], v))
            list[atomicAdd(&w.found, 1)] = (mass_t)key_of(all[v]) << 32 | (unsigned)(INT_MAX - v);
    int n = 1;
    while (n < a.k)
        n *= 2;
    __syncthreads();
    sort_descending(list, n);
    for (int i = threadIdx.x; i < a.k; i += THREADS) {
        const int v = INT_MAX - (int)(unsigned)list[i];
        a.chosen[b * a.k + i] = v;
        a.values[b * a.k + i] = all[v];
    }
}

} // namespace

void cuda_draw(struct device *device, enum dtype, const struct draw *a)
{
    cuda_launched(device,
                  launch(device_cuda_stream(device), dim3((unsigned)a->B), dim3(THREADS), 0,
                         draw_kernel, *a),
                  "draw", "%d x %d of %d", a->B, a->ids, a->V);
}

void cuda_largest(struct device *device, enum dtype, const struct largest *a)
{
    cuda_launched(device,
                  launch(device_cuda_stream(device), dim3((unsigned)a->B), dim3(THREADS), 0,
                         largest_kernel, *a),
                  "largest", "%d of %d x %d of %d", a->k, a->B, a->ids, a->V);
}
