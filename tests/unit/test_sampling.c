/* test_sampling.c - the sampling callback: rows of samples.jsonl, what is printed or refused. */
#include "testing.h"

#include "data_files.h"
#include "device/device.h"
#include "json_fixture.h"
#include "kernels/kernels.h"
#include "train/sampling.h"

static const struct model_spec SPEC = {
    .family = MODEL_MINI_GPT, .V = 8, .positions = 12, .C = 8, .NH = 2, .F = 8, .L = 1,
};
static const char VOCABULARY[] = "[PAD]\n[UNK]\n[BOS]\na\nb\n##a\n\"\n\\\n";

struct rig {
    char *path;
    struct run_folder *folder;
    struct device *device;
    struct model *model;
    struct tokenizer *tokenizer;
    FILE *out;
    char *printed;
    size_t printed_bytes;
};

static void rig_open(struct rig *rig)
{
    const struct kernels *kernels;
    rig->path = folder_create();
    assert_ok(run_folder_open(&rig->folder, rig->path));
    assert_ok(run_folder_start_logs(rig->folder, -1));
    assert_ok(device_open(&rig->device, &(struct device_options){
        .kind = "cpu", .threads = 1, .local_size = 1}));
    assert_ok(kernels_for(&kernels, rig->device, DTYPE_F32));
    assert_ok(model_create(&rig->model, rig->device, kernels, &SPEC,
                           &(struct model_options){.B = 1, .T = 1}));
    parameters_initialize(model_parameters(rig->model), 5, model_weights(rig->model));
    model_weights_changed(rig->model);
    assert_ok(tokenizer_create_wordpiece(&rig->tokenizer, VOCABULARY, strlen(VOCABULARY), "words",
                                         &(struct wordpiece_options){.split = true}));
    rig->out = tmpfile();
}

static void rig_close(struct rig *rig)
{
    fclose(rig->out);
    tokenizer_destroy(rig->tokenizer);
    model_destroy(rig->model);
    device_close(rig->device);
    run_folder_close(rig->folder);
    folder_remove(rig->path);
}

static struct config_sample sample_of(const char *sampler, const char *prompt)
{
    static char names[2][8][32];
    static int n;
    n = (n + 1) % 8;
    snprintf(names[0][n], sizeof names[0][n], "%s", sampler);
    snprintf(names[1][n], sizeof names[1][n], "%s", prompt);
    return (struct config_sample){
        .sampler = names[0][n], .prompt = names[1][n], .p = 0.5, .beams = 3, .temperature = 0.7,
        .seed = (1ll << 53) + 1,
    };
}

static struct sampling_options options_of(const struct rig *rig,
                                          const struct config_sample *samples, int count)
{
    return (struct sampling_options){
        .when = {.every_epochs = 1}, .samples = samples, .sample_count = count,
        .sequence_length = 10, .model = rig->model, .tokenizer = rig->tokenizer,
        .folder = rig->folder, .out = rig->out,
    };
}

static void test_each_sample_is_a_row_that_tells_its_settings(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct config_sample samples[] = {
        sample_of("greedy", "a"), sample_of("random", ""), sample_of("top_k", "a \"b\\"),
        sample_of("top_p", "b"), sample_of("beam", "b"),
    };
    samples[3].max_length = 4;
    const struct sampling_options options = options_of(&rig, samples, 5);
    struct callback callback;
    assert_ok(sampling_callback(&callback, &options));
    assert_ok(callback.run(callback.self, &(struct step_report){
        .step = 7, .epoch = 1, .step_in_epoch = 2, .steps_per_epoch = 4}));
    callback.destroy(callback.self);

    static const char *const expected[] = {
        "{\"step\":7,\"epoch\":1.5,\"sampler\":\"greedy\",\"row\":0,\"max_length\":10,"
        "\"prompt\":\"a\",\"text\":\"",
        "{\"step\":7,\"epoch\":1.5,\"sampler\":\"random\",\"temperature\":0.7,"
        "\"seed\":9007199254740993,\"row\":0,\"max_length\":10,\"prompt\":\"\",\"text\":\"",
        "{\"step\":7,\"epoch\":1.5,\"sampler\":\"top_k\",\"k\":5,\"temperature\":0.7,"
        "\"seed\":9007199254740993,\"row\":0,\"max_length\":10,\"prompt\":\"a \\\"b\\\\\","
        "\"text\":\"a \\\" b \\\\",
        "{\"step\":7,\"epoch\":1.5,\"sampler\":\"top_p\",\"p\":0.5,\"temperature\":0.7,"
        "\"seed\":9007199254740993,\"row\":0,\"max_length\":4,\"prompt\":\"b\",\"text\":\"b",
        "{\"step\":7,\"epoch\":1.5,\"sampler\":\"beam\",\"beams\":3,\"temperature\":0.7,\"row\":0,"
        "\"max_length\":10,\"log_probability\":-",
    };
    char *log = path_in(rig.path, "samples.jsonl");
    struct bytes rows = file_read(log);
    char *row = rows.data;
    for (int i = 0; i < 5; i++) {
        char *end = memchr(row, '\n', (size_t)(rows.data + rows.count - row));
        assert_non_null(end);
        *end = '\0';
        if (strncmp(row, expected[i], strlen(expected[i])))
            fail_msg("row %d is %s, expected %s", i, row, expected[i]);
        cJSON *json = cJSON_Parse(row);
        const char *text = json_string(json, "text");
        if (!strcmp(json_string(json, "sampler"), "top_p")) {
            int words = 0;
            for (const char *c = text; *c; c++)
                words += *c == ' ';
            assert_true(words <= 2);
        }
        cJSON_Delete(json);
        row = end + 1;
    }
    assert_int_equal(row - rows.data, rows.count);
    free(rows.data);
    free(log);
    rig_close(&rig);
}

static void test_the_same_model_writes_the_same_texts_again(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    const struct config_sample samples[] = {sample_of("random", "a"), sample_of("beam", "b")};
    const struct sampling_options options = options_of(&rig, samples, 2);
    struct callback callback;
    char printed[2][2048];
    size_t bytes[2];
    for (int run = 0; run < 2; run++) {
        rewind(rig.out);
        assert_ok(sampling_callback(&callback, &options));
        assert_ok(callback.run(callback.self, &(struct step_report){.step = 0}));
        callback.destroy(callback.self);
        rewind(rig.out);
        bytes[run] = fread(printed[run], 1, sizeof printed[run], rig.out);
    }
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(printed[0], printed[1], bytes[0]);
    assert_int_equal(strncmp(printed[0], "sample  step 0  random, temperature 0.7, seed ", 46), 0);
    rig_close(&rig);
}

static void assert_refused(const struct rig *rig, const struct config_sample *bad,
                           const char *message)
{
    const struct config_sample samples[] = {sample_of("greedy", "a"), *bad};
    const struct sampling_options options = options_of(rig, samples, 2);
    struct callback callback;
    assert_fails(sampling_callback(&callback, &options), message);
}

static void test_a_bad_sample_is_named(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct config_sample sample = sample_of("best", "a");
    assert_refused(&rig, &sample, "sampling.samples.1: there is no sampler \"best\"");
    sample = sample_of("greedy", "a");
    sample.max_length = 13;
    assert_refused(&rig, &sample,
                   "sampling.samples.1: max_length is 13; the model has 12 positions");
    sample = sample_of("top_p", "a");
    sample.p = 2;
    assert_refused(&rig, &sample, "sampling.samples.1: top_p's p is 2");
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_sample_is_a_row_that_tells_its_settings),
        cmocka_unit_test(test_the_same_model_writes_the_same_texts_again),
        cmocka_unit_test(test_a_bad_sample_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
