/*
 * embed.cu - token and position embedding, forward and backward.
 *
 * Backward adds many rows of the gradient to one row of a table, and must always add them in the
 * same order. So blocks share the tables' rows, not the gradient's: each walks all keys (tokens,
 * positions), picks those of its own in their order, and adds up runs of the same key in registers.
 */
#include "kernels/cuda/dropout.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/reduce.cuh"

#include <algorithm>

namespace {

constexpr int THREADS = 128;
constexpr int KEYS_EACH = 8;                        /* keys that a thread looks at in a round */
constexpr int ROUND = THREADS * KEYS_EACH;
constexpr int64_t MOST_SHARES = 512, ROWS_A_SHARE = 32;

template <typename T, int W>
__global__ void embed_forward_kernel(T *x, const int32_t *tokens, const float *token_table,
                                     const float *position_table, const int32_t *positions,
                                     int64_t N, int T_, int C, int first_position,
                                     struct dropout dropout)
{
    const int64_t n = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    if (n >= N)
        return;
    const float *token = token_table + (int64_t)tokens[n] * C;
    const float *position =
        position_table + (positions ? positions[n] : first_position + n % T_) * (int64_t)C;
    for (int c = threadIdx.x * W; c < C; c += WARP * W) {
        float t[W], p[W];
        load<float, W>(t, token + c);
        load<float, W>(p, position + c);
        for (int i = 0; i < W; i++)
            t[i] += p[i];
        drop_in_row<W>(t, dropout, n, c);
        store<T, W>(x + n * C + c, t);
    }
}

/* Writes to `mine`, in order, the rows from `first` on, of a round, whose key falls to this block;
 * returns their number. All threads call and get the same. */
__device__ int pick_rows(int *mine, int *slots, const int32_t *keys, int period, int64_t first,
                         int64_t N)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int64_t begin = first + (int64_t)threadIdx.x * KEYS_EACH;
    unsigned found = 0;
    for (int i = 0; i < KEYS_EACH; i++) {
        const int64_t n = begin + i;
        if (n < N && (unsigned)(keys ? keys[n] : (int)(n % period)) % gridDim.x == blockIdx.x)
            found |= 1u << i;
    }
    int before = __popc(found);    /* becomes the sum over this and lower lanes */
    for (int distance = 1; distance < WARP; distance *= 2) {
        const int lower = __shfl_up_sync(ALL_LANES, before, distance);
        if (lane >= distance)
            before += lower;
    }
    if (lane == WARP - 1)
        slots[warp] = before;
    __syncthreads();
    int at = before - __popc(found), total = 0;
    for (int w = 0; w < THREADS / WARP; w++) {
        at += w < warp ? slots[w] : 0;
        total += slots[w];
    }
    for (int i = 0; i < KEYS_EACH; i++)
        if (found >> i & 1)
            mine[at++] = (int)(begin - first) + i;
    __syncthreads();
    return total;
}

/* Blocks (shares of keys, W * THREADS columns each); keys NULL: n % period. */
template <typename T, int W>
__global__ void embed_backward_kernel(float *dtable, float *dsquares, const T *dx, const T *dx_more,
                                      const int32_t *keys, int period, int64_t N, int C,
                                      struct dropout dropout)
{
    __shared__ int mine[ROUND], slots[WARP];
    const int c = (blockIdx.y * THREADS + threadIdx.x) * W;
    float sum[W] = {}, squares[W] = {};
    int64_t run = -1;    /* the key that is being summed */
    auto flush = [&]() {
        if (run < 0 || c >= C)
            return;
        for (int i = 0; i < W; i++) {
            dtable[run * C + c + i] += sum[i];
            if (dsquares)
                dsquares[run * C + c + i] += squares[i];
            sum[i] = squares[i] = 0;
        }
    };
    for (int64_t first = 0; first < N; first += ROUND) {
        const int count = pick_rows(mine, slots, keys, period, first, N);
        for (int i = 0; i < count; i++) {
            const int64_t n = first + mine[i];
            const int64_t key = keys ? keys[n] : n % period;
            if (key != run) {
                flush();
                run = key;
            }
            if (c >= C)
                continue;
            float d[W];
            load<T, W>(d, dx + n * C + c);
            if (dx_more) {
                float more[W];
                load<T, W>(more, dx_more + n * C + c);
                for (int j = 0; j < W; j++)
                    d[j] += more[j];
            }
            drop_in_row<W>(d, dropout, n, c);
            for (int j = 0; j < W; j++) {
                sum[j] += d[j];
                squares[j] += d[j] * d[j];
            }
        }
        __syncthreads();    /* `mine` is read, before the next round writes it */
    }
    flush();
}

template <typename T> void forward(struct device *device, const struct embed_forward *a)
{
    const int64_t N = (int64_t)a->B * a->T;
    const unsigned rows = THREADS / WARP;
    const bool aligned = rows_are_aligned<T>(a->C, a->x, a->token_table, a->position_table);
    with_width<T>(aligned, [&](auto width) {
        cuda_launched(device,
                      launch(device_cuda_stream(device), dim3((unsigned)((N + rows - 1) / rows)),
                             dim3(WARP, rows), 0, embed_forward_kernel<T, decltype(width)::value>,
                             static_cast<T *>(a->x), a->tokens, a->token_table, a->position_table,
                             a->positions, N, a->T, a->C, a->first_position, a->dropout),
                      "embed_forward", "%d x %d x %d", a->B, a->T, a->C);
    });
}

/* One of the two tables. */
template <typename T>
void backward(struct device *device, const struct embed_backward *a, float *dtable, float *dsquares,
              const int32_t *keys)
{
    const int64_t N = (int64_t)a->B * a->T;
    const unsigned shares = (unsigned)std::clamp<int64_t>(N / ROWS_A_SHARE, 1, MOST_SHARES);
    with_width<T>(rows_are_aligned<T>(a->C, a->dx, a->dx_more), [&](auto width) {
        constexpr int W = decltype(width)::value;
        const unsigned columns = (unsigned)((a->C + THREADS * W - 1) / (THREADS * W));
        cuda_launched(device,
                      launch(device_cuda_stream(device), dim3(shares, columns), dim3(THREADS), 0,
                             embed_backward_kernel<T, W>, dtable, dsquares,
                             static_cast<const T *>(a->dx), static_cast<const T *>(a->dx_more),
                             keys, a->T, N, a->C, a->dropout),
                      "embed_backward", "%d x %d x %d", a->B, a->T, a->C);
    });
}

} // namespace

void cuda_embed_forward(struct device *device, enum dtype act, const struct embed_forward *a)
{
    with_type(act, [&](auto zero) { forward<decltype(zero)>(device, a); });
}

void cuda_embed_backward(struct device *device, enum dtype act, const struct embed_backward *a)
{
    with_type(act, [&](auto zero) {
        using T = decltype(zero);
        backward<T>(device, a, a->dtoken_table, a->dtoken_squares, a->tokens);
        backward<T>(device, a, a->dposition_table, nullptr, a->positions);
    });
}
