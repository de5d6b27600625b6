/* test_generate_fixtures.c - the tokens KerasHub's samplers choose: every generate.json under
 * mini_gpt/ and gpt2/, on the CPU or, given "cuda", on a GPU. */
#include "testing.h"

#include "generate/generate.h"
#include "json_fixture.h"
#include "keras_fixture.h"
#include "kernels/kernels.h"
#include "test_device.h"
#include "text/tokenizer_files.h"

#include <glob.h>

enum { MOST = 1 << 16 };

static const char *device;

struct rig {
    struct keras_fixture fixture;
    struct device *device;
    struct model *model;
    cJSON *json;
    int rows, length;
    int lengths[64];                    /* of the prompts */
    int32_t prompts[MOST], tokens[MOST], expected[MOST], mask[MOST];
};

static void read_ints(const cJSON *object, const char *key, int32_t *out, int expected)
{
    static double numbers[MOST];
    const int n = json_numbers(cJSON_GetObjectItemCaseSensitive(object, key), numbers, MOST);
    assert_int_equal(n, expected);
    for (int i = 0; i < n; i++)
        out[i] = (int32_t)numbers[i];
}

/* Where the weights are: "case.generate.json" stands beside "case.h5", "case/generate.json" beside
 * "case/reference.h5". */
static void weights_path(const char *path, char *out, size_t bytes)
{
    const char *name = strrchr(path, '/') + 1;
    if (!strcmp(name, "generate.json"))
        snprintf(out, bytes, "%.*sreference.h5", (int)(name - path), path);
    else
        snprintf(out, bytes, "%.*s.h5", (int)(strlen(path) - strlen(".generate.json")), path);
}

/* Prompts and their masks, as ids and mask under `prompts`. */
static void read_prompts(struct rig *rig, const cJSON *prompts, const char *ids, const char *mask)
{
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(prompts, ids);
    rig->rows = cJSON_GetArraySize(rows);
    rig->length = cJSON_GetArraySize(rows->child);
    read_ints(prompts, ids, rig->prompts, rig->rows * rig->length);
    read_ints(prompts, mask, rig->mask, rig->rows * rig->length);
    for (int r = 0; r < rig->rows; r++) {
        rig->lengths[r] = 0;
        for (int i = 0; i < rig->length; i++)
            rig->lengths[r] += rig->mask[r * rig->length + i];
    }
}

static void rig_open(struct rig *rig, const char *path)
{
    char weights[1024];
    weights_path(path, weights, sizeof weights);
    keras_fixture_open(&rig->fixture, weights);
    rig->json = json_fixture_open(path);

    const struct kernels *kernels;
    assert_ok(device_open(&rig->device, &(struct device_options){.kind = device}));
    assert_ok(kernels_for(&kernels, rig->device, DTYPE_F32));
    assert_ok(model_create(&rig->model, rig->device, kernels, &rig->fixture.spec,
                           &(struct model_options){.B = 1, .T = 1}));
    const struct parameters *parameters = model_parameters(rig->model);
    float *w = malloc((size_t)parameters->flat_count * sizeof *w);
    assert_non_null(w);
    keras_fixture_tensors(&rig->fixture, "weights", parameters, w);
    const float times = (float)json_number(rig->json, "weights_times", 1);
    for (int64_t i = 0; i < parameters->flat_count; i++)
        w[i] *= times;
    flat_layout_copy_in(model_layout(rig->model), rig->device, model_weights(rig->model), w);
    assert_ok(device_synchronize(rig->device));
    free(w);
    model_weights_changed(rig->model);
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

/* The rows' masks: 1 up to the end of each. */
static void check_ends(const struct rig *rig, const char *name, const cJSON *json, const int *ends)
{
    static int32_t mask[MOST];
    if (!cJSON_GetObjectItemCaseSensitive(json, "padding_mask"))
        return;
    read_ints(json, "padding_mask", mask, rig->rows * rig->length);
    for (int r = 0; r < rig->rows; r++)
        for (int i = 0; i < rig->length; i++)
            if (mask[r * rig->length + i] != (i < ends[r]))
                fail_msg("%s: row %d ends at %d, which its mask at %d contradicts", name, r,
                         ends[r], i);
}

static void check_all_beams(struct rig *rig, const char *name, const struct generation *generation,
                            const cJSON *json)
{
    const int beams = generation->sampler->beams, texts = rig->rows * beams;
    double scores[256], best[256];
    read_ints(json, "token_ids", rig->expected, texts * rig->length);
    assert_ok(generate_beams(generation, rig->prompts, rig->tokens, NULL, scores));
    assert_tokens(rig, name, texts);
    check_scores(json, scores, texts);

    /* And one beam a row is the best of them, with its score. */
    memcpy(rig->tokens, rig->prompts, sizeof rig->tokens);
    assert_ok(generate_tokens(generation, rig->tokens, NULL, best));
    for (int r = 0; r < rig->rows; r++) {
        assert_true(best[r] == scores[r * beams]);
        assert_memory_equal(rig->tokens + r * rig->length,
                            rig->expected + r * beams * rig->length,
                            (size_t)rig->length * sizeof(int32_t));
    }
}

static void check_case(struct rig *rig, const cJSON *json, bool all_beams)
{
    struct sampler sampler = {
        .k = (int)json_number(json, "k", 0), .p = json_number(json, "p", 0),
        .beams = (int)json_number(json, "num_beams", 0),
        .alpha = json_number(json, "alpha", 0),
        .temperature = json_number(json, "temperature", 1),
    };
    const char *kind = all_beams ? "beam" : json_string(json, "sampler");
    assert_ok(sampler_parse(&sampler.kind, kind));
    double stops[16];
    int32_t stop_ids[16];
    const cJSON *stop = cJSON_GetObjectItemCaseSensitive(json, "stop_token_ids");
    const int stop_count = cJSON_IsArray(stop) ? json_numbers(stop, stops, 16) : 0;
    for (int i = 0; i < stop_count; i++)
        stop_ids[i] = (int32_t)stops[i];
    const struct generation generation = {
        .model = rig->model, .sampler = &sampler, .rows = rig->rows, .length = rig->length,
        .prompt_lengths = rig->lengths, .stop_ids = stop_ids, .stop_count = stop_count,
    };
    char name[160];
    sampler_describe(&sampler, name, 128);
    snprintf(name + strlen(name), 32, ", %d stop ids", stop_count);
    print_message("  %s\n", name);
    if (all_beams) {
        check_all_beams(rig, name, &generation, json);
        return;
    }
    int ends[64];
    read_ints(json, "token_ids", rig->expected, rig->rows * rig->length);
    memcpy(rig->tokens, rig->prompts, sizeof rig->tokens);
    assert_ok(generate_tokens(&generation, rig->tokens, ends, NULL));
    assert_tokens(rig, name, rig->rows);
    check_ends(rig, name, json, ends);
}

/* Texts in, texts out, through the tokenizer of the preset beside generate.json. */
static void check_strings(const struct rig *rig, const char *path, const cJSON *json)
{
    char folder[1024];
    struct tokenizer *tokenizer;
    snprintf(folder, sizeof folder, "%.*s/preset", (int)(strrchr(path, '/') - path), path);
    assert_ok(tokenizer_open(&tokenizer, folder, NULL, &(struct wordpiece_options){0},
                             &(struct bpe_options){0}));
    const cJSON *prompts = cJSON_GetObjectItemCaseSensitive(json, "prompts");
    const cJSON *outputs = cJSON_GetObjectItemCaseSensitive(json, "outputs");
    const int length = (int)json_number(json, "max_length", 0), count = cJSON_GetArraySize(prompts);
    const int32_t stop = generate_default_stop(tokenizer);
    const struct sampler greedy = {.kind = SAMPLER_GREEDY, .temperature = 1};
    struct prompt encoded[16];
    struct generated texts[16];
    assert_in_range(count, 1, 16);
    print_message("  %s\n", json->string);
    for (int i = 0; i < count; i++)
        assert_ok(prompt_encode(&encoded[i], tokenizer, cJSON_GetArrayItem(prompts, i)->valuestring,
                                length));
    assert_ok(generate_texts(&(struct text_generation){
        .model = rig->model, .tokenizer = tokenizer, .sampler = &greedy, .prompts = encoded,
        .length = length, .count = count, .stop_ids = &stop, .stop_count = 1,
        .strip_prompt = strstr(json->string, "strip_prompt") != NULL}, texts));
    for (int i = 0; i < count; i++) {
        assert_string_equal(texts[i].text, cJSON_GetArrayItem(outputs, i)->valuestring);
        generated_release(&texts[i]);
        prompt_release(&encoded[i]);
    }
    tokenizer_destroy(tokenizer);
}

static void test_texts_are_kerashubs(void **state)
{
    const glob_t *cases = *state;
    for (size_t i = 0; i < cases->gl_pathc; i++) {
        static struct rig rig;
        print_message("%s\n", cases->gl_pathv[i]);
        rig_open(&rig, cases->gl_pathv[i]);
        const cJSON *json;
        const cJSON *prompts = cJSON_GetObjectItemCaseSensitive(rig.json, "prompts");
        if (prompts)
            read_prompts(&rig, prompts, "token_ids", "padding_mask");
        else
            read_prompts(&rig, rig.json, "prompt", "mask");
        cJSON_ArrayForEach(json, cJSON_GetObjectItemCaseSensitive(rig.json, "cases"))
            check_case(&rig, json,
                       cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "return_all_beams")));
        const cJSON *all_beams = cJSON_GetObjectItemCaseSensitive(rig.json, "all_beams");
        if (all_beams) {
            read_prompts(&rig, all_beams, "prompt", "mask");
            check_case(&rig, all_beams, true);
        }
        cJSON_ArrayForEach(json, cJSON_GetObjectItemCaseSensitive(rig.json, "strings"))
            check_strings(&rig, cases->gl_pathv[i], json);
        rig_close(&rig);
    }
}

int main(int argc, char **argv)
{
    device = test_device(argc > 1 ? argv[1] : "cpu");
    glob_t cases = {0};
    const char *const families[][2] = {{"mini_gpt", "*.generate.json"}, {"gpt2",
        "*/generate.json"}};
    for (int i = 0; i < 2; i++) {
        char folder[512], pattern[600];
        if (!fixtures_folder(families[i][0], folder, sizeof folder))
            continue;
        snprintf(pattern, sizeof pattern, "%s/%s", folder, families[i][1]);
        (void)glob(pattern, i > 0 ? GLOB_APPEND : 0, NULL, &cases);
    }
    if (cases.gl_pathc == 0) {
        puts("skipped: no generate.json of mini_gpt or gpt2 (GALLEY_FIXTURES)");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_texts_are_kerashubs, &cases),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    globfree(&cases);
    return failed;
}
