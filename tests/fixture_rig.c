/* fixture_rig.c - a model with a fixture's weights; see fixture_rig.h. */
#include "fixture_rig.h"

bool fixture_rig_open(struct fixture_rig *rig, const char *path, const char *device,
                      enum dtype type)
{
    assert_ok(device_open(&rig->device, &(struct device_options){.kind = device}));
    struct error *e = kernels_for(&rig->kernels, rig->device, type);
    if (e) {
        print_message("skipped: %s\n", error_message(e));
        error_destroy(e);
        device_close(rig->device);
        return false;
    }
    keras_fixture_open(&rig->fixture, path);
    assert_ok(model_create(&rig->model, rig->device, rig->kernels, &rig->fixture.spec,
                           &(struct model_options){
                               .B = rig->fixture.B, .T = rig->fixture.T, .training = true}));
    rig->parameters = model_parameters(rig->model);
    rig->expected = calloc((size_t)rig->parameters->flat_count, sizeof(float));
    rig->got = calloc((size_t)rig->parameters->flat_count, sizeof(float));
    assert_true(rig->expected && rig->got);
    fixture_rig_reset(rig);
    return true;
}

void fixture_rig_close(struct fixture_rig *rig)
{
    free(rig->expected);
    free(rig->got);
    model_destroy(rig->model);
    device_close(rig->device);
    keras_fixture_close(&rig->fixture);
}

void fixture_rig_reset(struct fixture_rig *rig)
{
    keras_fixture_tensors(&rig->fixture, "weights", rig->parameters, rig->expected);
    flat_layout_copy_in(model_layout(rig->model), rig->device, model_weights(rig->model),
                        rig->expected);
    model_weights_changed(rig->model);
    model_zero_gradients(rig->model);
    assert_ok(device_synchronize(rig->device));
}

static void cut_key_bias(const struct parameter *t, float *got, float *expected)
{
    if (!strstr(t->name, "/qkv/bias"))
        return;
    const int64_t width = t->count / 3;
    for (int64_t i = width; i < 2 * width; i++) {
        assert_true(fabsf(got[i] - expected[i]) < 5e-2f);
        got[i] = expected[i] = 0;
    }
}

void fixture_rig_compare(struct fixture_rig *rig, const char *group, const float *flat,
                         double factor, double bound)
{
    keras_fixture_tensors(&rig->fixture, group, rig->parameters, rig->expected);
    assert_ok(device_synchronize(rig->device));
    assert_ok(flat_layout_fetch(model_layout(rig->model), rig->device, rig->got, flat, SIZE_MAX));
    for (int64_t i = 0; i < rig->parameters->flat_count; i++)
        rig->got[i] = (float)(factor * (double)rig->got[i]);
    for (int i = 0; i < rig->parameters->n; i++) {
        const struct parameter *t = &rig->parameters->list[i];
        char name[160];
        snprintf(name, sizeof name, "%s/%s", group, t->name);
        cut_key_bias(t, rig->got + t->offset, rig->expected + t->offset);
        assert_close(name, rig->got + t->offset, rig->expected + t->offset, t->count, bound);
    }
}

static double setting(const struct fixture_rig *rig, const char *group, const char *name,
                      double otherwise)
{
    return keras_fixture_attribute(&rig->fixture, group, name, otherwise);
}

struct schedule fixture_rig_schedule(const struct fixture_rig *rig, const char *group)
{
    const double top = setting(rig, group, "initial_learning_rate", 0);
    return (struct schedule){
        .kind = top > 0 ? SCHEDULE_POLYNOMIAL : SCHEDULE_CONSTANT,
        .learning_rate = top > 0 ? top : setting(rig, group, "learning_rate", 0),
        .end_learning_rate = setting(rig, group, "end_learning_rate", 0),
        .power = setting(rig, group, "power", 1),
        .decay_steps = (int64_t)setting(rig, group, "decay_steps", 0),
    };
}

struct optimizer *fixture_rig_optimizer(const struct fixture_rig *rig, const char *group)
{
    struct optimizer *optimizer;
    assert_ok(optimizer_create(&optimizer, rig->device, rig->kernels, rig->model,
                               &(struct optimizer_options){
        .beta1 = setting(rig, group, "beta_1", 0.9),
        .beta2 = setting(rig, group, "beta_2", 0.999),
        .epsilon = setting(rig, group, "epsilon", 1e-7),
        .weight_decay = setting(rig, group, "weight_decay", 0),
        .clip_norm = setting(rig, group, "global_clipnorm", 0)}));
    return optimizer;
}

void assert_near(const char *what, double got, double expected, double bound)
{
    if (!(fabs(got - expected) <= bound * fabs(expected)))
        fail_msg("%s is %.9g, expected %.9g within %g", what, got, expected, bound);
}
