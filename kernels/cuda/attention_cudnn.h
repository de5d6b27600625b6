/*
 * attention_cudnn.h - attention by our own kernels or by cuDNN, whichever is faster.
 *
 * With `tune`, a pass (forward, backward) is planned with cuDNN when scratch memory is reserved,
 * for the batch that it is reserved for. The first call of that shape runs and times both, makes
 * sure that they agree, keeps the faster and says so in the log of rank 0. All else goes to our own
 * kernels: without `tune`, where every run must be the same; fp32; masked keys, packed texts and
 * dropout; other shapes; and wherever cuDNN is missing or fails, for which the log gives a reason.
 * But a failure that spoils the graph which is being made is the device's, and ends the run.
 *
 * Each rank chooses for itself. Replicas stay equal all the same: what differs is how a rank's own
 * gradient is rounded, and all update their weights by the same sum of them.
 */
#ifndef GALLEY_KERNELS_CUDA_ATTENTION_CUDNN_H
#define GALLEY_KERNELS_CUDA_ATTENTION_CUDNN_H

#include "kernels/cuda/cuda.h"

/* What is planned, of one device; NULL is none. */
struct attention_plans;
/* Of the device's state, for this family's own functions; defined in table.c. */
struct attention_plans *cuda_attention_plans(struct device *device);

MUST_USE struct error *cuda_attention_open(struct attention_plans **out, struct device *device);
/* Plans both passes of N / T sequences of T, if that is new. Returns the scratch memory that all
 * plans need at most. */
size_t cuda_attention_reserve(struct attention_plans *plans, const struct kernel_limits *limits,
                              enum dtype act);
void cuda_attention_close(struct attention_plans *plans);

/* As cuda_attention_forward and cuda_attention_backward. */
void cuda_fastest_attention_forward(struct device *, enum dtype act,
                                    const struct attention_forward *);
void cuda_fastest_attention_backward(struct device *, enum dtype act,
                                     const struct attention_backward *);

#endif
