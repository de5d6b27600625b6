/*
 * cudnn_sdpa.h - causal attention by cuDNN, of whole sequences without masks and dropout.
 *
 * What comes out has the meaning that kernels.h gives it, but for rounding; so forward by cuDNN and
 * backward by our own kernels go together, and the other way round. Backward sums dq in whatever
 * order its blocks end: two runs may round differently.
 */
#ifndef GALLEY_KERNELS_CUDA_CUDNN_SDPA_H
#define GALLEY_KERNELS_CUDA_CUDNN_SDPA_H

#include "kernels/cuda/cuda.h"

enum sdpa_pass { SDPA_FORWARD, SDPA_BACKWARD, SDPA_PASSES };

struct sdpa_shape {
    int B, T, NH, HS;
    enum dtype act;
};

/* Whether cuDNN has fused kernels for heads of this size and type. */
bool cudnn_sdpa_takes(const struct sdpa_shape *shape);

struct cudnn_sdpa;
/* Loads the library and opens it for the current GPU; what it runs is queued on the stream. */
MUST_USE struct error *cudnn_sdpa_open(struct cudnn_sdpa **out, cudaStream_t stream);
/* After its plans are destroyed. NULL is fine. */
void cudnn_sdpa_close(struct cudnn_sdpa *sdpa);
/* "cuDNN 9.19.0". */
const char *cudnn_sdpa_name(const struct cudnn_sdpa *sdpa);

struct sdpa_plan;
/* A plan of one pass of one shape: by each of a few engines, the first of which cuDNN takes for the
 * fastest. Some of it is compiled, which takes about a second an engine. */
MUST_USE struct error *cudnn_sdpa_plan(struct sdpa_plan **out, const struct cudnn_sdpa *sdpa,
                                       enum sdpa_pass pass, const struct sdpa_shape *shape);
void cudnn_sdpa_destroy(struct sdpa_plan *plan);    /* NULL is fine */
int cudnn_sdpa_engines(const struct sdpa_plan *plan);
/* Runs are by this engine from now on, of 0 (the first) to engines - 1. */
void cudnn_sdpa_take_engine(struct sdpa_plan *plan, int engine);
/* Device memory that it needs while it runs, by any engine, aligned to 256 bytes. */
size_t cudnn_sdpa_scratch_bytes(const struct sdpa_plan *plan);

/* Queue the pass; arguments of another shape than the plan's are a bug. After an error nothing of
 * use was queued. */
MUST_USE struct error *cudnn_sdpa_forward(const struct cudnn_sdpa *sdpa,
                                          const struct sdpa_plan *plan,
                                          const struct attention_forward *a, void *scratch);
MUST_USE struct error *cudnn_sdpa_backward(const struct cudnn_sdpa *sdpa,
                                           const struct sdpa_plan *plan,
                                           const struct attention_backward *a, void *scratch);

#endif
