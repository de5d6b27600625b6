/*
 * mma.cuh - the simulated device's twin of kernels/cuda/mma.cuh: the same tiles, products in plain
 * loops.
 *
 * Lanes hold exactly the elements they hold on a GPU, so that kernels which rely on that are
 * tested. A product is a meeting of the warp; the last lane to come computes the tile for all.
 */
#ifndef GALLEY_KERNELS_CUDA_MMA_CUH
#define GALLEY_KERNELS_CUDA_MMA_CUH

#include "simgpu/language.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <typename T> constexpr int MMA_DEPTH = 32 / (int)sizeof(T);

template <typename T> constexpr int MMA_PER_REGISTER = sizeof(T) == 2 ? 2 : 1;

/* a: rows g and g + 8; with 16-bit operands columns 2t, 2t + 1, 2t + 8, 2t + 9, in this order of
 * rows: g, g + 8, g, g + 8 for each pair; with floats columns 2t and 2t + 1 of each row. */
template <typename T> struct mma_a {
    T x[4 * MMA_PER_REGISTER<T>];
};
/* b: column g; with 16-bit operands rows 2t, 2t + 1, 2t + 8, 2t + 9; with floats rows 2t, 2t +
 * 1. */
template <typename T> struct mma_b {
    T x[2 * MMA_PER_REGISTER<T>];
};
struct mma_c {
    float x[4];
};

namespace simgpu {

/* Which element of the tile is x[i] of a lane. */
template <typename T> int mma_a_row(int lane, int i)
{
    return lane / 4 + (MMA_PER_REGISTER<T> == 2 ? i / 2 % 2 : i % 2) * 8;
}
template <typename T> int mma_a_column(int lane, int i)
{
    return lane % 4 * 2 + (MMA_PER_REGISTER<T> == 2 ? i % 2 + i / 4 * 8 : i / 2);
}
template <typename T> int mma_b_row(int lane, int i)
{
    return lane % 4 * 2 + i % 2 + i / 2 * 8;
}

inline float mma_float(float x) { return x; }
inline float mma_float(__nv_bfloat16 x) { return __bfloat162float(x); }
inline float mma_float(__half x) { return __half2float(x); }

template <typename T> struct mma_offer {
    const mma_a<T> *a;
    const mma_b<T> *b;
    mma_c *c;
};

template <typename T> void mma_tile(void *const *offers, unsigned arrived)
{
    need_whole_warp("mma_multiply_add", arrived);
    constexpr int K = MMA_DEPTH<T>;
    float a[16][K], b[K][8], c[16][8];
    for (int lane = 0; lane < WARP; lane++) {
        const auto &offer = *static_cast<const mma_offer<T> *>(offers[lane]);
        for (int i = 0; i < 4 * MMA_PER_REGISTER<T>; i++)
            a[mma_a_row<T>(lane, i)][mma_a_column<T>(lane, i)] = mma_float(offer.a->x[i]);
        for (int i = 0; i < 2 * MMA_PER_REGISTER<T>; i++)
            b[mma_b_row<T>(lane, i)][lane / 4] = mma_float(offer.b->x[i]);
        for (int i = 0; i < 4; i++)
            c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = offer.c->x[i];
    }
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < K; k++)
            for (int column = 0; column < 8; column++)
                c[row][column] += a[row][k] * b[k][column];
    for (int lane = 0; lane < WARP; lane++) {
        const auto &offer = *static_cast<const mma_offer<T> *>(offers[lane]);
        for (int i = 0; i < 4; i++)
            offer.c->x[i] = c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
    }
}

/* 16-bit tiles are read by rows of 16 bytes, which must be aligned. */
template <typename T> void mma_check_rows(const T *tile, int ld)
{
    if (sizeof(T) == 2 && ((uintptr_t)tile % 16 || ld % 8))
        misaligned_tile(tile, ld);
}

}    // namespace simgpu

template <typename T> void mma_load_a(mma_a<T> &a, const T *tile, int ld)
{
    simgpu::mma_check_rows(tile, ld);
    for (int i = 0; i < 4 * MMA_PER_REGISTER<T>; i++)
        a.x[i] = tile[simgpu::mma_a_row<T>(simgpu::running->lane, i) * ld +
                      simgpu::mma_a_column<T>(simgpu::running->lane, i)];
}

template <typename T> void mma_load_b(mma_b<T> b[2], const T *tile, int ld)
{
    simgpu::mma_check_rows(tile, ld);
    const int lane = simgpu::running->lane;
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < 2 * MMA_PER_REGISTER<T>; i++)
            b[side].x[i] = tile[(side * 8 + lane / 4) * ld + simgpu::mma_b_row<T>(lane, i)];
}

template <typename T> void mma_load_b_rows(mma_b<T> b[2], const T *tile, int ld)
{
    simgpu::mma_check_rows(tile, ld);
    const int lane = simgpu::running->lane;
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < 2 * MMA_PER_REGISTER<T>; i++)
            b[side].x[i] = tile[simgpu::mma_b_row<T>(lane, i) * ld + side * 8 + lane / 4];
}

inline void mma_round_to_a(mma_a<float> &a, const mma_c *c)
{
    a = {{c[0].x[0], c[0].x[2], c[0].x[1], c[0].x[3]}};
}

inline void mma_round_to_a(mma_a<__nv_bfloat16> &a, const mma_c *c)
{
    for (int i = 0; i < 8; i++)
        a.x[i] = __float2bfloat16(c[i / 4].x[i % 4]);
}

inline void mma_round_to_a(mma_a<__half> &a, const mma_c *c)
{
    for (int i = 0; i < 8; i++)
        a.x[i] = __float2half(c[i / 4].x[i % 4]);
}

template <typename T> void mma_multiply_add(mma_c &c, const mma_a<T> &a, const mma_b<T> &b)
{
    simgpu::mma_offer<T> mine = {&a, &b, &c};
    simgpu::meet_warp(0xffffffffu, "mma_multiply_add", &mine, simgpu::mma_tile<T>);
}

#endif
