/*
 * attention_backward.cu - causal attention, backward, from the scores computed again and the saved
 * log-sum-exp. Source: Dao et al. 2022 (FlashAttention), section 3.1 and appendix B.2.
 *
 * With P = exp(S - lse), dP = dout . v^T, D = sum over channels of dout * out, dS = P * (dP - D):
 *   dv = P^T . dout,  dk = dS^T . q,  dq = dS . k.
 * One kernel walks from a block of keys over the queries that see it and sums dk and dv in
 * registers, another from a block of queries over its keys and sums dq. Scores are computed twice,
 * and in return nothing is added by two blocks, so that the result does not depend on their order.
 * With dropout's mask m, P is m P in dv, and dP is m dP.
 */
#include "kernels/cuda/attention.cuh"

namespace {

/* Rows of what a block walks over: two sets of sums fill the registers, floats shared memory. */
template <typename T> constexpr int TILE_ROWS = sizeof(T) == 4 ? 16 : 32;

struct backward_arguments {
    void *dqkv;
    const void *dout, *out;
    const float *lse;
    float *D;    /* (B, NH, T), scratch */
    const void *qkv;
    const uint8_t *key_mask;
    const int32_t *first_key;
    int B, T, NH, HS;
    float scale;
    bool aligned;
    struct dropout dropout;
};

/* The block of rows that stays, and two tiles each of what it walks over: (k, v) and (q, dout), or
 * the other way round. With fp32 heads of more than 96 channels they are all that 8.6, 8.9 and 12.0
 * give a block, to the byte. */
template <typename T, int HSP> struct backward_shared {
    static constexpr int TILE = TILE_ROWS<T>;
    T rows[2][ATTENTION_ROWS * TILE_LD<T, HSP>];
    T tiles[2][2][TILE * TILE_LD<T, HSP>];
};
static_assert(sizeof(backward_shared<float, LARGEST_HEAD>) <= SHARED_BYTES &&
              sizeof(backward_shared<__half, LARGEST_HEAD>) <= SHARED_BYTES, "what a block has");

/* What else there is to know of a row that is walked over: of a query, or of a key. It stands in
 * the padding behind the row in the first tile of its pair, where it costs no memory. */
struct row_facts {
    float lse, D;
    int first;
    bool shown;
};

template <typename T, int HSP> __device__ row_facts &facts_of(T *tile, int row)
{
    static_assert(sizeof(row_facts) <= (TILE_LD<T, HSP> - HSP) * sizeof(T), "the padding");
    return *reinterpret_cast<row_facts *>(tile + row * TILE_LD<T, HSP> + HSP);
}

/* Where one head of one sequence lies. */
template <typename T> struct head_place {
    head_rows<T> q, k, v, dout;
    T *dqkv;
    int64_t lse;    /* of its first position in (B, NH, T) */
    int head, b;
    visibility seen;
};

template <typename T> __device__ head_place<T> place_head(const backward_arguments &a)
{
    const int head = blockIdx.y, b = blockIdx.z;
    const int64_t width = (int64_t)a.NH * a.HS, at = (int64_t)b * a.T * 3 * width + head * a.HS;
    const T *qkv = static_cast<const T *>(a.qkv) + at;
    const T *dout = static_cast<const T *>(a.dout) + (int64_t)b * a.T * width + head * a.HS;
    head_place<T> p;
    p.q = {qkv, 3 * width, a.T, a.HS, a.aligned};
    p.k = {qkv + width, 3 * width, a.T, a.HS, a.aligned};
    p.v = {qkv + 2 * width, 3 * width, a.T, a.HS, a.aligned};
    p.dout = {dout, width, a.T, a.HS, a.aligned};
    p.dqkv = static_cast<T *>(a.dqkv) + at;
    p.lse = ((int64_t)b * a.NH + head) * a.T;
    p.head = head;
    p.b = b;
    p.seen = {a.key_mask ? a.key_mask + (int64_t)b * a.T : nullptr,
              a.first_key ? a.first_key + (int64_t)b * a.T : nullptr};
    return p;
}

/* D (B, NH, T): a warp for each position of each head. */
template <typename T> __global__ void attention_dot_kernel(const backward_arguments a)
{
    const int64_t i = (int64_t)blockIdx.x * ATTENTION_WARPS + threadIdx.x / WARP;
    if (i >= (int64_t)a.B * a.T * a.NH)
        return;
    const T *dout = static_cast<const T *>(a.dout) + i * a.HS;
    const T *out = static_cast<const T *>(a.out) + i * a.HS;
    float sum = 0;
    for (int c = threadIdx.x % WARP; c < a.HS; c += WARP)
        sum += to_float(dout[c]) * to_float(out[c]);
    sum = warp_sum(sum);
    const int64_t row = i / a.NH, head = i % a.NH;
    if (threadIdx.x % WARP == 0)
        a.D[(row / a.T * a.NH + head) * a.T + row % a.T] = sum;
}

/* What a score s and its dP become: P in s, and dS in dp. m: dropout's factor. */
__device__ inline void differentiate(float &s, float &dp, bool seen, float scale, float lse,
                                     float D, float m)
{
    const float p = seen ? exp2f(s * scale - lse * LOG2_E) : 0.0f;
    dp = p * (dp * m - D);
    s = p * m;
}

template <typename T, int HSP>
__global__ void __launch_bounds__(ATTENTION_THREADS)
    attention_keys_kernel(const backward_arguments a)
{
    constexpr int LD = TILE_LD<T, HSP>, TILE = TILE_ROWS<T>;
    DYNAMIC_SHARED(unsigned char, memory);
    auto &shared = *reinterpret_cast<backward_shared<T, HSP> *>(memory);
    const head_place<T> h = place_head<T>(a);
    const int first_key = (int)blockIdx.x * ATTENTION_ROWS, warp = threadIdx.x / WARP;
    const int lane_row = threadIdx.x % WARP / 4, lane_column = threadIdx.x % 4 * 2;
    const float scale = LOG2_E * a.scale;

    auto load = [&](int stage, int start) {
        load_tile<T, HSP, TILE>(shared.tiles[stage][0], h.q, start);
        load_tile<T, HSP, TILE>(shared.tiles[stage][1], h.dout, start);
        if (threadIdx.x < TILE) {
            const int query = start + (int)threadIdx.x;
            const bool there = query < a.T;
            row_facts &facts = facts_of<T, HSP>(shared.tiles[stage][0], (int)threadIdx.x);
            facts.lse = there ? a.lse[h.lse + query] : INFINITY;
            facts.D = there ? a.D[h.lse + query] : 0.0f;
            facts.first = h.seen.first(query, a.T);
        }
        copy_async_commit();
    };
    load_tile<T, HSP, ATTENTION_ROWS>(shared.rows[0], h.k, first_key);
    load_tile<T, HSP, ATTENTION_ROWS>(shared.rows[1], h.v, first_key);
    int key[2];
    bool shown[2];
    for (int r = 0; r < 2; r++) {
        key[r] = first_key + warp * 16 + lane_row + 8 * r;
        shown[r] = key[r] < a.T && (!h.seen.key_mask || h.seen.key_mask[key[r]]);
    }

    mma_c dk[HSP / 8] = {}, dv[HSP / 8] = {};
    load(0, first_key);    /* earlier queries do not see these keys */
    for (int start = first_key, stage = 0; start < a.T; start += TILE, stage ^= 1) {
        copy_async_wait<0>();
        __syncthreads();
        if (start + TILE < a.T)
            load(stage ^ 1, start + TILE);

        T *const q = shared.tiles[stage][0], *const dout = shared.tiles[stage][1];
        mma_c s[TILE / 8], dp[TILE / 8];    /* (keys, queries) */
        multiply_tiles<T, HSP, TILE>(s, shared.rows[0] + warp * 16 * LD, q);
        multiply_tiles<T, HSP, TILE>(dp, shared.rows[1] + warp * 16 * LD, dout);
#pragma unroll
        for (int j = 0; j < TILE / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int column = j * 8 + lane_column + i % 2, query = start + column, r = i / 2;
                const row_facts &facts = facts_of<T, HSP>(q, column);
                const bool seen = shown[r] && key[r] <= query && key[r] >= facts.first;
                const float m = a.dropout.threshold ? probability_factor(a.dropout, query, key[r],
                                                                         h.b, h.head)
                                                    : 1.0f;
                differentiate(s[j].x[i], dp[j].x[i], seen, scale, facts.lse, facts.D, m);
            }
        add_product<T, HSP, TILE>(dv, s, dout);
        add_product<T, HSP, TILE>(dk, dp, q);
    }

    T *dk_rows[2], *dv_rows[2];
    for (int r = 0; r < 2; r++) {
        dk_rows[r] =
            key[r] < a.T ? h.dqkv + key[r] * h.k.stride + (int64_t)a.NH * a.HS : nullptr;
        dv_rows[r] = key[r] < a.T ? dk_rows[r] + (int64_t)a.NH * a.HS : nullptr;
    }
    store_rows<T, HSP>(dk_rows, dk, {a.scale, a.scale}, a.HS);
    store_rows<T, HSP>(dv_rows, dv, {1.0f, 1.0f}, a.HS);
}

template <typename T, int HSP>
__global__ void __launch_bounds__(ATTENTION_THREADS)
    attention_queries_kernel(const backward_arguments a)
{
    constexpr int LD = TILE_LD<T, HSP>, TILE = TILE_ROWS<T>;
    DYNAMIC_SHARED(unsigned char, memory);
    auto &shared = *reinterpret_cast<backward_shared<T, HSP> *>(memory);
    const head_place<T> h = place_head<T>(a);
    /* The last queries see the most keys: they begin first. */
    const int first_query = (int)(gridDim.x - 1 - blockIdx.x) * ATTENTION_ROWS;
    const int warp = threadIdx.x / WARP;
    const int lane_row = threadIdx.x % WARP / 4, lane_column = threadIdx.x % 4 * 2;
    const float scale = LOG2_E * a.scale;
    const int begin = h.seen.first_tile(first_query, a.T, TILE);
    const int end = min(first_query + ATTENTION_ROWS, a.T);

    auto load = [&](int stage, int start) {
        load_tile<T, HSP, TILE>(shared.tiles[stage][0], h.k, start);
        load_tile<T, HSP, TILE>(shared.tiles[stage][1], h.v, start);
        if (threadIdx.x < TILE)
            facts_of<T, HSP>(shared.tiles[stage][0], (int)threadIdx.x).shown =
                h.seen.shows(start + (int)threadIdx.x, a.T);
        copy_async_commit();
    };
    load_tile<T, HSP, ATTENTION_ROWS>(shared.rows[0], h.q, first_query);
    load_tile<T, HSP, ATTENTION_ROWS>(shared.rows[1], h.dout, first_query);
    int query[2], first[2];
    float lse[2], D[2];
    for (int r = 0; r < 2; r++) {
        query[r] = first_query + warp * 16 + lane_row + 8 * r;
        first[r] = h.seen.first(query[r], a.T);
        lse[r] = query[r] < a.T ? a.lse[h.lse + query[r]] : INFINITY;
        D[r] = query[r] < a.T ? a.D[h.lse + query[r]] : 0.0f;
    }

    mma_c dq[HSP / 8] = {};
    load(0, begin);
    for (int start = begin, stage = 0; start < end; start += TILE, stage ^= 1) {
        copy_async_wait<0>();
        __syncthreads();
        if (start + TILE < end)
            load(stage ^ 1, start + TILE);

        T *const k = shared.tiles[stage][0], *const v = shared.tiles[stage][1];
        mma_c s[TILE / 8], dp[TILE / 8];    /* (queries, keys) */
        multiply_tiles<T, HSP, TILE>(s, shared.rows[0] + warp * 16 * LD, k);
        multiply_tiles<T, HSP, TILE>(dp, shared.rows[1] + warp * 16 * LD, v);
#pragma unroll
        for (int j = 0; j < TILE / 8; j++)
#pragma unroll
            for (int r = 0; r < 2; r++) {
                float m[2] = {1.0f, 1.0f};
                const int column = j * 8 + lane_column;
                if (a.dropout.threshold)
                    drop_pair(m, a.dropout, query[r], start + column, h.b, h.head);
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const int key = start + column + i;
                    const bool seen = facts_of<T, HSP>(k, column + i).shown && key <= query[r] &&
                                      key >= first[r];
                    differentiate(s[j].x[2 * r + i], dp[j].x[2 * r + i], seen, scale, lse[r], D[r],
                                  m[i]);
                }
            }
        add_product<T, HSP, TILE>(dq, dp, k);
    }

    T *rows[2];
    for (int r = 0; r < 2; r++)
        rows[r] = query[r] < a.T ? h.dqkv + query[r] * h.q.stride : nullptr;
    store_rows<T, HSP>(rows, dq, {a.scale, a.scale}, a.HS);
}

template <typename T> void backward(struct device *device, const struct attention_backward *a)
{
    const int64_t rows = (int64_t)a->B * a->T * a->NH;
    float *D = static_cast<float *>(cuda_scratch(device, (size_t)rows * sizeof(float)));
    const bool aligned = rows_are_aligned<T>(a->HS, a->qkv, a->dout);
    const backward_arguments arguments = {
        a->dqkv, a->dout, a->out, a->lse, D,     a->qkv,  a->key_mask, a->first_key,
        a->B,    a->T,    a->NH,  a->HS,  a->scale, aligned, a->dropout};
    const dim3 grid((unsigned)((a->T + ATTENTION_ROWS - 1) / ATTENTION_ROWS), (unsigned)a->NH,
                    (unsigned)a->B);
    cudaStream_t stream = device_cuda_stream(device);
    auto launched = [&](cudaError_t status) {
        cuda_launched(device, status, "attention_backward", "%d x %d x %d heads of %d", a->B, a->T,
                      a->NH, a->HS);
    };
    launched(launch(stream, dim3((unsigned)((rows + ATTENTION_WARPS - 1) / ATTENTION_WARPS)),
                    dim3(ATTENTION_THREADS), 0, attention_dot_kernel<T>, arguments));
    with_head_size(a->HS, [&](auto size) {
        constexpr int HSP = decltype(size)::value;
        const size_t shared_bytes = sizeof(backward_shared<T, HSP>);
        launched(launch(stream, grid, dim3(ATTENTION_THREADS), shared_bytes,
                        attention_keys_kernel<T, HSP>, arguments));
        launched(launch(stream, grid, dim3(ATTENTION_THREADS), shared_bytes,
                        attention_queries_kernel<T, HSP>, arguments));
    });
}

} // namespace

size_t cuda_attention_scratch_bytes(const struct kernel_limits *limits)
{
    return (size_t)limits->N * (size_t)limits->NH * sizeof(float);
}

void cuda_attention_backward(struct device *device, enum dtype act,
                             const struct attention_backward *a)
{
    with_type(act, [&](auto zero) { backward<decltype(zero)>(device, a); });
}
