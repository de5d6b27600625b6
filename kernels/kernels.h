/*
 * kernels.h - the contract of the compute kernels: one table of functions per (back-end,
 * precision).
 *
 * The model is written once against this table. `cpu` and `cuda` each fill it; the CPU's is the
 * reference a CUDA kernel is tested against. Slots are at the grain at which fusion pays.
 *
 * Types. "act" is the table's activation type (kernels.activation: fp32, bf16 or fp16);
 * activations, their gradients and the weight operands of matrix products are stored in it.
 * Everything a sum depends on is fp32: accumulation, norm statistics, losses, gradients of
 * parameters, master weights, moments. In a bf16 or fp16 table the `weight` operands are copies in
 * it that `adam` and `convert` write; biases, norm weights and embeddings are read in fp32 from the
 * master copy, as their bytes do not matter.
 *
 * Gradients of parameters are *added* to what is there (micro-batches accumulate); gradients of
 * activations are written, unless the slot says otherwise. No division by the number of tokens
 * anywhere: gradients are of the *summed* loss, and `adam` scales them once.
 *
 * Arguments go by name: a struct literal; an omitted pointer is NULL and means absent. All pointers
 * are to device memory. Kernels queue their work and return; a failure is latched in the device.
 *
 * Shapes: B micro-batch, T sequence length, N = B * T rows, C channels, NH heads, HS head size,
 * V vocabulary. Everything is row-major and dense.
 */
#ifndef GALLEY_KERNELS_KERNELS_H
#define GALLEY_KERNELS_KERNELS_H

#include "base/error.h"
#include "base/inline.h"
#include "device/device.h"
#include "device/dtype.h"
#include "kernels/choose.h"
#include "kernels/dropout.h"

#include <stdbool.h>
#include <stdint.h>

/* Applied to the result of a linear layer. GELU is the tanh form, as in GPT-2. */
enum activation { ACTIVATION_NONE, ACTIVATION_RELU, ACTIVATION_GELU };

/* x[n] = token_table[tokens[n]] + position_table[positions[n]], and dropout of the sum. */
struct embed_forward {
    void *x;                   /* (N, C) act  out */
    const int32_t *tokens;     /* (N)  in, each in [0, V) */
    const float *token_table;  /* (V, C)  in */
    const float *position_table;    /* (positions, C)  in */
    const int32_t *positions;  /* (N)  in; NULL: n % T + first_position */
    int B, T, C;
    int first_position;        /* 0 in training; the cache's length when decoding */
    struct dropout dropout;
};

struct embed_backward {
    float *dtoken_table;       /* (V, C)  added to, in a fixed order: deterministic */
    float *dposition_table;    /* (positions, C)  added to */
    float *dtoken_squares;     /* (V, C)  added to: the squares of what each occurrence of a token
                                * adds to dtoken_table; NULL: not wanted */
    const void *dx, *dx_more;  /* (N, C) act  in: their sum is the gradient; dx_more may be NULL */
    const int32_t *tokens;     /* (N)  in */
    const int32_t *positions;  /* (N)  in; NULL: n % T */
    int B, T, C;
    struct dropout dropout;    /* that of the forward pass */
};

/*
 * sum = x + dropout(delta); y = (sum - mean) * rstd * weight + bias, for each of N rows.
 * Source: Ba, Kiros & Hinton 2016, section 3; epsilon inside the root and the biased variance, as
 * in Keras. sum, mean and rstd are kept for the backward pass.
 */
struct layernorm_forward {
    void *y;                   /* (N, C) act  out */
    void *sum;                 /* (N, C) act  out; may be x itself; may be NULL if delta is */
    float *mean, *rstd;        /* (N)  out */
    const void *x, *delta;     /* (N, C) act  in; delta may be NULL: no residual */
    const float *weight, *bias;    /* (C)  in */
    int64_t N;
    int C;
    float epsilon;
    struct dropout dropout;    /* of delta */
};

/* dsum = d(loss)/d(sum): through the norm, plus `dresidual` where the sum is also used beside it.
 * It is the gradient of x, and of delta too where nothing was dropped; else `ddelta` is. */
struct layernorm_backward {
    void *dsum;                /* (N, C) act  out; may be one of its inputs */
    void *ddelta;              /* (N, C) act  out: dropout of dsum; NULL: not wanted; may be an
                                * input */
    float *dweight, *dbias;    /* (C)  added to */
    const void *dy, *dy_more;  /* (N, C) act  in: their sum is the gradient; dy_more may be NULL */
    const void *dresidual;     /* (N, C) act  in, may be NULL */
    const void *sum;           /* (N, C) act  in */
    const float *mean, *rstd;  /* (N)  in */
    const float *weight;       /* (C)  in */
    int64_t N;
    int C;
    struct dropout dropout;    /* that of the forward pass */
};

/* y = activation(x . weight + bias). */
struct linear_forward {
    void *y;                   /* (N, M) act  out */
    void *pre;                 /* (N, M) act  out, only for GELU in training: x . weight + bias */
    const void *x;             /* (N, K) act  in */
    const void *weight;        /* (K, M) act  in */
    const float *bias;         /* (M)  in, may be NULL */
    enum activation activation;
    int64_t N;
    int K, M;
};

/*
 * dx = dy . weight^T, times the derivative of the activation that made x (so the caller never runs
 * it apart); dweight += x^T . dy; dbias += sum over rows of dy.
 */
struct linear_backward {
    void *dx;                  /* (N, K) act  out; NULL: not wanted */
    float *dweight;            /* (K, M)  added to */
    float *dbias;              /* (M)  added to, may be NULL */
    const void *dy;            /* (N, M) act  in */
    const void *x;             /* (N, K) act  in */
    const void *weight;        /* (K, M) act  in */
    enum activation x_activation;    /* what x went through; RELU reads x, GELU reads x_pre */
    const void *x_pre;         /* (N, K) act  in: x before its GELU */
    int64_t N;
    int K, M;
};

/*
 * Causal attention of each head over its own sequence, scores times `scale`: 1/sqrt(HS), where
 * heads are padded with zeros that of their size without; so it is given. A key is seen by the
 * queries at and after it, unless key_mask says it is padding or the query's first_key is behind it
 * (texts packed into one row); a query row at padding is computed like any other; a row with no
 * visible key gives zeros. Dropout is of the probabilities, after the softmax. Source: Vaswani et
 * al. 2017, section 3.2.1; masking as in Keras's MultiHeadAttention.
 */
struct attention_forward {
    void *out;                 /* (B, T, NH, HS) act  out */
    float *lse;                /* (B, NH, T)  out: log of the sum of exp of scores */
    const void *qkv;           /* (B, T, 3, NH, HS) act  in */
    const uint8_t *key_mask;   /* (B, T)  in: 1 may be seen; NULL: all */
    const int32_t *first_key;  /* (B, T)  in: query t sees keys first_key[t] to t; NULL: from 0 */
    int B, T, NH, HS;
    float scale;
    struct dropout dropout;
};

struct attention_backward {
    void *dqkv;                /* (B, T, 3, NH, HS) act  out */
    const void *dout, *out;    /* (B, T, NH, HS) act  in */
    const float *lse;          /* (B, NH, T)  in */
    const void *qkv;           /* (B, T, 3, NH, HS) act  in */
    const uint8_t *key_mask;   /* (B, T)  in, may be NULL */
    const int32_t *first_key;  /* (B, T)  in, may be NULL */
    int B, T, NH, HS;
    float scale;
    struct dropout dropout;    /* that of the forward pass */
};

/*
 * Attention of n new positions of each of B sequences against a cache that holds the earlier ones.
 * The new keys and values are written to the cache first; position p sees keys first_key..p.
 */
struct attention_decode {
    void *out;                 /* (B, n, NH, HS) act  out */
    void *cache;               /* (B, 2, NH, capacity, HS) act  in and out: keys, values */
    const uint8_t *cache_mask; /* (B, capacity)  in: 1 may be seen; the new positions' are set */
    const int32_t *first_key;  /* (B)  in: the first key a row sees; NULL: 0 */
    const void *qkv;           /* (B, n, 3, NH, HS) act  in */
    int B, n, NH, HS;
    float scale;
    int capacity;              /* positions the cache has room for */
    int position;              /* how many it holds already */
};

/*
 * The head fused with softmax and cross entropy, so that logits never reach memory as a whole:
 * z = x . weight + bias; losses = logsumexp(z) - z[target], where mask is 1, else 0.
 * correct = 1 where the largest z (the first of equals) is the target's, for every row.
 * With dx given also backward of the summed loss: dz = (softmax(z) - onehot(target)) *
 * gradient_scale on masked-in rows, dx = dz . weight^T, dweight += x^T . dz, dbias += sum dz.
 */
struct classifier {
    float *losses;             /* (N)  out: cross entropy of every row, masked in or not */
    uint8_t *correct;          /* (N)  out */
    void *dx;                  /* (N, C) act  out; NULL: forward only */
    float *dweight, *dbias;    /* as weight, (V); added to; dbias may be NULL */
    const void *x;             /* (N, C) act  in */
    const void *weight;        /* (C, V) act  in, or (V, C) when transposed */
    const float *bias;         /* (V)  in, may be NULL */
    const int32_t *targets;    /* (N)  in */
    const uint8_t *mask;       /* (N)  in: 1 where the row counts in the loss */
    const float *gradient_scale;    /* (1)  in: the loss scale of fp16; NULL: 1 */
    bool transposed;           /* weight is (V, C): a head tied to the token embedding */
    int64_t N;
    int C, V;
};

/* Exact sums over the positions of one or more batches; add them, divide at the end. All doubles:
 * counts are exact up to 2^53. */
struct loss_sums {
    double loss;               /* cross entropy where loss_mask is 1 */
    double loss_tokens;        /* how many those are */
    double metric_loss;        /* cross entropy where metric_mask is 1 */
    double metric_tokens;
    double correct;            /* right predictions where loss_mask is 1 (Keras's masked accuracy) */
};

/*
 * Adds a batch to the sums. Every loss is first rounded to a multiple of 2^-24, which is finer than
 * fp32 has it above 1: so the sums are exact up to 2^29, and no order of rows, batches or ranks
 * changes them.
 */
#define LOSS_UNIT 0x1p-24
struct sum_losses {
    struct loss_sums *sums;    /* (1)  added to */
    const float *losses;       /* (N)  in: of `classifier`, as is correct */
    const uint8_t *correct;    /* (N)  in */
    const uint8_t *loss_mask, *metric_mask;    /* (N)  in */
    int64_t N;
};

/* logits = x . weight + bias, in fp32, for the kernels of choose.h. */
struct logits_forward {
    float *logits;             /* (N, V)  out */
    const void *x;             /* (N, C) act  in */
    const void *weight;        /* (C, V) act, or (V, C) when transposed  in */
    const float *bias;         /* (V)  in, may be NULL */
    bool transposed;
    int64_t N;
    int C, V;
};

/*
 * What ranks add up in a step beside the gradients, in device memory: nothing but doubles, so that
 * one sum over ranks takes them all.
 */
struct step_sums {
    struct loss_sums losses;
    double samples;
    double stop_votes;         /* ranks that were asked to stop */
};

/* 1 / what the loss of these samples is a mean over, as `plan_update` says. */
INLINE_EVERYWHERE double loss_mean_factor(const struct loss_sums *losses, double samples,
                                          int sample_positions)
{
    const double count =
        sample_positions > 0 ? samples * sample_positions : losses->loss_tokens;
    return count > 0 ? 1.0 / count : 0;
}

/*
 * Learning rates of the updates a step may turn out to be, for the host does not know yet whether
 * the steps before it were skipped: `of[k]` is the one that first + k others come before.
 * alpha = learning_rate * sqrt(1 - beta2^t) / (1 - beta1^t), t = first + k + 1;
 * decay = learning_rate * weight_decay.
 */
enum { UPDATE_RATES = 4 };
struct update_rates {
    int64_t first;
    struct update_rate {
        float alpha, decay;
    } of[UPDATE_RATES];
};

/* The last finite steps' loss and gradient norm, step i at i % length, to tell a spike by. */
enum { SPIKE_WINDOW_MOST = 1024 };
struct spike_window {
    int64_t steps;             /* taken in so far; a window that is not full judges nothing */
    int64_t length;            /* at most SPIKE_WINDOW_MOST; 0: spikes are not looked for */
    double loss[SPIKE_WINDOW_MOST], norm[SPIKE_WINDOW_MOST];
};

/* What the optimizer remembers beside the moments, in device memory. */
struct update_state {
    int64_t updates;           /* done; a skipped one is none */
    double loss_scale;         /* of fp16; 1 where losses are not scaled */
    int64_t finite_steps;      /* since the scale last changed */
    float gradient_scale;      /* what `classifier` multiplies with: loss_scale / scale_divisor */
    struct spike_window spikes;
};

/* Why a step changed nothing. */
enum update_skip {
    SKIP_NONE,                 /* it did */
    SKIP_OVERFLOW,             /* fp16: the loss scale was too large for the gradient */
    SKIP_NOT_FINITE,           /* loss or gradient is not finite */
    SKIP_SPIKE,                /* loss or gradient norm is far above what they were */
};
/* No gradient needs a loss scale below this: then it is not the scale's fault. */
#define LOSS_SCALE_LEAST 1e-4

/* How this step's update goes, in device memory: written by plan_update, read by adam. */
struct update_plan {
    double norm;               /* L2 norm of the mean gradient, before clipping */
    double loss_scale;         /* that this step was computed with */
    float gradient_scale;      /* what makes a summed gradient the mean, unscaled, clipped one */
    float alpha, decay;
    int32_t skip;              /* enum update_skip; but for SKIP_NONE nothing may change */
    double loss_sigmas, norm_sigmas;    /* standard deviations above the window's means; 0 without */
};

/*
 * With mean = 1 / (what the loss is a mean over: loss_tokens, or samples * sample_positions; 0
 * where that is 0) and s = state->gradient_scale:
 *   norm = sqrt(squares) * mean / s; gradient_scale = mean / s * min(1, clip_norm / norm).
 * An update is skipped where loss or norm is not finite, or the norm so large that its square,
 * which adam puts into v, is not in fp32. With growth_steps > 0 the loss scale is dynamic: halved
 * by a step whose gradient overflowed while its loss is finite, doubled by the growth_steps-th
 * finite one in a row. Source: Keras's LossScaleOptimizer. With spike_sigma > 0 a step is skipped
 * too whose mean loss or norm is more than so many standard deviations above the mean of the
 * window; every finite step enters the window, skipped or not, so that a lasting change is soon
 * none.
 */
struct plan_update {
    struct update_plan *plan;        /* (1)  out */
    struct update_state *state;      /* (1)  in and out */
    const double *squares;           /* (1)  in: of the summed gradients, by sum_of_squares */
    const struct step_sums *sums;    /* (1)  in: over all ranks */
    const struct update_rates *rates;    /* (1)  in */
    int sample_positions;            /* T: the mean is over all positions of the samples, padding too;
                                      * 0: over those whose loss_mask is 1 */
    double clip_norm;                /* 0: never clips */
    int64_t growth_steps;            /* 0: losses are not scaled */
    double scale_divisor;            /* loss_scale is of the mean over so many positions */
    double spike_sigma;              /* 0: spikes are not looked for */
    bool sums_squares;               /* adam gets `squares` summed in fp32: theirs must be finite
                                      * too */
};

/*
 * Adam as Keras computes it, on `count` elements of the flat buffers:
 *   g = gradient * gradient_scale;  p -= p * decay;
 *   m += (g - m) * (1 - beta1);  v += (g * g - v) * (1 - beta2);  p -= alpha * m / (sqrt(v) + epsilon)
 * with gradient_scale, alpha and decay from `plan`; where `squares` is given, squares *
 * gradient_scale^2 takes the place of g * g. Does nothing where the plan says skip. Source: Kingma
 * & Ba 2015, the "epsilon hat" form before section 2.1; Loshchilov & Hutter 2019 for the decay.
 */
struct adam {
    float *weights, *m, *v;    /* (count)  in and out */
    void *copy;                /* (count) act  out: the copy of the weights; NULL in fp32 */
    const float *gradient;     /* (count)  in */
    const float *squares;      /* (count)  in, may be NULL */
    const struct update_plan *plan;    /* (1)  in */
    int64_t count;
    bool decayed;              /* false: decay counts as 0 */
    float epsilon;
    double beta1, beta2;       /* double: 1 - 0.999f is off by 1e-5 */
};

/* y += x. */
struct add {
    float *y;                  /* (count)  in and out */
    const float *x;            /* (count)  in */
    int64_t count;
};

/* to = from, rounded to the activation type. */
struct convert {
    void *to;                  /* (count) act  out */
    const float *from;         /* (count)  in */
    int64_t count;
};

/* result = sum of squares, in double, in an order that depends on count and threads only. A NaN or
 * infinity in x makes it one. */
struct sum_of_squares {
    double *result;            /* (1)  out */
    const float *x;            /* (count)  in */
    int64_t count;
};

/*
 * A hash of `count` floats, by their bits, to compare replicas: the sum modulo 2^64 of
 * mix(i * 0x9E3779B97F4A7C15 + bits of x[i]), mix the finisher of splitmix64 (Steele, Lea & Flood
 * 2014). A sum, so that every order and every number of threads gives the same.
 */
struct checksum {
    uint64_t *result;          /* (1)  out */
    const float *x;            /* (count)  in */
    int64_t count;
};

/* The largest sizes that will be asked for, so that scratch memory is there before the first
 * step. */
struct kernel_limits {
    int64_t N;                 /* rows of a batch */
    int T, C, F, NH, HS, V;
    bool attends;              /* to N / T whole sequences, without dropout: not so in a decoder */
    bool tied;                 /* the classifier's weight is (V, C): a head tied to the embedding */
};

struct kernels {
    const char *name;          /* "cpu fp32 avx512", as the log prints it */
    enum dtype activation;
    int head_alignment;        /* elements: heads of a multiple of it are fast, as their rows are
                                * aligned; any size is right */

    /* Makes sure the scratch memory suffices; every user of the table calls it before the first
     * kernel. Scratch grows to the largest of all calls and is shared: kernels of a device run one
     * after the other. A graph may still be launched that was made before scratch grew. */
    MUST_USE struct error *(*reserve)(struct device *, const struct kernel_limits *);

    void (*embed_forward)(struct device *, const struct embed_forward *);
    void (*embed_backward)(struct device *, const struct embed_backward *);
    void (*layernorm_forward)(struct device *, const struct layernorm_forward *);
    void (*layernorm_backward)(struct device *, const struct layernorm_backward *);
    void (*linear_forward)(struct device *, const struct linear_forward *);
    void (*linear_backward)(struct device *, const struct linear_backward *);
    void (*attention_forward)(struct device *, const struct attention_forward *);
    void (*attention_backward)(struct device *, const struct attention_backward *);
    void (*attention_decode)(struct device *, const struct attention_decode *);
    void (*classifier)(struct device *, const struct classifier *);
    void (*sum_losses)(struct device *, const struct sum_losses *);
    void (*logits_forward)(struct device *, const struct logits_forward *);
    void (*draw)(struct device *, const struct draw *);
    void (*largest)(struct device *, const struct largest *);
    void (*plan_update)(struct device *, const struct plan_update *);
    void (*adam)(struct device *, const struct adam *);
    void (*add)(struct device *, const struct add *);
    void (*convert)(struct device *, const struct convert *);
    void (*sum_of_squares)(struct device *, const struct sum_of_squares *);
    void (*checksum)(struct device *, const struct checksum *);
};

/* The table for a device and precision. One clear error where the processor cannot compute in that
 * precision. The table lives as long as the device. */
MUST_USE struct error *kernels_for(const struct kernels **out, struct device *device,
                                   enum dtype activation);

#endif
