/*
 * optimizer.h - Adam and AdamW over a model's flat buffers.
 *
 * Adam is Keras's (epsilon added to the uncorrected root); AdamW multiplies weights by
 * 1 - learning_rate * weight_decay first, on every parameter as Keras does, or on matrices only
 * (kernels and embeddings), as GPT-2's successors do.
 *
 * All of an update is decided on the device, from sums that are there: the host queues it and hears
 * later how it went. A gradient that is not finite changes nothing. In fp16 losses are scaled so
 * that small gradients do not vanish, by a scale that follows what is finite, as Keras's
 * LossScaleOptimizer.
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
    int sample_positions;       /* T: the loss is a mean over all positions of the samples; 0: over those
                                 * that count in it (kernels.h, plan_update) */
    double clip_norm;           /* gradients are scaled so that their norm is at most this; 0: never */
    int64_t scaled_positions;   /* fp16: the loss that is scaled is a mean over so many positions, those
                                 * of a global batch; 0: losses are not scaled */
    double spike_sigma;         /* a step is skipped whose loss or norm is so many standard
                                 * deviations */
    int64_t spike_window;       /* above the mean of so many steps before; 0: spikes are let through */
};

/* The loss scale at first, and how many finite steps double it: Keras's. */
#define OPTIMIZER_LOSS_SCALE 32768.0
enum { OPTIMIZER_GROWTH_STEPS = 2000 };

/* Moments are allocated here, on the model's device, and are zero. The model must outlive it. */
MUST_USE struct error *optimizer_create(struct optimizer **out, struct device *device,
                                        const struct kernels *kernels, struct model *model,
                                        const struct optimizer_options *options);
void optimizer_destroy(struct optimizer *optimizer);

/* The flat moments, device memory with the layout of the model's weights. */
float *optimizer_m(struct optimizer *optimizer);
float *optimizer_v(struct optimizer *optimizer);

/* What model_train multiplies gradients with, device memory; NULL where losses are not scaled. */
const float *optimizer_gradient_scale(const struct optimizer *optimizer);

/* What is remembered beside the moments, device memory. */
const struct update_state *optimizer_state(const struct optimizer *optimizer);
/* Goes on from a stored state. Without loss scaling its scale is ignored; with it, a stored scale
 * of 0 means that there was none, and begins anew. So does a window of spikes of another length. */
MUST_USE struct error *optimizer_restore(struct optimizer *optimizer,
                                         const struct update_state *state);

/* Host arithmetic: the rate of the update that `updates` others come before. */
struct update_rate optimizer_rate(const struct optimizer *optimizer, int64_t updates,
                                  double learning_rate);

/* Queues one update from the model's gradients, which are sums over all ranks, as is `sums`. All
 * arguments are in device memory; `plan` tells how it went. */
void optimizer_update(struct optimizer *optimizer, const struct step_sums *sums,
                      const struct update_rates *rates, struct update_plan *plan);

#endif
