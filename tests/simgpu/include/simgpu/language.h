/*
 * language.h - the words of CUDA C++ for a host compiler: qualifiers, built-in variables, and the
 * device functions that kernels call. Threads that must meet do so in block.h.
 */
#ifndef SIMGPU_LANGUAGE_H
#define SIMGPU_LANGUAGE_H

#include "simgpu/block.h"

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

/* Blocks run one at a time, so one copy of a __shared__ variable is enough. They all lie in a
 * section of their own, which is filled with NaN bytes before every block. Functions that hold one
 * must have internal linkage (an unnamed namespace): gcc puts no inline function's variable
 * there. */
#define __shared__ static __attribute__((section("simgpu_shared"), used))

extern "C" {
extern unsigned char __start_simgpu_shared[] __attribute__((weak, visibility("hidden")));
extern unsigned char __stop_simgpu_shared[] __attribute__((weak, visibility("hidden")));
}
namespace {
[[maybe_unused]] const bool shared_section_is_known =
    simgpu::add_shared_section(__start_simgpu_shared, __stop_simgpu_shared);
}

#define threadIdx (simgpu::running->index)
#define blockIdx simgpu::block_index
#define blockDim simgpu::block_dim
#define gridDim simgpu::grid_dim
#define warpSize 32

namespace simgpu {

/* What the hardware leaves in a register nobody wrote: here, NaN. */
template <typename T> T undefined_value()
{
    T value;
    memset(static_cast<void *>(&value), 0xff, sizeof value);
    return value;
}

template <typename T> struct shuffle {
    T value, result;
    int source;    /* lane; its own where the shuffle leaves it out */
};

template <typename T> void exchange(void *const *offers, unsigned arrived)
{
    for (int lane = 0; lane < WARP; lane++) {
        if (!(arrived >> lane & 1))
            continue;
        auto *const mine = static_cast<shuffle<T> *>(offers[lane]);
        mine->result = arrived >> mine->source & 1
                           ? static_cast<const shuffle<T> *>(offers[mine->source])->value
                           : undefined_value<T>();
    }
}

/* `source` counts from the lane's group of `width`; outside of it the lane gets its own value, or,
 * where `wrap`, that of the lane modulo width. */
template <typename T>
T shuffle_from(const char *where, unsigned mask, T value, int source, int width, bool wrap)
{
    const int lane = running->lane, group = lane & ~(width - 1);
    if (wrap)
        source &= width - 1;
    shuffle<T> mine = {value, value, source >= 0 && source < width ? group + source : lane};
    meet_warp(mask, where, &mine, exchange<T>);
    return mine.result;
}

/* What each lane brings to a vote or a match, and the mask or number it gets. */
template <typename T> struct vote {
    T value;
    uint64_t result;
};

template <typename T, typename F> void poll(void *const *offers, unsigned arrived, F result_for)
{
    for (int lane = 0; lane < WARP; lane++)
        if (arrived >> lane & 1)
            static_cast<vote<T> *>(offers[lane])->result =
                (uint64_t)result_for(static_cast<vote<T> *>(offers[lane])->value);
}

/* The lanes whose value `counts`. */
template <typename T, typename F> unsigned lanes_where(void *const *offers, unsigned arrived,
                                                       F counts)
{
    unsigned lanes = 0;
    for (int lane = 0; lane < WARP; lane++)
        if ((arrived >> lane & 1) && counts(static_cast<const vote<T> *>(offers[lane])->value))
            lanes |= 1u << lane;
    return lanes;
}

inline void ballot(void *const *offers, unsigned arrived)
{
    const unsigned yes = lanes_where<int>(offers, arrived, [](int v) { return v != 0; });
    poll<int>(offers, arrived, [&](int) { return yes; });
}

inline void all(void *const *offers, unsigned arrived)
{
    const unsigned yes = lanes_where<int>(offers, arrived, [](int v) { return v != 0; });
    poll<int>(offers, arrived, [&](int) { return yes == arrived; });
}

template <typename T> void match(void *const *offers, unsigned arrived)
{
    poll<T>(offers, arrived, [&](T mine) {
        return lanes_where<T>(offers, arrived,
                              [&](T other) { return !memcmp(&mine, &other, sizeof mine); });
    });
}

template <typename T, typename F> void reduce(void *const *offers, unsigned arrived, F combine_two)
{
    bool first = true;
    T total = {};
    for (int lane = 0; lane < WARP; lane++) {
        if (!(arrived >> lane & 1))
            continue;
        const T value = static_cast<const vote<T> *>(offers[lane])->value;
        total = first ? value : combine_two(total, value);
        first = false;
    }
    poll<T>(offers, arrived, [&](T) { return total; });
}

template <typename T>
T vote_on(const char *where, unsigned mask, T value, combine_offers combine)
{
    vote<T> mine = {value, 0};
    meet_warp(mask, where, &mine, combine);
    return (T)mine.result;
}

}    // namespace simgpu

/* ---- meeting the block and the warp ---- */

#define __syncthreads() simgpu::meet_block("__syncthreads")
inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    simgpu::meet_warp(mask, "__syncwarp", nullptr, nullptr);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

template <typename T> T __shfl_sync(unsigned mask, T value, int source, int width = 32)
{
    return simgpu::shuffle_from("__shfl_sync", mask, value, source, width, true);
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32)
{
    const int in_group = simgpu::running->lane & (width - 1);
    return simgpu::shuffle_from("__shfl_xor_sync", mask, value, in_group ^ with, width, false);
}
template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32)
{
    const int in_group = simgpu::running->lane & (width - 1);
    return simgpu::shuffle_from("__shfl_down_sync", mask, value, in_group + (int)by, width, false);
}
template <typename T> T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32)
{
    const int in_group = simgpu::running->lane & (width - 1);
    return simgpu::shuffle_from("__shfl_up_sync", mask, value, in_group - (int)by, width, false);
}

inline unsigned __ballot_sync(unsigned mask, int predicate)
{
    return (unsigned)simgpu::vote_on("__ballot_sync", mask, predicate, simgpu::ballot);
}
inline int __any_sync(unsigned mask, int predicate)
{
    return simgpu::vote_on("__any_sync", mask, predicate, simgpu::ballot) != 0;
}
inline int __all_sync(unsigned mask, int predicate)
{
    return simgpu::vote_on("__all_sync", mask, predicate, simgpu::all);
}
template <typename T> unsigned __match_any_sync(unsigned mask, T value)
{
    simgpu::vote<T> mine = {value, 0};
    simgpu::meet_warp(mask, "__match_any_sync", &mine, simgpu::match<T>);
    return (unsigned)mine.result;
}
template <typename T> T __reduce_add_sync(unsigned mask, T value)
{
    return simgpu::vote_on("__reduce_add_sync", mask, value, [](void *const *offers,
        unsigned arrived) {
        simgpu::reduce<T>(offers, arrived, [](T a, T b) { return a + b; });
    });
}
template <typename T> T __reduce_max_sync(unsigned mask, T value)
{
    return simgpu::vote_on("__reduce_max_sync", mask, value, [](void *const *offers,
        unsigned arrived) {
        simgpu::reduce<T>(offers, arrived, [](T a, T b) { return a > b ? a : b; });
    });
}
template <typename T> T __reduce_min_sync(unsigned mask, T value)
{
    return simgpu::vote_on("__reduce_min_sync", mask, value, [](void *const *offers,
        unsigned arrived) {
        simgpu::reduce<T>(offers, arrived, [](T a, T b) { return a < b ? a : b; });
    });
}

/* ---- memory: one thread of the process plays all, so plain accesses are atomic ---- */

namespace simgpu {
template <typename T> using exactly = typename std::enable_if<true, T>::type;    /* deduced elsewhere */
}

template <typename T> T __ldg(const T *at) { return *at; }
template <typename T> T __ldcs(const T *at) { return *at; }
template <typename T> T __ldcg(const T *at) { return *at; }
template <typename T> T __ldca(const T *at) { return *at; }
template <typename T> void __stcs(T *at, simgpu::exactly<T> value) { *at = value; }
template <typename T> void __stcg(T *at, simgpu::exactly<T> value) { *at = value; }

template <typename T> T atomicExch(T *at, simgpu::exactly<T> value)
{
    const T old = *at;
    *at = value;
    return old;
}
template <typename T> T atomicAdd(T *at, simgpu::exactly<T> value)
{
    return atomicExch(at, *at + value);
}
template <typename T> T atomicMax(T *at, simgpu::exactly<T> value)
{
    return atomicExch(at, *at > value ? *at : value);
}
template <typename T> T atomicMin(T *at, simgpu::exactly<T> value)
{
    return atomicExch(at, *at < value ? *at : value);
}
template <typename T> T atomicOr(T *at, simgpu::exactly<T> value)
{
    return atomicExch(at, *at | value);
}
template <typename T> T atomicCAS(T *at, simgpu::exactly<T> expected, simgpu::exactly<T> value)
{
    return atomicExch(at, *at == expected ? value : *at);
}

/* ---- arithmetic ---- */

using std::isfinite;
using std::isinf;
using std::isnan;

inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __frsqrt_rn(float x) { return 1.0f / sqrtf(x); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
inline uint64_t __umul64hi(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)a * b >> 64);
}

namespace simgpu {
template <typename To, typename From> To same_bits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
}    // namespace simgpu

inline int __float_as_int(float x) { return simgpu::same_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return simgpu::same_bits<unsigned>(x); }
inline float __int_as_float(int x) { return simgpu::same_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return simgpu::same_bits<float>(x); }

/* Device code calls these without a namespace, for any two numbers of one type. */
template <typename T> T min(T a, T b) { return b < a ? b : a; }
template <typename T> T max(T a, T b) { return a < b ? b : a; }

#endif
