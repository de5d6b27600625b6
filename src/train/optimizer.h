/*
 * optimizer.h - Adam and AdamW over a model's flat buffers.
 *
 * Adam is Keras's (epsilon added to the uncorrected root); AdamW multiplies weights by
 * 1 - learning_rate * weight_decay first, on every parameter as Keras does, or on matrices only
 * (kernels and embeddings), as GPT-2's successors do.
 */
#ifndef GALLEY_TRAIN_OPTIMIZER_H
#define GALLEY_TRAIN_OPTIMIZER_H

#include "kernels/kernels.h"
#include "model/gpt.h"

struct optimizer;

struct optimizer_options {
    double beta1, beta2, epsilon;
    double weight_decay;        /* 0: plain Adam */
    bool decay_matrices_only;
    double clip_norm;           /* gradients are scaled so that their norm is at most this; 0: never */
};

/* Moments are allocated here, on the model's device, and are zero. The model must outlive it. */
MUST_USE struct error *optimizer_create(struct optimizer **out, struct device *device,
                                        const struct kernels *kernels, struct model *model,
                                        const struct optimizer_options *options);
void optimizer_destroy(struct optimizer *optimizer);

/* The flat moments, device memory of flat_count elements. */
float *optimizer_m(struct optimizer *optimizer);
float *optimizer_v(struct optimizer *optimizer);

/*
 * One update from the model's gradients, which are sums; `mean` (1 / tokens) makes them means. `step`
 * is how many updates there were before. `*norm` gets the mean gradient's L2 norm before clipping.
 * A gradient that is not finite is an error, and nothing was changed.
 */
MUST_USE struct error *optimizer_step(struct optimizer *optimizer, int64_t step,
                                      double learning_rate, double mean, double *norm);

#endif
