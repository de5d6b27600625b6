/* test_gpt2_fixtures.c - GPT-2 and its optimizer compute what KerasHub computes: every case found under
 * gpt2/ of the fixtures, in fp32 and bf16. */
#include "testing.h"

#include "device/device.h"
#include "json_fixture.h"
#include "keras_fixture.h"
#include "kernels/kernels.h"
#include "model/gpt.h"
#include "one_step.h"
#include "train/schedule.h"

#include <glob.h>

static const double BOUND = 1e-5;
/* In bf16: 8 bits of mantissa, a relative rounding of 2^-9 an operand, and it adds up through layers. */
static const double BF16_BOUND = 2e-2;

struct rig {
    struct keras_fixture fixture;
    struct device *device;
    const struct kernels *kernels;
    struct model *model;
    const struct parameters *parameters;
    struct batch batch;
    double positions;    /* B * T: what KerasHub divides its loss by */
    float *expected;
};

/* False where the processor has no such arithmetic. */
static bool rig_open(struct rig *rig, const char *path, enum dtype type)
{
    assert_ok(device_open(&rig->device, &(struct device_options){.kind = "cpu"}));
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
    rig->expected = malloc((size_t)rig->parameters->flat_count * sizeof(float));
    keras_fixture_gpt2_batch(&rig->fixture, &rig->batch);
    rig->positions = (double)rig->batch.B * rig->batch.T;
    return true;
}

static void rig_reset(struct rig *rig)
{
    keras_fixture_tensors(&rig->fixture, "weights", rig->parameters, model_weights(rig->model));
    model_weights_changed(rig->model);
    model_zero_gradients(rig->model);
}

static void rig_close(struct rig *rig)
{
    keras_fixture_free(&rig->batch);
    free(rig->expected);
    model_destroy(rig->model);
    device_close(rig->device);
    keras_fixture_close(&rig->fixture);
}

/* A key's bias has the gradient 0 (a shift of all scores of a query), so what is computed for it is
 * rounding noise, which Adam divides by its own size: it must stay small, and is not compared. */
static void cut_key_bias(const struct parameter *t, float *got, float *expected)
{
    if (!strstr(t->name, "/qkv/bias"))
        return;
    const int64_t width = t->count / 3;
    for (int64_t i = width; i < 2 * width; i++) {
        assert_true(fabsf(got[i] - expected[i]) < 2.5e-2f);    /* five steps of 0.005 */
        got[i] = expected[i] = 0;
    }
}

/* Every tensor of `got` (flat), times `factor`, against `group` of the fixture. */
static void assert_tensors(struct rig *rig, const char *group, const float *got, double factor,
                           double bound)
{
    keras_fixture_tensors(&rig->fixture, group, rig->parameters, rig->expected);
    float *scaled = malloc((size_t)rig->parameters->flat_count * sizeof(float));
    for (int64_t i = 0; i < rig->parameters->flat_count; i++)
        scaled[i] = (float)(factor * (double)got[i]);
    for (int i = 0; i < rig->parameters->n; i++) {
        const struct parameter *t = &rig->parameters->list[i];
        char name[160];
        snprintf(name, sizeof name, "%s/%s", group, t->name);
        cut_key_bias(t, scaled + t->offset, rig->expected + t->offset);
        assert_close(name, scaled + t->offset, rig->expected + t->offset, t->count, bound);
    }
    free(scaled);
}

static void assert_near(const char *what, double got, double expected, double bound)
{
    if (!(fabs(got - expected) <= bound * fabs(expected)))
        fail_msg("%s is %.9g, expected %.9g within %g", what, got, expected, bound);
}

static double fixture_number(const struct rig *rig, const char *path)
{
    double value;
    keras_fixture_doubles(&rig->fixture, path, &value, 1);
    return value;
}

static void check_forward_and_gradients(struct rig *rig, double bound)
{
    const int64_t count = (int64_t)rig->positions * rig->fixture.spec.V;
    float *logits = malloc((size_t)count * sizeof(float));
    float *expected = malloc((size_t)count * sizeof(float));
    rig_reset(rig);
    keras_fixture_floats(&rig->fixture, "float64/forward/logits", expected, count);
    assert_ok(model_logits(rig->model, &rig->batch, logits));
    assert_close("logits", logits, expected, count, bound);
    free(logits);
    free(expected);

    struct loss_sums sums = {0}, evaluated = {0};
    assert_ok(model_evaluate(rig->model, &rig->batch, &evaluated));
    train_batch(rig->device, rig->model, &rig->batch, &sums);
    assert_true(evaluated.loss == sums.loss);
    const double loss = fixture_number(rig, "float64/forward/loss");
    assert_near("loss", sums.loss / rig->positions, loss, bound);
    if (bound <= BOUND)
        assert_near("weighted accuracy", sums.correct / sums.loss_tokens,
                    fixture_number(rig, "float64/forward/weighted_accuracy"), 1e-6);
    assert_tensors(rig, "float64/gradients", model_gradients(rig->model), 1 / rig->positions,
                   bound);
}

/* One step on the one batch; the loss before it. */
static double step(struct rig *rig, struct optimizer *optimizer, int64_t number, double rate)
{
    struct loss_sums sums = {0};
    model_zero_gradients(rig->model);
    train_batch(rig->device, rig->model, &rig->batch, &sums);
    (void)update_once(rig->device, optimizer, number, rate, rig->positions);
    return sums.loss / rig->positions;
}

static void check_adam(struct rig *rig)
{
    enum { STEPS = 5 };
    static const char group[] = "float64/adam_polynomial";
    const struct schedule schedule = {
        .kind = SCHEDULE_POLYNOMIAL,
        .learning_rate = keras_fixture_attribute(&rig->fixture, group, "initial_learning_rate", 0),
        .end_learning_rate =
            keras_fixture_attribute(&rig->fixture, group, "end_learning_rate", 0),
        .power = keras_fixture_attribute(&rig->fixture, group, "power", 1),
        .decay_steps = (int64_t)keras_fixture_attribute(&rig->fixture, group, "decay_steps", 0),
    };
    struct optimizer *optimizer;
    assert_ok(optimizer_create(&optimizer, rig->device, rig->kernels, rig->model,
                               &(struct optimizer_options){
        .beta1 = keras_fixture_attribute(&rig->fixture, group, "beta_1", 0.9),
        .beta2 = keras_fixture_attribute(&rig->fixture, group, "beta_2", 0.999),
        .epsilon = keras_fixture_attribute(&rig->fixture, group, "epsilon", 1e-7)}));
    double losses[STEPS];
    keras_fixture_doubles(&rig->fixture, "float64/adam_polynomial/losses", losses, STEPS);
    rig_reset(rig);
    for (int i = 0; i < STEPS; i++)
        assert_near("loss before a step",
                    step(rig, optimizer, i, schedule_learning_rate(&schedule, i)), losses[i],
                    BOUND);
    assert_tensors(rig, "float64/adam_polynomial/after_5/weights", model_weights(rig->model), 1,
                   BOUND);
    assert_tensors(rig, "float64/adam_polynomial/after_5/m", optimizer_m(optimizer), 1, BOUND);
    assert_tensors(rig, "float64/adam_polynomial/after_5/v", optimizer_v(optimizer), 1, BOUND);
    optimizer_destroy(optimizer);
}

/* KerasHub under mixed_bfloat16: the same losses to 2 %. */
static void check_mixed_precision(struct rig *rig, const char *path)
{
    char json_path[700];
    snprintf(json_path, sizeof json_path, "%.*s/generate.json", (int)(strrchr(path, '/') - path),
             path);
    cJSON *json = json_fixture_open(json_path);
    const cJSON *mixed = cJSON_GetObjectItem(
        cJSON_GetObjectItem(json, "mixed_precision"), "mixed_bfloat16");
    double losses[64];
    const int steps = json_numbers(cJSON_GetObjectItem(mixed, "losses"), losses, 64);
    assert_true(steps > 1);
    struct optimizer *optimizer;
    assert_ok(optimizer_create(&optimizer, rig->device, rig->kernels, rig->model,
                               &(struct optimizer_options){
        .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-7}));
    rig_reset(rig);
    for (int i = 0; i < steps; i++)
        assert_near("mixed_bfloat16 loss",
                    step(rig, optimizer, i, json_number(mixed, "learning_rate", 0)), losses[i],
                    2e-2);
    optimizer_destroy(optimizer);
    cJSON_Delete(json);
}

/* The logits that a cache gives are those of a pass over the whole sequence. */
static void check_decoder(struct rig *rig, double bound)
{
    struct batch batch = rig->batch;
    const int B = batch.B, T = batch.T, V = rig->fixture.spec.V;
    uint8_t *all = malloc((size_t)(B * T));
    memset(all, 1, (size_t)(B * T));
    batch.key_mask = all;    /* decoding, GPT-2 has no padding */
    float *logits = malloc((size_t)B * (size_t)T * (size_t)V * sizeof(float));
    rig_reset(rig);
    assert_ok(model_logits(rig->model, &batch, logits));
    struct decoder *decoder;
    assert_ok(decoder_create(&decoder, rig->model, B, T));
    int32_t *tokens = malloc((size_t)B * sizeof *tokens);
    for (int t = 0; t < T; t++) {
        const float *next;
        for (int b = 0; b < B; b++)
            tokens[b] = batch.tokens[b * T + t];
        assert_ok(decoder_append(decoder, tokens, &next));
        for (int b = 0; b < B; b++)
            assert_close("decoded logits", next + b * V,
                         logits + ((int64_t)b * T + t) * V, V, bound);
    }
    free(all);
    free(tokens);
    free(logits);
    decoder_destroy(decoder);
}

static void test_fixture_cases_match_keras(void **state)
{
    const glob_t *cases = *state;
    for (size_t i = 0; i < cases->gl_pathc; i++) {
        const char *path = cases->gl_pathv[i];
        struct rig rig;
        print_message("%s\n", path);
        assert_true(rig_open(&rig, path, DTYPE_F32));
        check_forward_and_gradients(&rig, BOUND);
        check_adam(&rig);
        check_decoder(&rig, BOUND);
        rig_close(&rig);
        if (!rig_open(&rig, path, DTYPE_BF16))
            continue;
        check_forward_and_gradients(&rig, BF16_BOUND);
        check_mixed_precision(&rig, path);
        check_decoder(&rig, BF16_BOUND);
        rig_close(&rig);
    }
}

int main(void)
{
    char folder[512], pattern[600];
    if (!fixtures_folder("gpt2", folder, sizeof folder)) {
        puts("skipped: no fixtures (GALLEY_FIXTURES)");
        return 77;
    }
    glob_t cases;
    snprintf(pattern, sizeof pattern, "%s/*/reference.h5", folder);
    if (glob(pattern, 0, NULL, &cases)) {
        puts("skipped: no gpt2 cases");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_fixture_cases_match_keras, &cases),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    globfree(&cases);
    return failed;
}
