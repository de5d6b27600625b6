/*
 * cudnn_sdpa_graph.c - causal attention as graphs of cuDNN's operations.
 *
 * cuDNN recognises the pattern and runs one fused kernel for it, as long as operations, types and
 * the order of operands are those of NVIDIA's cudnn-frontend (CompositeSDPANode and
 * CompositeSDPABackwardNode), which are therefore kept here. There is one node for the whole of
 * attention as well, but it has no causal mask before cuDNN 9.21.
 *
 * Scores and probabilities are virtual: they never reach memory. A transposed view is the same
 * memory with two strides swapped, so q, k and v are read where they are, in (B, T, 3, NH, HS).
 */
#include "kernels/cuda/cudnn_sdpa_graph.h"

/* A pass that is being described, and the layouts in it. */
struct description {
    struct cudnn_graph *graph;
    cudnnDataType_t act;
    struct cudnn_layout head, head_transposed;    /* of q, k, v and their gradients */
    struct cudnn_layout out;                      /* of out and its gradient */
    struct cudnn_layout scores, scores_transposed, row;
};

static struct description describe(struct cudnn_graph *graph, const struct sdpa_shape *s)
{
    const int64_t B = s->B, T = s->T, NH = s->NH, HS = s->HS, W = NH * HS;
    return (struct description){
        .graph = graph,
        .act = s->act == DTYPE_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF,
        .head = {{B, NH, T, HS}, {T * 3 * W, HS, 3 * W, 1}},
        .head_transposed = {{B, NH, HS, T}, {T * 3 * W, HS, 1, 3 * W}},
        .out = {{B, NH, T, HS}, {T * W, HS, W, 1}},
        .scores = cudnn_dense(B, NH, T, T),
        .scores_transposed = {{B, NH, T, T}, {NH * T * T, T * T, 1, T}},
        .row = cudnn_dense(B, NH, T, 1),
    };
}

static cudnnBackendDescriptor_t in_memory(const struct description *d, enum sdpa_tensor id,
                                          cudnnDataType_t type, struct cudnn_layout layout)
{
    return cudnn_tensor(d->graph, id, type, layout, CUDNN_IN_MEMORY);
}

static cudnnBackendDescriptor_t value(const struct description *d, enum sdpa_tensor id)
{
    return cudnn_tensor(d->graph, id, CUDNN_DATA_FLOAT, cudnn_dense(1, 1, 1, 1), CUDNN_BY_VALUE);
}

static cudnnBackendDescriptor_t passing(const struct description *d, cudnnDataType_t type,
                                        struct cudnn_layout layout)
{
    return cudnn_tensor(d->graph, 0, type, layout, CUDNN_VIRTUAL);
}

/* mode(x, b), in fp32. */
static cudnnBackendDescriptor_t apply(const struct description *d, cudnnPointwiseMode_t mode,
                                      cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                                      struct cudnn_layout layout)
{
    cudnnBackendDescriptor_t y = passing(d, CUDNN_DATA_FLOAT, layout);
    cudnn_pointwise(d->graph, mode, x, b, NULL, y);
    return y;
}

static cudnnBackendDescriptor_t multiply(const struct description *d, cudnnBackendDescriptor_t a,
                                         cudnnBackendDescriptor_t b)
{
    cudnnBackendDescriptor_t c = passing(d, CUDNN_DATA_FLOAT, d->scores);
    cudnn_matmul(d->graph, a, b, c);
    return c;
}

static cudnnBackendDescriptor_t reduce(const struct description *d, cudnnReduceTensorOp_t operation,
                                       cudnnBackendDescriptor_t x)
{
    cudnnBackendDescriptor_t y = passing(d, CUDNN_DATA_FLOAT, d->row);
    cudnn_reduction(d->graph, operation, x, y);
    return y;
}

/* -infinity in place of the scores of keys behind their query. */
static cudnnBackendDescriptor_t hide(const struct description *d, cudnnBackendDescriptor_t scores)
{
    cudnnBackendDescriptor_t query = passing(d, CUDNN_DATA_INT32, d->scores);
    cudnnBackendDescriptor_t key = passing(d, CUDNN_DATA_INT32, d->scores);
    cudnnBackendDescriptor_t seen = passing(d, CUDNN_DATA_BOOLEAN, d->scores);
    cudnnBackendDescriptor_t y = passing(d, CUDNN_DATA_FLOAT, d->scores);
    cudnn_index(d->graph, 2, scores, query);
    cudnn_index(d->graph, 3, scores, key);
    cudnn_pointwise(d->graph, CUDNN_POINTWISE_CMP_GE, query, key, NULL, seen);
    cudnn_pointwise(d->graph, CUDNN_POINTWISE_BINARY_SELECT, scores, value(d, SDPA_HIDDEN), seen,
                    y);
    return y;
}

/* out = softmax(scale q . k^T, hidden) . v; lse = max + log(sum of exp(score - max)). */
static void describe_forward(const struct description *d)
{
    struct cudnn_graph *g = d->graph;
    cudnnBackendDescriptor_t q = in_memory(d, SDPA_Q, d->act, d->head);
    cudnnBackendDescriptor_t k_transposed = in_memory(d, SDPA_K, d->act, d->head_transposed);
    cudnnBackendDescriptor_t v = in_memory(d, SDPA_V, d->act, d->head);
    cudnnBackendDescriptor_t out = in_memory(d, SDPA_OUT, d->act, d->out);
    cudnnBackendDescriptor_t lse = in_memory(d, SDPA_LSE, CUDNN_DATA_FLOAT, d->row);

    cudnnBackendDescriptor_t s = multiply(d, q, k_transposed);
    s = apply(d, CUDNN_POINTWISE_MUL, s, value(d, SDPA_SCALE), d->scores);
    s = hide(d, s);
    cudnnBackendDescriptor_t max = reduce(d, CUDNN_REDUCE_TENSOR_MAX, s);
    s = apply(d, CUDNN_POINTWISE_SUB, s, max, d->scores);
    s = apply(d, CUDNN_POINTWISE_EXP, s, NULL, d->scores);
    cudnnBackendDescriptor_t sum = reduce(d, CUDNN_REDUCE_TENSOR_ADD, s);
    cudnnBackendDescriptor_t log_sum = apply(d, CUDNN_POINTWISE_LOG, sum, NULL, d->row);
    cudnn_pointwise(g, CUDNN_POINTWISE_ADD, max, log_sum, NULL, lse);
    cudnnBackendDescriptor_t p = passing(d, d->act, d->scores);
    cudnn_pointwise(g, CUDNN_POINTWISE_DIV, s, sum, NULL, p);
    cudnn_matmul(g, p, v, out);
}

/* D = sum over channels of dout * out. */
static cudnnBackendDescriptor_t describe_dot(const struct description *d,
                                             cudnnBackendDescriptor_t dout,
                                             cudnnBackendDescriptor_t out)
{
    const int64_t *n = d->out.dimensions;
    cudnnBackendDescriptor_t D = in_memory(d, SDPA_D, CUDNN_DATA_FLOAT, d->row);
    cudnnBackendDescriptor_t products =
        apply(d, CUDNN_POINTWISE_MUL, dout, out, cudnn_dense(n[0], n[1], n[2], n[3]));
    cudnn_pointwise(d->graph, CUDNN_POINTWISE_MUL, reduce(d, CUDNN_REDUCE_TENSOR_ADD, products),
                    value(d, SDPA_ONE), NULL, D);
    return D;
}

/* c = x^T . b, x rounded to activations. */
static void multiply_transposed(const struct description *d, cudnnBackendDescriptor_t x,
                                cudnnBackendDescriptor_t b, cudnnBackendDescriptor_t c)
{
    cudnnBackendDescriptor_t transposed = passing(d, d->act, d->scores_transposed);
    cudnn_reshape(d->graph, x, transposed);
    cudnn_matmul(d->graph, transposed, b, c);
}

/*
 * With P = exp(scale q . k^T - lse), hidden, and dS = P * (dout . v^T - D) * scale:
 *   dv = P^T . dout,  dk = dS^T . q,  dq = dS . k, summed in fp32 by whoever comes first.
 */
static void describe_backward(const struct description *d)
{
    struct cudnn_graph *g = d->graph;
    cudnnBackendDescriptor_t q = in_memory(d, SDPA_Q, d->act, d->head);
    cudnnBackendDescriptor_t k_transposed = in_memory(d, SDPA_K, d->act, d->head_transposed);
    cudnnBackendDescriptor_t v_transposed = in_memory(d, SDPA_V, d->act, d->head_transposed);
    cudnnBackendDescriptor_t out = in_memory(d, SDPA_OUT, d->act, d->out);
    cudnnBackendDescriptor_t dout = in_memory(d, SDPA_DOUT, d->act, d->out);
    cudnnBackendDescriptor_t lse = in_memory(d, SDPA_LSE, CUDNN_DATA_FLOAT, d->row);
    cudnnBackendDescriptor_t scale = value(d, SDPA_SCALE);
    cudnnBackendDescriptor_t D = describe_dot(d, dout, out);

    cudnnBackendDescriptor_t p = multiply(d, q, k_transposed);
    p = apply(d, CUDNN_POINTWISE_MUL, p, scale, d->scores);
    p = apply(d, CUDNN_POINTWISE_SUB, p, lse, d->scores);
    p = hide(d, p);
    p = apply(d, CUDNN_POINTWISE_EXP, p, NULL, d->scores);
    multiply_transposed(d, p, dout, in_memory(d, SDPA_DV, d->act, d->head));

    cudnnBackendDescriptor_t ds = multiply(d, dout, v_transposed);
    ds = apply(d, CUDNN_POINTWISE_SUB, ds, D, d->scores);
    ds = apply(d, CUDNN_POINTWISE_MUL, ds, p, d->scores);
    ds = apply(d, CUDNN_POINTWISE_MUL, ds, scale, d->scores);
    multiply_transposed(d, ds, q, in_memory(d, SDPA_DK, d->act, d->head));

    const int64_t *n = d->head.dimensions;
    cudnnBackendDescriptor_t k = passing(d, d->act, d->head);
    cudnnBackendDescriptor_t dq_sum =
        in_memory(d, SDPA_DQ_SUM, CUDNN_DATA_FLOAT, cudnn_dense(n[0], n[1], n[2], n[3]));
    cudnn_reshape(g, k_transposed, k);
    cudnn_matmul(g, ds, k, dq_sum);
    cudnn_pointwise(g, CUDNN_POINTWISE_IDENTITY, dq_sum, NULL, NULL,
                    in_memory(d, SDPA_DQ, d->act, d->head));
}

void sdpa_describe(struct cudnn_graph *graph, enum sdpa_pass pass, const struct sdpa_shape *shape)
{
    const struct description d = describe(graph, shape);
    if (pass == SDPA_FORWARD)
        describe_forward(&d);
    else
        describe_backward(&d);
}
