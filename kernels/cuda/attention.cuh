/*
 * attention.cuh - what forward and backward of attention share: tiles in shared memory and the
 * products of a warp on them.
 *
 * A block has four warps; each owns 16 rows (queries, or keys) of a block of 64 and walks over
 * tiles of the other side. Heads are padded with zeros to a multiple of 16 channels in shared
 * memory only, so any head size up to 128 is right, and those whose rows are aligned to 16 bytes
 * are loaded asynchronously.
 */
#ifndef GALLEY_KERNELS_CUDA_ATTENTION_CUH
#define GALLEY_KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/dropout.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/reduce.cuh"

#include <type_traits>

constexpr int ATTENTION_WARPS = 4, ATTENTION_THREADS = ATTENTION_WARPS * WARP;
constexpr int ATTENTION_ROWS = 16 * ATTENTION_WARPS;    /* of a block */
constexpr int LARGEST_HEAD = CUDA_LARGEST_HEAD;
constexpr size_t SHARED_BYTES = CUDA_SHARED_BYTES;
constexpr float LOG2_E = 1.44269504f, LN_2 = 0.693147181f;

/* Elements from one row of a tile to the next: 16 bytes more than the row, so that the rows of a
 * fragment lie in different banks. */
template <typename T, int HSP> constexpr int TILE_LD = HSP + 16 / (int)sizeof(T);

/* Calls f with the constant to which a head is padded. */
template <typename F> void with_head_size(int HS, F f)
{
    if (HS <= 32)
        f(std::integral_constant<int, 32>());
    else if (HS <= 64)
        f(std::integral_constant<int, 64>());
    else if (HS <= 96)
        f(std::integral_constant<int, 96>());
    else
        f(std::integral_constant<int, LARGEST_HEAD>());
}

/* The rows of one head in a (B, T, stride) tensor. */
template <typename T> struct head_rows {
    const T *first;     /* row 0 of the sequence, channel 0 of the head */
    int64_t stride;     /* elements from one position to the next */
    int T_, HS;
    bool aligned;       /* rows begin at multiples of 16 bytes, and so do heads */
};

/* tile (ROWS, HSP) = rows `start` and on of a head, zeros around. Where rows are aligned they are
 * there after the next copy_async_commit and wait; a barrier must follow in any case. */
template <typename T, int HSP, int ROWS>
__device__ void load_tile(T *tile, const head_rows<T> &head, int start)
{
    constexpr int LD = TILE_LD<T, HSP>, W = WIDEST<T>;
    if (head.aligned) {
        for (int i = threadIdx.x; i < ROWS * (HSP / W); i += ATTENTION_THREADS) {
            const int row = i / (HSP / W), c = i % (HSP / W) * W;
            const bool valid = start + row < head.T_ && c < head.HS;
            copy_async_16(tile + row * LD + c,
                          valid ? head.first + (start + row) * head.stride + c : head.first, valid);
        }
    } else {
        for (int i = threadIdx.x; i < ROWS * HSP; i += ATTENTION_THREADS) {
            const int row = i / HSP, c = i % HSP;
            const bool valid = start + row < head.T_ && c < head.HS;
            tile[row * LD + c] =
                valid ? head.first[(start + row) * head.stride + c] : from_float<T>(0.0f);
        }
    }
}

/* c (16, N) = a (16, HSP) . b^T, both tiles; b has N rows. */
template <typename T, int HSP, int N>
__device__ void multiply_tiles(mma_c (&c)[N / 8], const T *a, const T *b)
{
    constexpr int LD = TILE_LD<T, HSP>, K = MMA_DEPTH<T>;
#pragma unroll
    for (int j = 0; j < N / 8; j++)
        c[j] = {};
#pragma unroll
    for (int k = 0; k < HSP; k += K) {
        mma_a<T> left;
        mma_load_a(left, a + k, LD);
#pragma unroll
        for (int j = 0; j < N; j += 16) {
            mma_b<T> right[2];
            mma_load_b(right, b + j * LD + k, LD);
            mma_multiply_add(c[j / 8], left, right[0]);
            mma_multiply_add(c[j / 8 + 1], left, right[1]);
        }
    }
}

/* c (16, HSP) += p (16, N) rounded to T . b, a tile of N rows. */
template <typename T, int HSP, int N>
__device__ void add_product(mma_c (&c)[HSP / 8], const mma_c (&p)[N / 8], const T *b)
{
    constexpr int LD = TILE_LD<T, HSP>, K = MMA_DEPTH<T>;
#pragma unroll
    for (int k = 0; k < N; k += K) {
        mma_a<T> left;
        mma_round_to_a(left, p + k / 8);
#pragma unroll
        for (int j = 0; j < HSP; j += 16) {
            mma_b<T> right[2];
            mma_load_b_rows(right, b + k * LD + j, LD);
            mma_multiply_add(c[j / 8], left, right[0]);
            mma_multiply_add(c[j / 8 + 1], left, right[1]);
        }
    }
}

/* Writes c (16, HSP), times a factor for the lane's first and second row, to two rows of HS
 * channels; NULL: that row is not there. */
template <typename T, int HSP>
__device__ void store_rows(T *const (&rows)[2], const mma_c (&c)[HSP / 8], const float (&factor)[2],
                           int HS)
{
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int j = 0; j < HSP / 8; j++) {
        const int channel = j * 8 + 2 * t;
        for (int r = 0; r < 2; r++) {
            if (!rows[r])
                continue;
            if (channel < HS)
                rows[r][channel] = from_float<T>(c[j].x[2 * r] * factor[r]);
            if (channel + 1 < HS)
                rows[r][channel + 1] = from_float<T>(c[j].x[2 * r + 1] * factor[r]);
        }
    }
}

/* Which keys a query sees. */
struct visibility {
    const uint8_t *key_mask;      /* (T) of this sequence, or NULL */
    const int32_t *first_key;     /* (T) of this sequence, or NULL */

    __device__ bool shows(int key, int T_) const
    {
        return key < T_ && (!key_mask || key_mask[key]);
    }

    __device__ int first(int query, int T_) const
    {
        return first_key && query < T_ ? first_key[query] : 0;
    }

    /* The first tile that any of the block's queries sees something of, as its first key. */
    __device__ int first_tile(int first_query, int T_, int tile) const
    {
        if (!first_key)
            return 0;
        int low = first_query;
        for (int i = first_query; i < first_query + ATTENTION_ROWS && i < T_; i++)
            low = min(low, first_key[i]);
        return low / tile * tile;
    }
};

/* What the probability of one key for one query is multiplied with. */
__device__ inline float probability_factor(const struct dropout &d, int query, int key, int b,
                                           int head)
{
    uint32_t words[4];
    dropout_bits(d.key, (uint32_t)key / 8, (uint32_t)query, (uint32_t)(d.first_sample + b),
                 (uint32_t)head, words);
    return dropout_factor(d, words, key % 8);
}

/* The same of a lane's pair of keys; `key` is even. */
__device__ inline void drop_pair(float *p, const struct dropout &d, int query, int key, int b,
                                 int head)
{
    drop<2>(p, d, (uint32_t)key, (uint32_t)query, (uint32_t)(d.first_sample + b), (uint32_t)head);
}

#endif
