/*
 * select.cuh - where the largest values of a row end, found by one block without sorting them.
 *
 * The last value that stays is found digit by digit, from histograms of counts and, for top-p, of
 * probability mass (radix select). Masses are integers in units of 2^-62: they add up exactly in
 * any order, so what is found depends on the values alone; p from 2^-39 up is exact, less than an
 * fp32 sum near 1 could see.
 */
#ifndef GALLEY_KERNELS_CUDA_SELECT_CUH
#define GALLEY_KERNELS_CUDA_SELECT_CUH

#include "kernels/cuda/reduce.cuh"

#include <climits>

constexpr int DIGIT_BITS = 11, DIGITS = 3, BINS = 1 << DIGIT_BITS;

using mass_t = unsigned long long;
constexpr float MASS_UNITS = 0x1p62f;

/* Rounded up: what is not 0 can be drawn. */
__device__ inline mass_t mass_of(float p)
{
    return (mass_t)ceilf(p * MASS_UNITS);
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

    __device__ mass_t mass(int of) const
    {
        return (mass_t)high[of] << 32 | low[of];
    }
};

/* One 64-bit sum by two 32-bit atomics, which shared memory does itself: whoever makes the low word
 * wrap carries. */
__device__ inline void add_mass(workspace &w, int bin, mass_t mass)
{
    const unsigned low = (unsigned)mass, old = atomicAdd(&w.low[bin], low);
    const unsigned high = (unsigned)(mass >> 32) + (old + low < old);
    if (high)    /* most are small */
        atomicAdd(&w.high[bin], high);
}

/*
 * The first v below n at which the sum of weight(0) to weight(v) exceeds point(sum of all), which
 * must be less than that sum. Each warp sums a piece, the piece where it happens is walked again.
 */
template <typename Weight, typename Point>
__device__ int first_beyond(workspace &w, int n, Weight weight, Point point)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int threads = blockDim.x, each = (n + threads - 1) / threads * WARP;
    const int begin = warp * each, end = min(n, begin + each);
    mass_t sum = 0;
    for (int v = begin + lane; v < end; v += WARP)
        sum += weight(v);
    sum = warp_sum(sum);
    __syncthreads();
    if (lane == 0)
        w.slots.masses[warp] = sum;
    __syncthreads();

    const mass_t until = warp_running_sum(lane < threads / WARP ? w.slots.masses[lane] : 0);
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
    for (int i = threadIdx.x; i < BINS; i += blockDim.x)
        w.counts[i] = w.low[i] = w.high[i] = 0;
    __syncthreads();
    for (int v = threadIdx.x; v < n; v += blockDim.x) {
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
 * highest down, the same number by each thread. */
__device__ inline int edge_bin(workspace &w, const limit &most, int before, mass_t mass_before)
{
    const int each = BINS / blockDim.x, highest = BINS - 1 - (int)threadIdx.x * each;
    int count = 0;
    mass_t mass = 0;
    for (int bin = highest; bin > highest - each; bin--) {
        count += (int)w.counts[bin];
        mass += w.mass(bin);
    }
    before += block_running_sum(count, w.slots.ints) - count;
    __syncthreads();
    mass_before += block_running_sum(mass, w.slots.masses) - mass;
    int mine = -1, before_mine = 0;
    mass_t mass_before_mine = 0;
    for (int bin = highest; bin > highest - each; bin--) {
        if (w.counts[bin] > 0 && most.admits(before, mass_before)) {
            mine = bin;
            before_mine = before;
            mass_before_mine = mass_before;
        }
        before += (int)w.counts[bin];
        mass_before += w.mass(bin);
    }
    __syncthreads();
    const int last = block_max(mine < 0 ? -1 : (int)threadIdx.x, w.slots.ints);
    if ((int)threadIdx.x == last) {
        w.bin = mine;
        w.before = before_mine;
        w.mass_before = mass_before_mine;
    }
    __syncthreads();
    return w.bin;
}

/* Of `equals` values, each of this mass, how many stay behind those before them. */
__device__ inline int equals_that_stay(const workspace &w, const limit &most, mass_t each,
                                       int equals)
{
    int stay = 1, go = equals;    /* the first stays; up to `go` may */
    while (stay < go) {
        const int middle = stay + (go - stay + 1) / 2;    /* so many, if the last of them stays */
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

#endif
