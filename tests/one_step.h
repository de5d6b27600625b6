/* one_step.h - an update as tests take it: rates and result in host memory. */
#ifndef GALLEY_TESTS_ONE_STEP_H
#define GALLEY_TESTS_ONE_STEP_H

#include "train_batch.h"

#include "train/optimizer.h"
#include "train/step_slot.h"

/* The update that `updates` others come before; the gradients are sums over `tokens`. */
static inline struct update_plan update_once(struct device *device, struct optimizer *optimizer,
                                             int64_t updates, double learning_rate, double tokens)
{
    void *memory;
    struct step_block block = {
        .sums = {.losses = {.loss_tokens = tokens}},
        .rates = {.first = updates, .of = {optimizer_rate(optimizer, updates, learning_rate)}},
    };
    assert_ok(device_allocate(device, &memory, sizeof block, "a step's scalars"));
    struct step_block *there = memory;
    device_copy_in(device, there, &block, sizeof block);
    optimizer_update(optimizer, &there->sums, &there->rates, &there->plan);
    device_copy_out(device, &block, there, sizeof block);
    assert_ok(device_synchronize(device));
    device_release(device, memory);
    return block.plan;
}

#endif
