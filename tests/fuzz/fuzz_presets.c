/*
 * fuzz_presets.c - presets whose files are damaged: fuzz_presets [ROUNDS] [SEED].
 *
 * One file of a preset after the other is damaged at random. The preset must be refused with an
 * error that names it, or read without fault. Neither format has checksums, so damaged weights are
 * other weights; but where only the header or a configuration was damaged and the preset is still
 * accepted, the weights must be what they were.
 */
#include "testing.h"

#include "data_files.h"
#include "formats/output.h"
#include "presets/preset.h"

#include <stdbool.h>

static int rounds = 40;
static uint64_t random_state = 1;
static char *folder;

static const struct model_spec spec = {
    .family = MODEL_GPT2, .V = 300, .positions = 9, .C = 12, .NH = 3, .F = 10, .L = 2,
};

/* A preset of small weights with a byte-level tokenizer, written to the folder of the test. */
static char *write_preset(const char *name, enum preset_kind kind, uint64_t shard_bytes)
{
    char *path = path_in(folder, name), vocabulary[8192];
    struct output output;
    struct parameters *p;
    struct tokenizer *tokenizer;
    size_t used = (size_t)snprintf(vocabulary, sizeof vocabulary, "{\"<|endoftext|>\": 256");
    for (int b = 0, other = 0; b < 256; b++) {
        const bool own = (b > 32 && b < 127) || (b > 160 && b != 173);
        const int c = own ? b : 256 + other++;
        used += (size_t)snprintf(vocabulary + used, sizeof vocabulary - used, ", \"\\u%04x\": %d",
                                 (unsigned)c, b);
    }
    used += (size_t)snprintf(vocabulary + used, sizeof vocabulary - used, ", \"th\": 257}");
    assert_ok(tokenizer_create_bpe(&tokenizer, vocabulary, used, "t h\n", 4, "letters",
                                   &(struct bpe_options){0}));
    assert_ok(parameters_create(&p, &spec));
    float *weights = calloc((size_t)p->flat_count, sizeof *weights);
    parameters_initialize(p, 1, weights);
    assert_ok(output_begin(&output, path, kind != PRESET_KERAS_WEIGHTS, true));
    assert_ok(output_end(&output, preset_write(output.partial, kind, &(struct preset_content){
        .spec = &spec, .parameters = p, .weights = weights, .tokenizer = tokenizer,
        .shard_bytes = shard_bytes})));
    free(weights);
    parameters_destroy(p);
    tokenizer_destroy(tokenizer);
    return path;
}

/* The weights, for the caller to free; NULL and an error where the preset is refused. */
static struct error *load(const char *path, float **weights, int64_t *count)
{
    struct preset *preset;
    struct parameters *p = NULL;
    *weights = NULL;
    TRY(preset_open(&preset, path));
    struct error *e = parameters_create(&p, preset_spec(preset));
    if (!e) {
        *count = p->flat_count;
        *weights = malloc((size_t)p->flat_count * sizeof **weights);
        e = preset_read(preset, p, *weights);
    }
    parameters_destroy(p);
    preset_close(preset);
    return e;
}

static struct bytes damage(struct bytes whole, size_t end)
{
    struct bytes b = {.data = malloc(2 * whole.count + 1), .count = whole.count};
    const size_t at = (size_t)(noise(&random_state) % end), rest = b.count - at;
    size_t n = 1 + (size_t)(noise(&random_state) % 16);
    n = n < rest ? n : rest;
    memcpy(b.data, whole.data, whole.count);
    switch (noise(&random_state) % 5) {
    case 0:
        b.data[at] = (char)(b.data[at] ^ (1 << noise(&random_state) % 8));
        break;
    case 1:
        b.data[at] = (char)noise(&random_state);
        break;
    case 2:
        memmove(b.data + at, b.data + at + n, rest - n);
        b.count -= n;
        break;
    case 3:
        memmove(b.data + at + n, b.data + at, rest);
        b.count += n;
        break;
    case 4:
        b.count = at;
        break;
    }
    return b;
}

/* Damages the first `end` bytes of a preset's file (all where it is 0) in every round. */
static void hurt(const char *path, const char *name, size_t end, bool exact)
{
    char *file = path_in(path, name);
    const struct bytes whole = file_read(file);
    float *good, *found;
    int64_t count = 0, found_count = 0;
    int refused = 0;
    assert_ok(load(path, &good, &count));
    for (int i = 0; i < rounds; i++) {
        struct bytes bad = damage(whole, end > 0 ? end : whole.count);
        free(file_write(path, name, bad.data, bad.count));
        free(bad.data);
        struct error *e = load(path, &found, &found_count);
        if (e && !strstr(error_message(e), path))
            fail_msg("%s, round %d: \"%s\" does not name the preset", name, i, error_message(e));
        if (!e && exact &&
            (count != found_count || memcmp(good, found, (size_t)count * sizeof *good)))
            fail_msg("%s, round %d: accepted, and the weights are others", name, i);
        refused += e != NULL;
        error_destroy(e);
        free(found);
    }
    print_message("%s: %d of %d refused\n", name, refused, rounds);
    assert_true(refused > 0);
    free(file_write(path, name, whole.data, whole.count));
    assert_ok(load(path, &found, &found_count));
    free(found);
    free(good);
    free(whole.data);
    free(file);
}

static void test_damaged_keras_presets(void **state)
{
    (void)state;
    char *path = write_preset("keras", PRESET_KERAS, 0);
    hurt(path, "config.json", 0, true);
    hurt(path, "preprocessor.json", 0, true);
    hurt(path, "assets/tokenizer/vocabulary.json", 0, true);
    hurt(path, "assets/tokenizer/merges.txt", 0, true);
    hurt(path, "model.weights.h5", 0, false);
    free(path);
    path = write_preset("sharded", PRESET_KERAS, 4000);
    hurt(path, "model.weights.json", 0, true);
    hurt(path, "model_00001.weights.h5", 0, false);
    free(path);
}

static void test_damaged_hugging_face_models(void **state)
{
    (void)state;
    char *path = write_preset("hf", PRESET_HUGGING_FACE, 0);
    char *file = path_in(path, "model.safetensors");
    const struct bytes whole = file_read(file);
    const size_t header = 8 + (unsigned char)whole.data[0] + 256u * (unsigned char)whole.data[1];
    hurt(path, "config.json", 0, true);
    hurt(path, "vocab.json", 0, true);
    hurt(path, "model.safetensors", header, true);
    hurt(path, "model.safetensors", 0, false);
    free(whole.data);
    free(file);
    /* The same tokenizer in one file. */
    char *vocabulary = path_in(path, "vocab.json"), *merges = path_in(path, "merges.txt"), *json;
    const struct bytes entries = file_read(vocabulary);
    const int n = asprintf(&json, "{\"added_tokens\": [{\"id\": 256, \"content\": "
                           "\"<|endoftext|>\"}], \"pre_tokenizer\": {\"type\": \"ByteLevel\"}, "
                           "\"model\": {\"type\": \"BPE\", \"vocab\": %.*s, \"merges\": "
                           "[[\"t\", \"h\"]]}}", (int)entries.count,
                           entries.data);
    assert_true(n > 0);
    free(file_write(path, "tokenizer.json", json, (size_t)n));
    assert_false(remove(vocabulary) || remove(merges));
    hurt(path, "tokenizer.json", 0, true);
    free(vocabulary);
    free(merges);
    free(json);
    free(entries.data);
    free(path);
    path = write_preset("hf-sharded", PRESET_HUGGING_FACE, 4000);
    hurt(path, "model.safetensors.index.json", 0, true);
    free(path);
}

static int setup(void **state)
{
    (void)state;
    folder = folder_create();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    if (argc > 2)
        random_state = (uint64_t)atoll(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged_keras_presets),
        cmocka_unit_test(test_damaged_hugging_face_models),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
