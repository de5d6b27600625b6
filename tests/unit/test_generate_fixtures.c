/* test_generate_fixtures.c - the tokens KerasHub's samplers choose: every generate.json under
 * mini_gpt/. */
#include "testing.h"

#include "device/device.h"
#include "generate/generate.h"
#include "json_fixture.h"
#include "keras_fixture.h"
#include "kernels/kernels.h"

#include <glob.h>

enum { MOST = 1 << 16 };

struct rig {
    struct keras_fixture fixture;
    struct device *device;
    struct model *model;
    cJSON *json;
    int rows, length;
    int lengths[64];                    /* of the prompts */
    int32_t prompts[MOST], tokens[MOST], expected[MOST];
};

static void read_ints(const cJSON *object, const char *key, int32_t *out, int expected)
{
    static double numbers[MOST];
    const int n = json_numbers(cJSON_GetObjectItemCaseSensitive(object, key), numbers, MOST);
    assert_int_equal(n, expected);
    for (int i = 0; i < n; i++)
        out[i] = (int32_t)numbers[i];
}

/* "case.generate.json" stands beside "case.h5". */
static void rig_open(struct rig *rig, const char *path)
{
    char weights[1024];
    snprintf(weights, sizeof weights, "%.*s.h5",
             (int)(strlen(path) - strlen(".generate.json")), path);
    keras_fixture_open(&rig->fixture, weights);
    rig->json = json_fixture_open(path);

    const struct kernels *kernels;
    assert_ok(device_open(&rig->device, &(struct device_options){.kind = "cpu"}));
    assert_ok(kernels_for(&kernels, rig->device, DTYPE_F32));
    assert_ok(model_create(&rig->model, rig->device, kernels, &rig->fixture.spec,
                           &(struct model_options){.B = 1, .T = 1}));
    const struct parameters *parameters = model_parameters(rig->model);
    float *w = model_weights(rig->model);
    keras_fixture_tensors(&rig->fixture, "weights", parameters, w);
    const float times = (float)json_number(rig->json, "weights_times", 1);
    for (int64_t i = 0; i < parameters->flat_count; i++)
        w[i] *= times;
    model_weights_changed(rig->model);

    const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(rig->json, "prompt");
    rig->rows = cJSON_GetArraySize(prompt);
    rig->length = cJSON_GetArraySize(prompt->child);
    read_ints(rig->json, "prompt", rig->prompts, rig->rows * rig->length);
    read_ints(rig->json, "mask", rig->expected, rig->rows * rig->length);
    for (int r = 0; r < rig->rows; r++) {
        rig->lengths[r] = 0;
        for (int i = 0; i < rig->length; i++)
            rig->lengths[r] += rig->expected[r * rig->length + i];
    }
}

static void rig_close(struct rig *rig)
{
    cJSON_Delete(rig->json);
    model_destroy(rig->model);
    device_close(rig->device);
    keras_fixture_close(&rig->fixture);
}

static void assert_tokens(const struct rig *rig, const char *name, int rows)
{
    for (int i = 0; i < rows * rig->length; i++)
        if (rig->tokens[i] != rig->expected[i])
            fail_msg("%s: text %d position %d is %d, expected %d", name, i / rig->length,
                     i % rig->length, rig->tokens[i], rig->expected[i]);
}

static void check_scores(const cJSON *json, const double *scores, int n)
{
    double expected[256];
    assert_int_equal(json_numbers(cJSON_GetObjectItemCaseSensitive(json, "scores"), expected, 256),
                     n);
    for (int i = 0; i < n; i++)
        if (!(fabs(scores[i] - expected[i]) <= 1e-4))
            fail_msg("score %d is %.6f, expected %.6f", i, scores[i], expected[i]);
}

static void check_case(struct rig *rig, const cJSON *json)
{
    struct sampler sampler = {
        .k = (int)json_number(json, "k", 0), .p = json_number(json, "p", 0),
        .beams = (int)json_number(json, "num_beams", 0),
        .temperature = json_number(json, "temperature", 1),
    };
    assert_ok(sampler_parse(&sampler.kind, json_string(json, "sampler")));
    const struct generation generation = {
        .model = rig->model, .sampler = &sampler, .rows = rig->rows, .length = rig->length,
        .prompt_lengths = rig->lengths,
    };
    char name[128];
    double scores[256] = {0};
    sampler_describe(&sampler, name, sizeof name);
    print_message("  %s\n", name);
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "return_all_beams"))) {
        const int texts = rig->rows * sampler.beams;
        read_ints(json, "token_ids", rig->expected, texts * rig->length);
        assert_ok(generate_beams(&generation, rig->prompts, rig->tokens, scores));
        assert_tokens(rig, name, texts);
        check_scores(json, scores, texts);

        /* And one beam a row is the best of them, with its score. */
        double best[256];
        memcpy(rig->tokens, rig->prompts, sizeof rig->tokens);
        assert_ok(generate_tokens(&generation, rig->tokens, best));
        for (int r = 0; r < rig->rows; r++) {
            assert_true(best[r] == scores[r * sampler.beams]);
            assert_memory_equal(rig->tokens + r * rig->length,
                                rig->expected + r * sampler.beams * rig->length,
                                (size_t)rig->length * sizeof(int32_t));
        }
        return;
    }
    read_ints(json, "token_ids", rig->expected, rig->rows * rig->length);
    memcpy(rig->tokens, rig->prompts, sizeof rig->tokens);
    assert_ok(generate_tokens(&generation, rig->tokens, scores));
    assert_tokens(rig, name, rig->rows);
}

static void test_texts_are_kerashubs(void **state)
{
    const glob_t *cases = *state;
    for (size_t i = 0; i < cases->gl_pathc; i++) {
        static struct rig rig;
        print_message("%s\n", cases->gl_pathv[i]);
        rig_open(&rig, cases->gl_pathv[i]);
        const cJSON *json;
        cJSON_ArrayForEach(json, cJSON_GetObjectItemCaseSensitive(rig.json, "cases"))
            check_case(&rig, json);
        rig_close(&rig);
    }
}

int main(void)
{
    char folder[512], pattern[600];
    if (!fixtures_folder("mini_gpt", folder, sizeof folder)) {
        puts("skipped: no fixtures (GALLEY_FIXTURES)");
        return 77;
    }
    glob_t cases;
    snprintf(pattern, sizeof pattern, "%s/*.generate.json", folder);
    if (glob(pattern, 0, NULL, &cases)) {
        puts("skipped: no generate.json under mini_gpt");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_texts_are_kerashubs, &cases),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    globfree(&cases);
    return failed;
}
