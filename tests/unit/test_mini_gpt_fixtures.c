/* test_mini_gpt_fixtures.c - the model and optimizer compute what KerasHub computes: every case
 * found under mini_gpt/ of the fixtures, on the CPU or, given "cuda", on a GPU. */
#include "testing.h"

#include "fixture_rig.h"
#include "test_device.h"

#include <glob.h>

static const double BOUND = 1e-5;

static const char *device;

static void check_forward_and_gradients(struct fixture_rig *rig)
{
    struct batch batch;
    keras_fixture_batch(&rig->fixture, 0, &batch);
    const int64_t count = (int64_t)batch.B * batch.T * rig->fixture.spec.V;
    float *logits = malloc((size_t)count * sizeof(float));
    float *expected = malloc((size_t)count * sizeof(float));
    keras_fixture_floats(&rig->fixture, "float64/forward/logits", expected, count);
    assert_ok(model_logits(rig->model, &batch, logits));
    assert_close("logits", logits, expected, count, BOUND);

    double loss;
    keras_fixture_doubles(&rig->fixture, "float64/forward/loss", &loss, 1);
    struct loss_sums sums = {0};
    model_zero_gradients(rig->model);
    train_batch(rig->device, rig->model, &batch, &sums);
    assert_near("loss", sums.loss / sums.loss_tokens, loss, BOUND);
    fixture_rig_compare(rig, "float64/gradients", model_gradients(rig->model), 1 / sums.loss_tokens,
                        BOUND);

    /* Two micro-batches add up. */
    struct loss_sums twice = {0};
    train_batch(rig->device, rig->model, &batch, &twice);
    fixture_rig_compare(rig, "float64/gradients", model_gradients(rig->model),
                        0.5 / sums.loss_tokens, BOUND);
    free(logits);
    free(expected);
    keras_fixture_free(&batch);
}

static void check_metrics(struct fixture_rig *rig)
{
    double running[5], single[5], accuracy[5], losses[5];
    keras_fixture_doubles(&rig->fixture, "float64/metrics/perplexity_running", running, 5);
    keras_fixture_doubles(&rig->fixture, "float64/metrics/perplexity_of_batch", single, 5);
    keras_fixture_doubles(&rig->fixture, "float64/metrics/accuracy_running", accuracy, 5);
    keras_fixture_doubles(&rig->fixture, "float64/metrics/loss_of_batch", losses, 5);
    struct loss_sums total = {0};
    for (int i = 0; i < 5; i++) {
        struct batch batch;
        struct loss_sums one = {0};
        keras_fixture_batch(&rig->fixture, i, &batch);
        assert_ok(model_evaluate(rig->model, &batch, &one));
        assert_ok(model_evaluate(rig->model, &batch, &total));
        assert_near("loss of batch", one.loss / one.loss_tokens, losses[i], BOUND);
        assert_near("perplexity of batch", exp(one.metric_loss / one.metric_tokens), single[i],
                    BOUND);
        assert_near("running perplexity", exp(total.metric_loss / total.metric_tokens),
                    running[i], BOUND);
        assert_near("running accuracy", total.correct / total.loss_tokens, accuracy[i], BOUND);
        keras_fixture_free(&batch);
    }
}

static void check_variant(struct fixture_rig *rig, const char *name)
{
    char variant[64], path[128];
    snprintf(variant, sizeof variant, "float64/optimizer/%s", name);
    if (!keras_fixture_has(&rig->fixture, variant))
        return;
    const struct schedule schedule = fixture_rig_schedule(rig, variant);
    struct optimizer *optimizer = fixture_rig_optimizer(rig, variant);
    fixture_rig_reset(rig);

    double losses[5];
    snprintf(path, sizeof path, "%s/losses", variant);
    keras_fixture_doubles(&rig->fixture, path, losses, 5);
    for (int i = 0; i < 5; i++) {
        struct batch batch;
        struct loss_sums sums = {0};
        keras_fixture_batch(&rig->fixture, i, &batch);
        model_zero_gradients(rig->model);
        train_batch(rig->device, rig->model, &batch, &sums);
        assert_near("loss before the step", sums.loss / sums.loss_tokens, losses[i], BOUND);
        (void)update_once(rig->device, optimizer, i, schedule_learning_rate(&schedule, i),
                          sums.loss_tokens);
        keras_fixture_free(&batch);
        snprintf(path, sizeof path, "%s/after_%d/weights", variant, i + 1);
        if (!keras_fixture_has(&rig->fixture, path))
            continue;
        fixture_rig_compare(rig, path, model_weights(rig->model), 1, BOUND);
        snprintf(path, sizeof path, "%s/after_%d/m", variant, i + 1);
        fixture_rig_compare(rig, path, optimizer_m(optimizer), 1, BOUND);
        snprintf(path, sizeof path, "%s/after_%d/v", variant, i + 1);
        fixture_rig_compare(rig, path, optimizer_v(optimizer), 1, BOUND);
    }
    optimizer_destroy(optimizer);
}

/* The last logits that a cache gives are those of a pass over the whole sequence. */
static void check_decoder(struct fixture_rig *rig)
{
    struct batch batch;
    keras_fixture_batch(&rig->fixture, 0, &batch);
    const int B = batch.B, T = batch.T, V = rig->fixture.spec.V;
    float *logits = malloc((size_t)B * (size_t)T * (size_t)V * sizeof(float));
    assert_ok(model_logits(rig->model, &batch, logits));
    struct decoder *decoder;
    assert_ok(decoder_create(&decoder, rig->model, B, T, 0));
    int32_t *tokens = malloc((size_t)B * sizeof *tokens);
    float *next = malloc((size_t)B * (size_t)V * sizeof *next);
    for (int t = 0; t < T; t++) {
        for (int b = 0; b < B; b++)
            tokens[b] = batch.tokens[b * T + t];
        assert_ok(decoder_append(decoder, tokens));
        assert_ok(decoder_logits(decoder, next));
        for (int b = 0; b < B; b++)
            assert_close("decoded logits", next + b * V,
                         logits + ((int64_t)b * T + t) * V, V, BOUND);
    }
    free(tokens);
    free(next);
    free(logits);
    decoder_destroy(decoder);
    keras_fixture_free(&batch);
}

static void test_fixture_cases_match_keras(void **state)
{
    const glob_t *cases = *state;
    int checked = 0;
    for (size_t i = 0; i < cases->gl_pathc; i++) {
        if (strstr(cases->gl_pathv[i], ".weights.h5"))
            continue;
        print_message("%s\n", cases->gl_pathv[i]);
        struct fixture_rig rig;
        assert_true(fixture_rig_open(&rig, cases->gl_pathv[i], device, DTYPE_F32));
        check_forward_and_gradients(&rig);
        check_metrics(&rig);
        check_decoder(&rig);
        check_variant(&rig, "adam");
        check_variant(&rig, "adamw");
        check_variant(&rig, "adam_clip");
        check_variant(&rig, "adam_polynomial");
        fixture_rig_close(&rig);
        checked++;
    }
    assert_true(checked > 0);
}

int main(int argc, char **argv)
{
    char folder[512], pattern[600];
    device = test_device(argc > 1 ? argv[1] : "cpu");
    if (!fixtures_folder("mini_gpt", folder, sizeof folder)) {
        puts("skipped: no fixtures (GALLEY_FIXTURES)");
        return 77;
    }
    glob_t cases;
    snprintf(pattern, sizeof pattern, "%s/*.h5", folder);
    if (glob(pattern, 0, NULL, &cases)) {
        puts("skipped: no mini_gpt cases");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_fixture_cases_match_keras, &cases),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    globfree(&cases);
    return failed;
}
