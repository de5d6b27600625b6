/*
 * mma.cuh - small matrix products of a warp on tensor cores, with fp32 sums.
 *
 * One product is c (16, 8) += a (16, K) . b (K, 8), where K = MMA_DEPTH<T>: 16 for bf16 and fp16, 8
 * for float. All 32 lanes of a warp call together; each holds a part of every tile:
 *
 *   c: with g = lane / 4 and t = lane % 4, x[0], x[1] are c[g][2t], c[g][2t + 1]; x[2], x[3] are
 *      c[g + 8][2t], c[g + 8][2t + 1]. Kernels may rely on this.
 *   a, b: known to this file alone; they come from the functions below.
 *
 * Products of floats are as exact as fp32: each operand is split into a TF32 number and its rest,
 * and three products of TF32 are added ("3xTF32", as in CUTLASS's example 27). Tensor cores cut off
 * what is below a sum's last bit instead of rounding it (Fasi and others 2021, "Numerical behavior of
 * NVIDIA tensor cores", 3.3), so a long chain of sums would drift towards zero, by 7e-6 over 1024
 * terms of one sign: each step's products are therefore summed alone, and added to c by an ordinary,
 * rounded sum.
 */
#ifndef GALLEY_KERNELS_CUDA_MMA_CUH
#define GALLEY_KERNELS_CUDA_MMA_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

template <typename T> constexpr int MMA_DEPTH = 32 / (int)sizeof(T);

/* 16-bit operands travel in pairs, floats alone. */
template <typename T> struct mma_register {
    using type = uint32_t;
};
template <> struct mma_register<float> {
    using type = float;
};

template <typename T> struct mma_a {
    typename mma_register<T>::type x[4];
};
template <typename T> struct mma_b {
    typename mma_register<T>::type x[2];
};
struct mma_c {
    float x[4];
};

/* ---- operands from shared memory; ld: elements from one row to the next, rows aligned to 16 bytes ---- */

__device__ inline void mma_load_matrices(uint32_t *x, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

__device__ inline void mma_load_matrices_transposed(uint32_t *x, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

/* a (16, K) = tile, stored (16, K) row by row. */
template <typename T> __device__ void mma_load_a(mma_a<T> &a, const T *tile, int ld)
{
    const int lane = threadIdx.x % 32;
    mma_load_matrices(a.x, tile + lane % 16 * ld + lane / 16 * 8);
}

/* b[0] and b[1] (K, 8) = the left and right half of the transpose of tile, stored (16, K). */
template <typename T> __device__ void mma_load_b(mma_b<T> b[2], const T *tile, int ld)
{
    const int lane = threadIdx.x % 32;
    uint32_t x[4];
    mma_load_matrices(x, tile + (lane / 16 * 8 + lane % 8) * ld + lane / 8 % 2 * 8);
    b[0] = {{x[0], x[1]}};
    b[1] = {{x[2], x[3]}};
}

/* b[0] and b[1] (K, 8) = the left and right half of tile, stored (K, 16). */
template <typename T> __device__ void mma_load_b_rows(mma_b<T> b[2], const T *tile, int ld)
{
    const int lane = threadIdx.x % 32;
    uint32_t x[4];
    mma_load_matrices_transposed(x, tile + lane % 16 * ld + lane / 16 * 8);
    b[0] = {{x[0], x[1]}};
    b[1] = {{x[2], x[3]}};
}

/* With floats, step 2t of a product's depth stands where the hardware has step t, and 2t + 1 where
 * it has t + 4: so a lane reads neighbours, and c serves as a without moving between lanes. */
template <> __device__ inline void mma_load_a(mma_a<float> &a, const float *tile, int ld)
{
    const int lane = threadIdx.x % 32;
    const float *row = tile + lane / 4 * ld + lane % 4 * 2;
    a = {{row[0], row[8 * ld], row[1], row[8 * ld + 1]}};
}

template <> __device__ inline void mma_load_b(mma_b<float> b[2], const float *tile, int ld)
{
    const int lane = threadIdx.x % 32;
    const float *row = tile + lane / 4 * ld + lane % 4 * 2;
    b[0] = {{row[0], row[1]}};
    b[1] = {{row[8 * ld], row[8 * ld + 1]}};
}

template <> __device__ inline void mma_load_b_rows(mma_b<float> b[2], const float *tile, int ld)
{
    const int lane = threadIdx.x % 32;
    const float *column = tile + lane % 4 * 2 * ld + lane / 4;
    b[0] = {{column[0], column[ld]}};
    b[1] = {{column[8], column[ld + 8]}};
}

/* ---- a from sums: the K / 8 tiles c[0], c[1].. side by side, rounded to T ---- */

__device__ inline void mma_round_to_a(mma_a<float> &a, const mma_c *c)
{
    a = {{c[0].x[0], c[0].x[2], c[0].x[1], c[0].x[3]}};
}

__device__ inline void mma_round_to_a(mma_a<__nv_bfloat16> &a, const mma_c *c)
{
    for (int i = 0; i < 4; i++) {
        const float *x = c[i / 2].x + i % 2 * 2;
        const __nv_bfloat162 pair = __floats2bfloat162_rn(x[0], x[1]);
        a.x[i] = *reinterpret_cast<const uint32_t *>(&pair);
    }
}

__device__ inline void mma_round_to_a(mma_a<__half> &a, const mma_c *c)
{
    for (int i = 0; i < 4; i++) {
        const float *x = c[i / 2].x + i % 2 * 2;
        const __half2 pair = __floats2half2_rn(x[0], x[1]);
        a.x[i] = *reinterpret_cast<const uint32_t *>(&pair);
    }
}

/* ---- products; volatile, so that none moves to where a warp is not whole ---- */

__device__ inline void mma_multiply_add(mma_c &c, const mma_a<__nv_bfloat16> &a,
                                        const mma_b<__nv_bfloat16> &b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c.x[0]), "+f"(c.x[1]), "+f"(c.x[2]), "+f"(c.x[3])
        : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
}

__device__ inline void mma_multiply_add(mma_c &c, const mma_a<__half> &a, const mma_b<__half> &b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c.x[0]), "+f"(c.x[1]), "+f"(c.x[2]), "+f"(c.x[3])
        : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
}

__device__ inline void mma_multiply_add_tf32(mma_c &c, const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c.x[0]), "+f"(c.x[1]), "+f"(c.x[2]), "+f"(c.x[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* x = high + low, both TF32 numbers; what is left over is under 2^-22 of x. */
__device__ inline void mma_split(float x, uint32_t &high, uint32_t &low)
{
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(high) : "f"(x));
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(low) : "f"(x - __uint_as_float(high)));
}

__device__ inline void mma_multiply_add(mma_c &c, const mma_a<float> &a, const mma_b<float> &b)
{
    uint32_t a_high[4], a_low[4], b_high[2], b_low[2];
    for (int i = 0; i < 4; i++)
        mma_split(a.x[i], a_high[i], a_low[i]);
    for (int i = 0; i < 2; i++)
        mma_split(b.x[i], b_high[i], b_low[i]);
    mma_c step = {};
    mma_multiply_add_tf32(step, a_low, b_high);    /* the small ones first: less is lost */
    mma_multiply_add_tf32(step, a_high, b_low);
    mma_multiply_add_tf32(step, a_high, b_high);
    for (int i = 0; i < 4; i++)
        c.x[i] += step.x[i];
}

#endif
