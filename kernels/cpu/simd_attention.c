/*
 * simd_attention.c - causal attention, forward and backward, one head of one sequence at a time.
 *
 * Each thread copies a head's q, k and v into padded fp32 scratch that stays in its cache, then
 * works on blocks of QUERIES query rows against all keys up to the block's last: the scores of a
 * block are the only thing that grows with T (QUERIES x T floats). Backward computes the
 * probabilities again from the scores and the saved log-sum-exp, as Dao et al. 2022
 * (FlashAttention), section 3.1.
 *
 * All products go through multiply(), blocked in registers by hand: the sizes are too small for a
 * library call, and 85 columns too odd for the compiler.
 */
#include "kernels/cpu/simd_dropout.h"

#include <math.h>
#include <string.h>

enum {
    QUERIES = 32,
    ROWS = VECTOR_BYTES == 64 ? 8 : 4,    /* of a register block; ROWS * 2 vectors of sums */
    COLUMNS = 2 * LANES,
    PADDING = 32,                         /* a multiple of ROWS and COLUMNS */
    AHEAD = 8,                            /* rows fetched before they are packed */
};

static inline int64_t padded(int64_t n)
{
    return (n + PADDING - 1) / PADDING * PADDING;
}

/* c (rows, columns; row length ldc) = or += a . b. a's element (i, k) stands at a[i * a_row + k *
 * a_step], so it may be transposed; b is (depth, columns) with row length ldb. rows and columns are
 * multiples of ROWS and COLUMNS: operands are padded. */
static void multiply(float *c, int64_t ldc, const float *a, int64_t a_row, int64_t a_step,
                     const float *b, int64_t ldb, int64_t rows, int64_t columns, int64_t depth,
                     bool add)
{
    for (int64_t j = 0; j < columns; j += COLUMNS) {
        for (int64_t i = 0; i < rows; i += ROWS) {
            vec sum[ROWS][2];
            for (int r = 0; r < ROWS; r++) {
                const vec *old = (const vec *)(c + (i + r) * ldc + j);
                sum[r][0] = add ? old[0] : (vec){0};
                sum[r][1] = add ? old[1] : (vec){0};
            }
            const float *a_block = a + i * a_row;
            for (int64_t k = 0; k < depth; k++) {
                const vec *b_row = (const vec *)(b + k * ldb + j);
                const vec b0 = b_row[0], b1 = b_row[1];
                for (int r = 0; r < ROWS; r++) {
                    const float scalar = a_block[r * a_row + k * a_step];
                    sum[r][0] += scalar * b0;
                    sum[r][1] += scalar * b1;
                }
            }
            for (int r = 0; r < ROWS; r++) {
                vec *new = (vec *)(c + (i + r) * ldc + j);
                new[0] = sum[r][0];
                new[1] = sum[r][1];
            }
        }
    }
}

/* One thread's scratch: heads padded to Tp rows of HSp columns. */
struct head {
    int64_t T, HS, Tp, HSp;
    float *q, *k, *v, *dout;          /* (Tp, HSp); q is scaled */
    float *kt, *vt;                   /* (HSp, Tp): transposed */
    float *dk, *dv;                   /* (Tp, HSp) */
    float *scores, *dscores;          /* (QUERIES, Tp) */
    float *rows;                      /* (QUERIES, HSp) */
    float *visible;                   /* (Tp): 1 or 0 */
};

static struct head lay_out(float *scratch, int64_t T, int64_t HS)
{
    struct head h = {.T = T, .HS = HS, .Tp = padded(T), .HSp = padded(HS)};
    float **const matrices[] = {&h.q, &h.k, &h.v, &h.dout, &h.kt, &h.vt, &h.dk, &h.dv};
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++, scratch += h.Tp * h.HSp)
        *matrices[i] = scratch;
    h.scores = scratch;
    h.dscores = h.scores + QUERIES * h.Tp;
    h.rows = h.dscores + QUERIES * h.Tp;
    h.visible = h.rows + QUERIES * h.HSp;
    return h;
}

/* A head's rows lie far apart, which the processor's own prefetching does not see through: without
 * this, packing took 3 % of a bf16 step, most of it waiting for memory. */
static inline void prefetch_row(enum dtype act, const void *from, int64_t start, int64_t n)
{
    const int64_t element = act == DTYPE_F32 ? 4 : 2, line = 64;
    const char *row = (const char *)from + start * element;
    for (int64_t at = 0; at < n * element; at += line)
        __builtin_prefetch(row + at);
}

/* Rows of a head out of a (B, T, stride) tensor into (Tp, HSp), times `scale`, zeros around. */
static void pack(enum dtype act, float *to, const void *from, int64_t start, int64_t stride,
                 const struct head *h, float scale)
{
    for (int64_t t = 0; t < h->T; t++) {
        float *row = to + t * h->HSp;
        if (t + AHEAD < h->T)
            prefetch_row(act, from, start + (t + AHEAD) * stride, h->HS);
        load_act(act, row, from, start + t * stride, h->HS);
        for (int64_t i = 0; i < h->HS; i++)
            row[i] *= scale;
        for (int64_t i = h->HS; i < h->HSp; i++)
            row[i] = 0;
    }
    memset(to + h->T * h->HSp, 0, (size_t)((h->Tp - h->T) * h->HSp) * sizeof(float));
}

static void transpose(float *to, const float *from, const struct head *h)
{
    enum { TILE = 16 };
    for (int64_t t0 = 0; t0 < h->Tp; t0 += TILE)
        for (int64_t i0 = 0; i0 < h->HSp; i0 += TILE)
            for (int64_t i = i0; i < i0 + TILE; i++)
                for (int64_t t = t0; t < t0 + TILE; t++)
                    to[i * h->Tp + t] = from[t * h->HSp + i];
}

static void read_mask(const struct head *h, const uint8_t *key_mask, int64_t b)
{
    for (int64_t t = 0; t < h->Tp; t++)
        h->visible[t] = t < h->T && (!key_mask || key_mask[b * h->T + t]) ? 1.0f : 0.0f;
}

/* The first key of query t of sequence b. */
static inline int64_t first_key_of(const int32_t *first_key, int64_t b, int64_t t, int64_t T)
{
    return first_key ? first_key[b * T + t] : 0;
}

/* The first key that any of `queries` queries from t on sees, down to a block's boundary: what
 * stands before it need not be computed. */
static int64_t first_column(const int32_t *first_key, int64_t b, int64_t t, int64_t queries,
                            int64_t T)
{
    if (!first_key)
        return 0;
    int64_t first = t;
    for (int64_t i = 0; i < queries; i++) {
        const int64_t key = first_key_of(first_key, b, t + i, T);
        first = key < first ? key : first;
    }
    return first / PADDING * PADDING;
}

/* A query's scores, from column `low` to `end` of its block; it sees keys first..t. */
struct score_row {
    int64_t low, first, t, end;
};

static inline void clear_unseen(float *s, const struct score_row *r)
{
    memset(s + r->low, 0, (size_t)(r->first - r->low) * sizeof(float));
    memset(s + r->t + 1, 0, (size_t)(r->end - r->t - 1) * sizeof(float));
}

/* Softmax of scores over the keys that are seen, unnormalised, zeros elsewhere; returns the sum,
 * and the maximum that was subtracted. */
static float softmax_row(float *s, const float *visible, const struct score_row *r, float *max_out)
{
    float max = -INFINITY;
#pragma omp simd reduction(max : max)
    for (int64_t j = r->first; j <= r->t; j++) {
        const float x = visible[j] > 0 ? s[j] : -INFINITY;
        max = x > max ? x : max;
    }
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = r->first; j <= r->t; j++) {
        const float e = exp_fast(s[j] - max) * visible[j];
        s[j] = e;
        sum += e;
    }
    clear_unseen(s, r);
    *max_out = max;
    return sum;
}

static void forward_head(enum dtype act, const struct attention_forward *a, struct head *h,
                         int64_t b, int64_t head)
{
    const int64_t width = (int64_t)a->NH * a->HS, stride = 3 * width;
    const int64_t start = b * a->T * stride + head * a->HS;
    pack(act, h->q, a->qkv, start, stride, h, a->scale);
    pack(act, h->k, a->qkv, start + width, stride, h, 1.0f);
    pack(act, h->v, a->qkv, start + 2 * width, stride, h, 1.0f);
    transpose(h->kt, h->k, h);
    read_mask(h, a->key_mask, b);

    for (int64_t first = 0; first < h->T; first += QUERIES) {
        const int64_t keys = first + QUERIES;    /* <= Tp: a multiple of PADDING */
        const int64_t queries = h->T - first < QUERIES ? h->T - first : QUERIES;
        const int64_t low = first_column(a->first_key, b, first, queries, h->T);
        multiply(h->scores + low, h->Tp, h->q + first * h->HSp, h->HSp, 1, h->kt + low, h->Tp,
                 QUERIES, keys - low, h->HS, false);
        float scale[QUERIES] = {0};
        for (int64_t i = 0; i < queries; i++) {
            const struct score_row row = {low, first_key_of(a->first_key, b, first + i, h->T),
                                          first + i, keys};
            float *s = h->scores + i * h->Tp, max;
            const float sum = softmax_row(s, h->visible, &row, &max);
            if (a->dropout.threshold)
                drop_elements(s + low, s + low, low, row.t + 1 - low, &a->dropout, (uint32_t)row.t,
                              (uint32_t)(a->dropout.first_sample + b), (uint32_t)head);
            const bool any = sum > 0;
            scale[i] = any ? 1.0f / sum : 0.0f;
            /* Of a row that sees nothing, backward makes exp(score - infinity) = 0. */
            if (a->lse)
                a->lse[(b * a->NH + head) * h->T + first + i] = any ? max + logf(sum) : INFINITY;
        }
        multiply(h->rows, h->HSp, h->scores + low, h->Tp, 1, h->v + low * h->HSp, h->HSp, QUERIES,
                 h->HSp, keys - low, false);
        for (int64_t i = 0; i < queries; i++) {
            float *row = h->rows + i * h->HSp;
            for (int64_t c = 0; c < h->HS; c++)
                row[c] *= scale[i];
            store_act(act, a->out, (b * a->T + first + i) * width + head * a->HS, row, h->HS);
        }
    }
}

void simd_attention_forward(struct device *device, enum dtype act,
                            const struct attention_forward *a)
{
    const int64_t heads = (int64_t)a->B * a->NH;
#pragma omp parallel
    {
        float *scratch = cpu_thread_scratch(device, attention_scratch_floats(a->T, a->HS));
        struct head h = lay_out(scratch, a->T, a->HS);
        memset(h.scores, 0, (size_t)(QUERIES * h.Tp) * sizeof(float));
#pragma omp for schedule(static)
        for (int64_t i = 0; i < heads; i++)
            forward_head(act, a, &h, i / a->NH, i % a->NH);
    }
}

/* One query: its probability row from scores, as forward used it, and the scores' gradients from
 * dout . v^T. With dropout's mask m: out = sum (p m) v, so dp = m (dout . v), and ds = p (dp -
 * D). */
static void backward_row(const struct head *h, const struct score_row *r, float *p, float *dp,
                         float lse, float D)
{
    for (int64_t j = r->first; j <= r->t; j++) {
        const float probability = lse < INFINITY ? exp_fast(p[j] - lse) * h->visible[j] : 0.0f;
        p[j] = probability;
        dp[j] = probability * (dp[j] - D);
    }
    clear_unseen(p, r);
    clear_unseen(dp, r);
}

static void backward_rows(const struct attention_backward *a, const struct head *h, int64_t b,
                          int64_t head, const float *D, int64_t first, int64_t low)
{
    const float *lse = a->lse + (b * a->NH + head) * h->T;
    const int64_t end = first + QUERIES;
    for (int64_t i = 0; i < QUERIES; i++) {
        float *p = h->scores + i * h->Tp, *dp = h->dscores + i * h->Tp;
        const int64_t t = first + i;
        if (t >= h->T) {
            memset(p + low, 0, (size_t)(end - low) * sizeof(float));
            memset(dp + low, 0, (size_t)(end - low) * sizeof(float));
            continue;
        }
        const struct score_row row = {low, first_key_of(a->first_key, b, t, h->T), t, end};
        const struct dropout *d = &a->dropout;
        const uint32_t sample = (uint32_t)(d->first_sample + b);
        const int64_t seen = t + 1 - low;
        if (d->threshold)
            drop_elements(dp + low, dp + low, low, seen, d, (uint32_t)t, sample, (uint32_t)head);
        backward_row(h, &row, p, dp, lse[t], D[i]);
        if (d->threshold)
            drop_elements(p + low, p + low, low, seen, d, (uint32_t)t, sample, (uint32_t)head);
    }
}

static void backward_head(enum dtype act, const struct attention_backward *a, struct head *h,
                          int64_t b, int64_t head)
{
    const int64_t width = (int64_t)a->NH * a->HS, stride = 3 * width;
    const int64_t start = b * a->T * stride + head * a->HS;
    const int64_t out_start = b * a->T * width + head * a->HS;
    const float scale = a->scale;
    pack(act, h->q, a->qkv, start, stride, h, scale);
    pack(act, h->k, a->qkv, start + width, stride, h, 1.0f);
    pack(act, h->v, a->qkv, start + 2 * width, stride, h, 1.0f);
    pack(act, h->dout, a->dout, out_start, width, h, 1.0f);
    transpose(h->kt, h->k, h);
    transpose(h->vt, h->v, h);
    read_mask(h, a->key_mask, b);
    memset(h->dk, 0, (size_t)(h->Tp * h->HSp) * sizeof(float));
    memset(h->dv, 0, (size_t)(h->Tp * h->HSp) * sizeof(float));

    for (int64_t first = 0; first < h->T; first += QUERIES) {
        const int64_t queries = h->T - first < QUERIES ? h->T - first : QUERIES;
        const int64_t low = first_column(a->first_key, b, first, queries, h->T);
        const float *q = h->q + first * h->HSp, *dout = h->dout + first * h->HSp;
        const int64_t keys = first + QUERIES - low;
        float *scores = h->scores + low, *dscores = h->dscores + low;

        /* D = sum over channels of dout * out: what softmax's backward subtracts. */
        float D[QUERIES] = {0};
        for (int64_t i = 0; i < queries; i++) {
            load_act(act, h->rows, a->out, out_start + (first + i) * width, h->HS);
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t c = 0; c < h->HS; c++)
                sum += h->rows[c] * dout[i * h->HSp + c];
            D[i] = sum;
        }
        multiply(scores, h->Tp, q, h->HSp, 1, h->kt + low, h->Tp, QUERIES, keys, h->HS, false);
        multiply(dscores, h->Tp, dout, h->HSp, 1, h->vt + low, h->Tp, QUERIES, keys, h->HS, false);
        backward_rows(a, h, b, head, D, first, low);

        const int64_t at = low * h->HSp;
        multiply(h->dv + at, h->HSp, scores, 1, h->Tp, dout, h->HSp, keys, h->HSp, QUERIES, true);
        multiply(h->dk + at, h->HSp, dscores, 1, h->Tp, q, h->HSp, keys, h->HSp, QUERIES, true);
        multiply(h->rows, h->HSp, dscores, h->Tp, 1, h->k + at, h->HSp, QUERIES, h->HSp, keys,
                 false);
        for (int64_t i = 0; i < queries; i++) {
            float *row = h->rows + i * h->HSp;
            for (int64_t c = 0; c < h->HS; c++)
                row[c] *= scale;
            store_act(act, a->dqkv, start + (first + i) * stride, row, h->HS);
        }
    }
    for (int64_t t = 0; t < h->T; t++) {
        store_act(act, a->dqkv, start + width + t * stride, h->dk + t * h->HSp, h->HS);
        store_act(act, a->dqkv, start + 2 * width + t * stride, h->dv + t * h->HSp, h->HS);
    }
}

void simd_attention_backward(struct device *device, enum dtype act,
                             const struct attention_backward *a)
{
    const int64_t heads = (int64_t)a->B * a->NH;
#pragma omp parallel
    {
        float *scratch = cpu_thread_scratch(device, attention_scratch_floats(a->T, a->HS));
        struct head h = lay_out(scratch, a->T, a->HS);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < heads; i++)
            backward_head(act, a, &h, i / a->NH, i % a->NH);
    }
}

/* New position `at` of one head: q against the cached keys 0..at, then their values. */
static void decode_row(enum dtype act, const struct attention_decode *a, int64_t b, int64_t head,
                       int64_t i, float *scratch)
{
    const int64_t HS = a->HS, width = (int64_t)a->NH * HS, row = b * a->n + i;
    const int64_t at = a->position + i;
    const int64_t keys = ((b * 2) * a->NH + head) * a->capacity * HS;
    const int64_t values = ((b * 2 + 1) * a->NH + head) * a->capacity * HS;
    float *q = scratch, *buffer = q + HS, *out = buffer + HS, *scores = out + HS;
    const uint8_t *visible = a->cache_mask + b * a->capacity;
    const int64_t first = a->first_key ? a->first_key[b] : 0;

    load_act(act, q, a->qkv, row * 3 * width + head * HS, HS);
    float max = -INFINITY;
    for (int64_t j = first; j <= at; j++) {
        const float *k = read_row(act, a->cache, keys + j * HS, HS, buffer);
        float dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t c = 0; c < HS; c++)
            dot += q[c] * k[c];
        scores[j] = visible[j] ? dot * a->scale : -INFINITY;
        max = scores[j] > max ? scores[j] : max;
    }
    float sum = 0;
    memset(out, 0, (size_t)HS * sizeof(float));
    for (int64_t j = first; j <= at; j++) {
        if (!visible[j])
            continue;
        const float e = exp_fast(scores[j] - max);
        const float *v = read_row(act, a->cache, values + j * HS, HS, buffer);
        sum += e;
        for (int64_t c = 0; c < HS; c++)
            out[c] += e * v[c];
    }
    const float norm = sum > 0 ? 1.0f / sum : 0.0f;
    for (int64_t c = 0; c < HS; c++)
        out[c] *= norm;
    store_act(act, a->out, row * width + head * HS, out, HS);
}

void simd_attention_decode(struct device *device, enum dtype act, const struct attention_decode *a)
{
    const int64_t heads = (int64_t)a->B * a->NH, HS = a->HS, width = a->NH * HS;
#pragma omp parallel
    {
        float *scratch = cpu_thread_scratch(device, a->capacity + 4 * HS);
#pragma omp for schedule(static)
        for (int64_t bh = 0; bh < heads; bh++) {
            const int64_t b = bh / a->NH, head = bh % a->NH;
            for (int64_t i = 0; i < a->n; i++) {
                const int64_t from = (b * a->n + i) * 3 * width + head * HS;
                const int64_t at = (int64_t)a->position + i;
                for (int kv = 0; kv < 2; kv++) {
                    const int64_t to = (((b * 2 + kv) * a->NH + head) * a->capacity + at) * HS;
                    load_act(act, scratch, a->qkv, from + (kv + 1) * width, HS);
                    store_act(act, a->cache, to, scratch, HS);
                }
                decode_row(act, a, b, head, i, scratch);
            }
        }
    }
}
