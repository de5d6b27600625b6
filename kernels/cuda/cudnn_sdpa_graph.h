/* cudnn_sdpa_graph.h - causal attention as graphs of cuDNN's operations. */
#ifndef GALLEY_KERNELS_CUDA_CUDNN_SDPA_GRAPH_H
#define GALLEY_KERNELS_CUDA_CUDNN_SDPA_GRAPH_H

#include "kernels/cuda/cudnn_graph.h"
#include "kernels/cuda/cudnn_sdpa.h"

/*
 * Tensors by the names of struct attention_forward and attention_backward, of which q, k and v are
 * parts of qkv. LSE is written forward and read backward. D and DQ_SUM are scratch in fp32, of
 * (B, NH, T) and (B, NH, T, HS). SCALE, HIDDEN (-infinity, for keys that are not seen) and ONE are
 * values.
 */
enum sdpa_tensor {
    SDPA_Q = 1, SDPA_K, SDPA_V, SDPA_OUT, SDPA_LSE, SDPA_SCALE, SDPA_HIDDEN,
    SDPA_DQ, SDPA_DK, SDPA_DV, SDPA_DOUT, SDPA_D, SDPA_DQ_SUM, SDPA_ONE,
};

/* Describes a pass of this shape in an empty graph. */
void sdpa_describe(struct cudnn_graph *graph, enum sdpa_pass pass, const struct sdpa_shape *shape);

#endif
