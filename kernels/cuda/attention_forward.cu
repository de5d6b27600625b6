/*
 * attention_forward.cu - causal attention, forward: a block of 64 queries of one head walks over
 * the tiles of keys and values that it sees, keeping the softmax's maximum and sum. Scores never
 * leave the registers. Source: Dao et al. 2022 (FlashAttention), algorithm 1; Dao 2023, section
 * 3.1.
 */
#include "kernels/cuda/attention.cuh"

namespace {

/* Keys of a tile: what fits shared memory and registers. */
template <typename T, int HSP> constexpr int KEYS = sizeof(T) == 2 ? 64 : HSP <= 96 ? 32 : 16;

/* Shared memory of a block: queries, and two tiles each of keys and values. */
template <typename T, int HSP> struct forward_shared {
    T q[ATTENTION_ROWS * TILE_LD<T, HSP>];
    T k[2][KEYS<T, HSP> * TILE_LD<T, HSP>];
    T v[2][KEYS<T, HSP> * TILE_LD<T, HSP>];
    uint8_t shown[2][KEYS<T, HSP>];
};

struct forward_arguments {
    void *out;
    float *lse;
    const void *qkv;
    const uint8_t *key_mask;
    const int32_t *first_key;
    int T, NH, HS;
    float scale;
    bool aligned;
    struct dropout dropout;
};

/* A lane's two rows of a block of queries: running maximum of scores times log2(e), and this lane's
 * part of the sum. */
struct softmax_rows {
    int query[2], first[2];
    float max[2], sum[2];
};

/* Scores of a tile that are not seen become -infinity. */
template <int N>
__device__ void hide(mma_c (&s)[N / 8], const softmax_rows &rows, const uint8_t *shown, int start)
{
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int column = j * 8 + 2 * t + i % 2, key = start + column;
            const bool seen =
                key <= rows.query[i / 2] && key >= rows.first[i / 2] && shown[column];
            s[j].x[i] = seen ? s[j].x[i] : -INFINITY;
        }
}

/* Scores become unnormalised probabilities; what was summed so far shrinks to the new maximum. */
template <int N, int HSP>
__device__ void advance(mma_c (&s)[N / 8], mma_c (&o)[HSP / 8], softmax_rows &rows, float scale)
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float max = -INFINITY;
#pragma unroll
        for (int j = 0; j < N / 8; j++)
            max = fmaxf(max, fmaxf(s[j].x[2 * r], s[j].x[2 * r + 1]));
        max = fmaxf(max, __shfl_xor_sync(ALL_LANES, max, 1));
        max = fmaxf(max, __shfl_xor_sync(ALL_LANES, max, 2));
        max = fmaxf(rows.max[r], max * scale);
        const float base = max == -INFINITY ? 0.0f : max;    /* nothing seen yet: all stay 0 */
        const float shrink = exp2f(rows.max[r] - base);
        float sum = 0;
#pragma unroll
        for (int j = 0; j < N / 8; j++)
#pragma unroll
            for (int i = 2 * r; i < 2 * r + 2; i++) {
                s[j].x[i] = exp2f(s[j].x[i] * scale - base);
                sum += s[j].x[i];
            }
        rows.sum[r] = rows.sum[r] * shrink + sum;
        rows.max[r] = max;
#pragma unroll
        for (int j = 0; j < HSP / 8; j++) {
            o[j].x[2 * r] *= shrink;
            o[j].x[2 * r + 1] *= shrink;
        }
    }
}

template <typename T, int HSP>
__global__ void __launch_bounds__(ATTENTION_THREADS)
    attention_forward_kernel(const forward_arguments a)
{
    constexpr int N = KEYS<T, HSP>, LD = TILE_LD<T, HSP>;
    static_assert(sizeof(forward_shared<T, HSP>) <= SHARED_BYTES, "what a block has");
    DYNAMIC_SHARED(unsigned char, memory);
    auto &shared = *reinterpret_cast<forward_shared<T, HSP> *>(memory);
    /* The last queries see the most keys: they begin first. */
    const int first_query = (int)(gridDim.x - 1 - blockIdx.x) * ATTENTION_ROWS;
    const int head = blockIdx.y, b = blockIdx.z, warp = threadIdx.x / WARP;
    const int64_t width = (int64_t)a.NH * a.HS;
    const T *qkv = static_cast<const T *>(a.qkv) + b * a.T * 3 * width + head * a.HS;
    const head_rows<T> queries = {qkv, 3 * width, a.T, a.HS, a.aligned};
    head_rows<T> keys = queries, values = queries;
    keys.first += width;
    values.first += 2 * width;
    const visibility seen = {a.key_mask ? a.key_mask + (int64_t)b * a.T : nullptr,
                             a.first_key ? a.first_key + (int64_t)b * a.T : nullptr};

    softmax_rows rows;
    for (int r = 0; r < 2; r++) {
        rows.query[r] = first_query + warp * 16 + threadIdx.x % WARP / 4 + 8 * r;
        rows.first[r] = seen.first(rows.query[r], a.T);
        rows.max[r] = -INFINITY;
        rows.sum[r] = 0;
    }
    mma_c o[HSP / 8] = {};
    const float scale = LOG2_E * a.scale;
    const int begin = seen.first_tile(first_query, a.T, N);
    const int end = min(first_query + ATTENTION_ROWS, a.T);

    auto load = [&](int stage, int start) {
        load_tile<T, HSP, N>(shared.k[stage], keys, start);
        load_tile<T, HSP, N>(shared.v[stage], values, start);
        if (threadIdx.x < N)
            shared.shown[stage][threadIdx.x] = seen.shows(start + (int)threadIdx.x, a.T);
        copy_async_commit();
    };
    load_tile<T, HSP, ATTENTION_ROWS>(shared.q, queries, first_query);
    load(0, begin);
    for (int start = begin, stage = 0; start < end; start += N, stage ^= 1) {
        copy_async_wait<0>();
        __syncthreads();    /* this tile is there, and nobody reads the other any more */
        if (start + N < end)
            load(stage ^ 1, start + N);

        mma_c s[N / 8];
        multiply_tiles<T, HSP, N>(s, shared.q + warp * 16 * LD, shared.k[stage]);
        if (start + N > first_query || a.key_mask || a.first_key)
            hide<N>(s, rows, shared.shown[stage], start);
        advance<N, HSP>(s, o, rows, scale);
        if (a.dropout.threshold)
#pragma unroll
            for (int j = 0; j < N / 8; j++)
#pragma unroll
                for (int r = 0; r < 2; r++)
                    drop_pair(s[j].x + 2 * r, a.dropout, rows.query[r],
                              start + j * 8 + threadIdx.x % 4 * 2, b, head);
        add_product<T, HSP, N>(o, s, shared.v[stage]);
    }

    T *out[2];
    float factor[2];
    for (int r = 0; r < 2; r++) {
        float sum = rows.sum[r];
        sum += __shfl_xor_sync(ALL_LANES, sum, 1);
        sum += __shfl_xor_sync(ALL_LANES, sum, 2);
        factor[r] = sum > 0 ? 1.0f / sum : 0.0f;
        const int64_t row = (int64_t)b * a.T + rows.query[r];
        const bool there = rows.query[r] < a.T;
        out[r] = there ? static_cast<T *>(a.out) + row * width + head * a.HS : nullptr;
        /* Of a row that sees nothing, backward makes exp(score - infinity) = 0. */
        if (a.lse && there && threadIdx.x % 4 == 0)
            a.lse[((int64_t)b * a.NH + head) * a.T + rows.query[r]] =
                sum > 0 ? (rows.max[r] + log2f(sum)) * LN_2 : INFINITY;
    }
    store_rows<T, HSP>(out, o, factor, a.HS);
}

template <typename T> void forward(struct device *device, const struct attention_forward *a)
{
    const bool aligned = rows_are_aligned<T>(a->HS, a->qkv);
    const forward_arguments arguments = {a->out, a->lse, a->qkv, a->key_mask, a->first_key, a->T,
                                         a->NH,  a->HS,  a->scale, aligned,   a->dropout};
    const dim3 grid((unsigned)((a->T + ATTENTION_ROWS - 1) / ATTENTION_ROWS), (unsigned)a->NH,
                    (unsigned)a->B);
    with_head_size(a->HS, [&](auto size) {
        constexpr int HSP = decltype(size)::value;
        cuda_launched(device,
                      launch(device_cuda_stream(device), grid, dim3(ATTENTION_THREADS),
                             sizeof(forward_shared<T, HSP>), attention_forward_kernel<T, HSP>,
                             arguments),
                      "attention_forward", "%d x %d x %d heads of %d", a->B, a->T, a->NH, a->HS);
    });
}

} // namespace

void cuda_attention_forward(struct device *device, enum dtype act,
                            const struct attention_forward *a)
{
    with_type(act, [&](auto zero) { forward<decltype(zero)>(device, a); });
}
