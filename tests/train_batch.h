/* train_batch.h - forward and backward as tests take them: batch and sums in host memory. */
#ifndef GALLEY_TESTS_TRAIN_BATCH_H
#define GALLEY_TESTS_TRAIN_BATCH_H

#include "testing.h"

#include "model/gpt.h"

/* Forward and backward: adds to the model's gradients, and to `sums`; `ready` as in model_train. */
static inline void train_batch_telling(struct device *device, struct model *model,
                                       const struct batch *batch, struct loss_sums *sums,
                                       model_ready *ready, void *self)
{
    void *memory;
    assert_ok(device_allocate(device, &memory, sizeof *sums, "sums"));
    device_copy_in(device, memory, sums, sizeof *sums);
    const struct batch loaded = model_load(model, batch);
    model_train(model, &loaded, memory, NULL, ready, self);
    device_copy_out(device, sums, memory, sizeof *sums);
    assert_ok(device_synchronize(device));
    device_release(device, memory);
}

static inline void train_batch(struct device *device, struct model *model,
                               const struct batch *batch, struct loss_sums *sums)
{
    train_batch_telling(device, model, batch, sums, NULL, NULL);
}

#endif
