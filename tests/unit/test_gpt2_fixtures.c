/* test_gpt2_fixtures.c - GPT-2 and its optimizer compute what KerasHub computes: every case found
 * under gpt2/ of the fixtures, in fp32 and bf16, on the CPU or, given "cuda", on a GPU. */
#include "testing.h"

#include "fixture_rig.h"
#include "json_fixture.h"
#include "test_device.h"

#include <glob.h>

static const double BOUND = 1e-5;
/* In bf16: 8 bits of mantissa, a relative rounding of 2^-9 an operand, and it adds up through
 * layers. */
static const double BF16_BOUND = 2e-2;

static const char *device;

/* What KerasHub divides its loss by. */
static double positions(const struct batch *batch)
{
    return (double)batch->B * batch->T;
}

static double fixture_number(const struct fixture_rig *rig, const char *path)
{
    double value;
    keras_fixture_doubles(&rig->fixture, path, &value, 1);
    return value;
}

static void check_forward_and_gradients(struct fixture_rig *rig, const struct batch *batch,
                                        double bound)
{
    const int64_t count = (int64_t)positions(batch) * rig->fixture.spec.V;
    float *logits = malloc((size_t)count * sizeof(float));
    float *expected = malloc((size_t)count * sizeof(float));
    fixture_rig_reset(rig);
    keras_fixture_floats(&rig->fixture, "float64/forward/logits", expected, count);
    assert_ok(model_logits(rig->model, batch, logits));
    assert_close("logits", logits, expected, count, bound);
    free(logits);
    free(expected);

    struct loss_sums sums = {0}, evaluated = {0};
    assert_ok(model_evaluate(rig->model, batch, &evaluated));
    train_batch(rig->device, rig->model, batch, &sums);
    assert_true(evaluated.loss == sums.loss);
    const double loss = fixture_number(rig, "float64/forward/loss");
    assert_near("loss", sums.loss / positions(batch), loss, bound);
    if (bound <= BOUND)
        assert_near("weighted accuracy", sums.correct / sums.loss_tokens,
                    fixture_number(rig, "float64/forward/weighted_accuracy"), 1e-6);
    fixture_rig_compare(rig, "float64/gradients", model_gradients(rig->model), 1 / positions(batch),
                   bound);
}

/* One step on the one batch; the loss before it. */
static double step(struct fixture_rig *rig, const struct batch *batch, struct optimizer *optimizer,
                   int64_t number, double rate)
{
    struct loss_sums sums = {0};
    model_zero_gradients(rig->model);
    train_batch(rig->device, rig->model, batch, &sums);
    (void)update_once(rig->device, optimizer, number, rate, positions(batch));
    return sums.loss / positions(batch);
}

static void check_adam(struct fixture_rig *rig, const struct batch *batch)
{
    enum { STEPS = 5 };
    static const char group[] = "float64/adam_polynomial";
    const struct schedule schedule = fixture_rig_schedule(rig, group);
    struct optimizer *optimizer = fixture_rig_optimizer(rig, group);
    double losses[STEPS];
    keras_fixture_doubles(&rig->fixture, "float64/adam_polynomial/losses", losses, STEPS);
    fixture_rig_reset(rig);
    for (int i = 0; i < STEPS; i++)
        assert_near("loss before a step",
                    step(rig, batch, optimizer, i, schedule_learning_rate(&schedule, i)), losses[i],
                    BOUND);
    fixture_rig_compare(rig, "float64/adam_polynomial/after_5/weights", model_weights(rig->model),
                        1,
                   BOUND);
    fixture_rig_compare(rig, "float64/adam_polynomial/after_5/m", optimizer_m(optimizer), 1, BOUND);
    fixture_rig_compare(rig, "float64/adam_polynomial/after_5/v", optimizer_v(optimizer), 1, BOUND);
    optimizer_destroy(optimizer);
}

/* KerasHub under mixed_bfloat16: the same losses to 2 %. */
static void check_mixed_precision(struct fixture_rig *rig, const struct batch *batch,
                                  const char *path)
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
    fixture_rig_reset(rig);
    for (int i = 0; i < steps; i++)
        assert_near("mixed_bfloat16 loss",
                    step(rig, batch, optimizer, i, json_number(mixed, "learning_rate", 0)),
                    losses[i], 2e-2);
    optimizer_destroy(optimizer);
    cJSON_Delete(json);
}

/* The logits that a cache gives are those of a pass over the whole sequence. */
static void check_decoder(struct fixture_rig *rig, const struct batch *batch, double bound)
{
    struct batch whole = *batch;
    const int B = batch->B, T = batch->T, V = rig->fixture.spec.V;
    uint8_t *all = malloc((size_t)(B * T));
    memset(all, 1, (size_t)(B * T));
    whole.key_mask = all;    /* decoding, GPT-2 has no padding */
    float *logits = malloc((size_t)B * (size_t)T * (size_t)V * sizeof(float));
    fixture_rig_reset(rig);
    assert_ok(model_logits(rig->model, &whole, logits));
    struct decoder *decoder;
    assert_ok(decoder_create(&decoder, rig->model, B, T, 0));
    int32_t *tokens = malloc((size_t)B * sizeof *tokens);
    float *next = malloc((size_t)B * (size_t)V * sizeof *next);
    for (int t = 0; t < T; t++) {
        for (int b = 0; b < B; b++)
            tokens[b] = batch->tokens[b * T + t];
        assert_ok(decoder_append(decoder, tokens));
        assert_ok(decoder_logits(decoder, next));
        for (int b = 0; b < B; b++)
            assert_close("decoded logits", next + b * V,
                         logits + ((int64_t)b * T + t) * V, V, bound);
    }
    free(all);
    free(tokens);
    free(next);
    free(logits);
    decoder_destroy(decoder);
}

static void test_fixture_cases_match_keras(void **state)
{
    const glob_t *cases = *state;
    for (size_t i = 0; i < cases->gl_pathc; i++) {
        const char *path = cases->gl_pathv[i];
        struct fixture_rig rig;
        struct batch batch;
        print_message("%s\n", path);
        assert_true(fixture_rig_open(&rig, path, device, DTYPE_F32));
        keras_fixture_gpt2_batch(&rig.fixture, &batch);
        check_forward_and_gradients(&rig, &batch, BOUND);
        check_adam(&rig, &batch);
        check_decoder(&rig, &batch, BOUND);
        fixture_rig_close(&rig);
        if (fixture_rig_open(&rig, path, device, DTYPE_BF16)) {
            check_forward_and_gradients(&rig, &batch, BF16_BOUND);
            check_mixed_precision(&rig, &batch, path);
            check_decoder(&rig, &batch, BF16_BOUND);
            fixture_rig_close(&rig);
        }
        keras_fixture_free(&batch);
    }
}

int main(int argc, char **argv)
{
    char folder[512], pattern[600];
    device = test_device(argc > 1 ? argv[1] : "cpu");
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
