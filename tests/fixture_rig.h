/*
 * fixture_rig.h - a model with the weights of a KerasHub fixture, on any device, and the comparison
 * of what is in device memory with the fixture's tensors.
 */
#ifndef GALLEY_TESTS_FIXTURE_RIG_H
#define GALLEY_TESTS_FIXTURE_RIG_H

#include "keras_fixture.h"
#include "one_step.h"
#include "train/schedule.h"

struct fixture_rig {
    struct keras_fixture fixture;
    struct device *device;
    const struct kernels *kernels;
    struct model *model;
    const struct parameters *parameters;
    float *expected, *got;    /* flat host memory */
};

/* False, with the reason printed, where the device has no such arithmetic. */
bool fixture_rig_open(struct fixture_rig *rig, const char *path, const char *device,
                      enum dtype type);
void fixture_rig_close(struct fixture_rig *rig);
/* The fixture's weights again, and no gradients. */
void fixture_rig_reset(struct fixture_rig *rig);

/*
 * Every tensor of `flat` (device memory, the model's layout), times `factor`, against `group` of
 * the fixture. A key's bias is not compared: it shifts all scores of a query alike, so softmax does not
 * see it and its gradient is zero; what is computed for it is rounding noise, which Adam divides by
 * its own size (Keras's float32 and float64 differ by 3e-4 there). It must only stay as small as
 * five steps of 0.01 make it.
 */
void fixture_rig_compare(struct fixture_rig *rig, const char *group, const float *flat,
                         double factor, double bound);

/* The schedule and the optimizer that the attributes of `group` describe; for optimizer_destroy. */
struct schedule fixture_rig_schedule(const struct fixture_rig *rig, const char *group);
struct optimizer *fixture_rig_optimizer(const struct fixture_rig *rig, const char *group);

void assert_near(const char *what, double got, double expected, double bound);

#endif
