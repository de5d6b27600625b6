/* test_presets.c - presets of KerasHub and Hugging Face: read as the originals, written and read
 * back, and refused with one clear error where something is wrong with them. */
#include "testing.h"

#include "data_files.h"
#include "device/device.h"
#include "formats/h5_catalog.h"
#include "formats/output.h"
#include "kernels/kernels.h"
#include "keras_fixture.h"
#include "model/gpt.h"
#include "presets/preset.h"

#include <glob.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

static char *folder;
static char root[2048];    /* the fixtures; empty: none here */

/* A preset, its weights and what goes with them. */
struct loaded {
    struct preset *preset;
    struct parameters *parameters;
    float *weights;
};

static struct error *load(struct loaded *l, const char *path)
{
    *l = (struct loaded){0};
    TRY(preset_open(&l->preset, path));
    TRY(parameters_create(&l->parameters, preset_spec(l->preset)));
    l->weights = malloc((size_t)l->parameters->flat_count * sizeof *l->weights);
    return preset_read(l->preset, l->parameters, l->weights);
}

static void release(struct loaded *l)
{
    free(l->weights);
    parameters_destroy(l->parameters);
    preset_close(l->preset);
}

static void assert_weights(const char *name, const struct loaded *l, const float *expected)
{
    for (int i = 0; i < l->parameters->n; i++) {
        const struct parameter *t = &l->parameters->list[i];
        if (memcmp(l->weights + t->offset, expected + t->offset, (size_t)t->count * sizeof(float)))
            fail_msg("%s: %s is not bit for bit what it must be", name, t->name);
    }
}

static void walk(const char *pattern, void (*check)(const char *path))
{
    char full[4096];
    glob_t found;
    if (!*root)
        skip();
    snprintf(full, sizeof full, "%s/%s", root, pattern);
    if (glob(full, 0, NULL, &found))
        fail_msg("no fixture is like %s", full);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check(found.gl_pathv[i]);
    globfree(&found);
}

/* ---- against the originals ---- */

/* Presets and files of one case hold the weights of its reference.h5. */
static void check_gpt2(const char *case_path)
{
    static const char *const names[] = {
        "preset", "preset_sharded", "backbone.weights.h5", "causal_lm.weights.h5",
    };
    char path[4096];
    struct keras_fixture fixture;
    snprintf(path, sizeof path, "%s/reference.h5", case_path);
    keras_fixture_open(&fixture, path);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct loaded l;
        snprintf(path, sizeof path, "%s/%s", case_path, names[i]);
        assert_ok(load(&l, path));
        assert_ok(spec_compare(preset_spec(l.preset), &fixture.spec));
        assert_int_equal(preset_tokenizer(l.preset) != NULL, i < 2);
        float *expected = calloc((size_t)l.parameters->flat_count, sizeof *expected);
        keras_fixture_tensors(&fixture, "weights", l.parameters, expected);
        assert_weights(path, &l, expected);
        free(expected);
        release(&l);
    }
    keras_fixture_close(&fixture);
}

static void test_gpt2_presets_hold_their_models(void **state)
{
    (void)state;
    walk("gpt2/*/", check_gpt2);
}

static void check_mini_gpt(const char *path)
{
    char reference[4096];
    struct keras_fixture fixture;
    struct loaded l;
    snprintf(reference, sizeof reference, "%.*s.h5", (int)(strlen(path) - strlen(".weights.h5")),
             path);
    keras_fixture_open(&fixture, reference);
    assert_ok(load(&l, path));
    assert_ok(spec_compare(preset_spec(l.preset), &fixture.spec));
    float *expected = calloc((size_t)l.parameters->flat_count, sizeof *expected);
    keras_fixture_tensors(&fixture, "weights", l.parameters, expected);
    assert_weights(path, &l, expected);
    free(expected);
    release(&l);
    keras_fixture_close(&fixture);
}

static void test_weights_of_the_mini_gpt_hold_their_models(void **state)
{
    (void)state;
    walk("mini_gpt/*.weights.h5", check_mini_gpt);
}

/* The logits of transformers, wherever its attention mask is 1. */
static void compare_logits(const char *name, const struct loaded *l, const char *reference)
{
    struct catalog catalog = {0};
    struct device *device;
    const struct kernels *kernels;
    struct model *model;
    assert_ok(h5_catalog(&catalog, reference));
    assert_ok(catalog_finish(&catalog));
    const struct catalog_tensor *t = catalog_find(&catalog, "/logits");
    const int B = (int)t->shape[0], T = (int)t->shape[1], V = (int)t->shape[2];
    const size_t N = (size_t)B * (size_t)T;
    float *expected = malloc(N * (size_t)V * sizeof *expected);
    float *found = malloc(N * (size_t)V * sizeof *found);
    int32_t *tokens = calloc(2 * N, sizeof *tokens), *mask = tokens + N;
    uint8_t *ones = malloc(N);
    memset(ones, 1, N);
    assert_ok(catalog_read(&catalog, t, expected));
    const struct keras_fixture file = {.file = H5Fopen(reference, H5F_ACC_RDONLY, H5P_DEFAULT)};
    keras_fixture_ints(&file, "token_ids", tokens, (int64_t)N);
    keras_fixture_ints(&file, "attention_mask", mask, (int64_t)N);
    H5Fclose(file.file);

    assert_ok(device_open(&device, &(struct device_options){.kind = "cpu"}));
    assert_ok(kernels_for(&kernels, device, DTYPE_F32));
    assert_ok(model_create(&model, device, kernels, preset_spec(l->preset),
                           &(struct model_options){.B = B, .T = T}));
    memcpy(model_weights(model), l->weights,
           (size_t)l->parameters->flat_count * sizeof *l->weights);
    model_weights_changed(model);
    assert_ok(model_logits(model, &(struct batch){
        .B = B, .T = T, .rows = B, .tokens = tokens, .targets = tokens, .key_mask = ones,
        .loss_mask = ones, .metric_mask = ones}, found));
    for (size_t i = 0; i < N; i++)
        if (mask[i])
            assert_close(name, found + i * (size_t)V, expected + i * (size_t)V, V, 1e-5);
    model_destroy(model);
    device_close(device);
    free(ones);
    free(tokens);
    free(found);
    free(expected);
    catalog_release(&catalog);
}

/* Whole, in shards and without prefix it is one model, that of reference.h5. */
static void check_hugging_face(const char *case_path)
{
    static const char *const names[] = {"single", "sharded", "no_prefix"};
    char path[4096], reference[4096];
    struct loaded first = {0};
    snprintf(reference, sizeof reference, "%s/reference.h5", case_path);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct loaded l;
        snprintf(path, sizeof path, "%s/%s", case_path, names[i]);
        assert_ok(load(&l, path));
        assert_non_null(preset_tokenizer(l.preset));
        compare_logits(path, &l, reference);
        if (i == 0) {
            first = l;
            continue;
        }
        assert_weights(path, &l, first.weights);
        release(&l);
    }
    release(&first);
}

static void test_hugging_face_models_give_their_logits(void **state)
{
    (void)state;
    walk("hf/*/", check_hugging_face);
}

/* ---- back and forth ---- */

static const struct model_spec gpt2 = {
    .family = MODEL_GPT2, .V = 300, .positions = 9, .C = 12, .NH = 3, .F = 10, .L = 3,
    .dropout = 0.25f,
};
static const struct model_spec mini = {
    .family = MODEL_MINI_GPT, .V = 40, .positions = 8, .C = 11, .NH = 2, .F = 5, .L = 2,
};

/* Weights that every format of numbers holds exactly, no two tensors alike. */
static float *make_weights(const struct parameters *p)
{
    uint64_t random = 5;
    float *weights = calloc((size_t)p->flat_count, sizeof *weights);
    for (int i = 0; i < p->n; i++)
        for (int64_t k = 0; k < p->list[i].count; k++)
            weights[p->list[i].offset + k] = (float)(noise(&random) % 256) / 64 - 2;
    return weights;
}

static char *write_preset(const char *name, enum preset_kind kind, const struct model_spec *spec,
                          enum element_type type, uint64_t shard_bytes)
{
    char *path = path_in(folder, name);
    struct output output;
    struct parameters *p;
    assert_ok(parameters_create(&p, spec));
    float *weights = make_weights(p);
    assert_ok(output_begin(&output, path, kind != PRESET_KERAS_WEIGHTS, true));
    assert_ok(output_end(&output, preset_write(output.partial, kind, &(struct preset_content){
        .spec = spec, .parameters = p, .weights = weights, .type = type,
        .shard_bytes = shard_bytes})));
    free(weights);
    parameters_destroy(p);
    return path;
}

static void test_what_is_written_is_read_back_bit_for_bit(void **state)
{
    (void)state;
    const struct {
        const char *name;
        enum preset_kind kind;
        const struct model_spec *spec;
        uint64_t shard_bytes;
    } cases[] = {
        {"keras", PRESET_KERAS, &gpt2, 0},
        {"keras", PRESET_KERAS, &gpt2, 1000},
        {"hf", PRESET_HUGGING_FACE, &gpt2, 0},
        {"hf", PRESET_HUGGING_FACE, &gpt2, 1000},
        {"gpt2.weights.h5", PRESET_KERAS_WEIGHTS, &gpt2, 0},
        {"mini.weights.h5", PRESET_KERAS_WEIGHTS, &mini, 0},
    };
    static const enum element_type types[] = {ELEMENT_F32, ELEMENT_F16, ELEMENT_BF16};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int t = 0; t < 3; t++) {
            struct loaded l;
            char *path = write_preset(cases[i].name, cases[i].kind, cases[i].spec, types[t],
                                      cases[i].shard_bytes);
            assert_int_equal(preset_recognize(path), cases[i].kind);
            assert_ok(load(&l, path));
            assert_ok(spec_compare(preset_spec(l.preset), cases[i].spec));
            if (cases[i].kind != PRESET_KERAS_WEIGHTS)
                assert_true(preset_spec(l.preset)->dropout == 0.25f);
            float *expected = make_weights(l.parameters);
            assert_weights(path, &l, expected);
            free(expected);
            release(&l);
            free(path);
        }
    }
}

static void test_what_a_format_cannot_hold_is_refused(void **state)
{
    (void)state;
    const struct model_spec uneven = {
        .family = MODEL_GPT2, .V = 10, .positions = 4, .C = 7, .NH = 2, .F = 4, .L = 1,
    };
    const struct {
        const struct model_spec *spec;
        enum preset_kind kind;
        const char *part;
    } cases[] = {
        {&mini, PRESET_KERAS, "KerasHub has no preset for a model of the family mini-gpt"},
        {&mini, PRESET_HUGGING_FACE, "Hugging Face has no model of the family mini-gpt"},
        {&uneven, PRESET_HUGGING_FACE, "7 channels in 2 heads"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct parameters *p;
        assert_ok(parameters_create(&p, cases[i].spec));
        float *weights = make_weights(p);
        assert_fails(preset_write(folder, cases[i].kind, &(struct preset_content){
            .spec = cases[i].spec, .parameters = p, .weights = weights}), cases[i].part);
        free(weights);
        parameters_destroy(p);
    }
}

/* ---- bad presets ---- */

/* Replaces the first `old` in a file of `folder` by `new`. */
static void edit(const char *preset_path, const char *name, const char *old, const char *new)
{
    char *path = path_in(preset_path, name);
    const struct bytes whole = file_read(path);
    const char *at = memmem(whole.data, whole.count, old, strlen(old));
    if (!at)
        fail_msg("%s does not hold %s", path, old);
    FILE *f = fopen(path, "wb");
    fwrite(whole.data, 1, (size_t)(at - whole.data), f);
    fputs(new, f);
    const char *rest = at + strlen(old);
    fwrite(rest, 1, (size_t)(whole.data + whole.count - rest), f);
    fclose(f);
    free(whole.data);
    free(path);
}

static struct error *open_edited(enum preset_kind kind, const char *name, const char *old,
                                 const char *new)
{
    struct loaded l;
    char *path = write_preset("edited", kind, &gpt2, ELEMENT_F32, 0);
    edit(path, name, old, new);
    struct error *e = load(&l, path);
    if (e && !strstr(error_message(e), path))
        fail_msg("\"%s\" does not name the preset", error_message(e));
    release(&l);
    free(path);
    return e;
}

static void test_configurations_of_other_models_are_refused(void **state)
{
    (void)state;
    static const struct {
        enum preset_kind kind;
        const char *old, *new, *part;
    } cases[] = {
        {PRESET_KERAS, "keras_hub>GPT2Backbone", "keras_hub>GemmaBackbone",
         "config.json describes a keras_hub>GemmaBackbone"},
        {PRESET_KERAS, "\"vocabulary_size\": 300", "\"vocabulary_size\": 301",
         "reversible_embedding/vars/0 has shape (300, 12), expected (301, 12)"},
        {PRESET_KERAS, "\"num_heads\": 3", "\"num_heads\": 4",
         "query_dense/vars/0 has shape (12, 3, 4), expected (12, 4, 3)"},
        {PRESET_KERAS, "\"num_layers\": 3", "\"num_layers\": 2", "but the model has only 2 layers"},
        {PRESET_KERAS, "\"num_layers\": 3", "\"num_layers\": 4",
         "has no /layers/transformer_decoder_3"},
        {PRESET_KERAS, "\"num_layers\": 3", "\"num_layers\": 0.5", "\"num_layers\" is 0.5"},
        {PRESET_KERAS, "\"num_layers\": 3,", "", "\"num_layers\" is missing"},
        {PRESET_KERAS, "\"hidden_dim\": 12", "\"hidden_dim\": \"12\"", "of another kind"},
        {PRESET_KERAS, "\"hidden_dim\": 12", "\"hidden_dim\": 1e300", "\"hidden_dim\" is 1e+300"},
        {PRESET_KERAS, "\"num_heads\": 3", "\"num_heads\": 13", "13 heads need at least as many"},
        {PRESET_KERAS, "\"dropout\": 0.25", "\"dropout\": 1.5", "\"dropout\" is 1.5"},
        {PRESET_KERAS, "}", "", "config.json is not JSON"},
        {PRESET_HUGGING_FACE, "\"gpt2\"", "\"llama\"", "model_type is \"llama\""},
        {PRESET_HUGGING_FACE, "gelu_new", "relu", "activation_function is \"relu\""},
        {PRESET_HUGGING_FACE, "1e-05", "1e-06", "layer_norm_epsilon is 1e-06"},
        {PRESET_HUGGING_FACE, "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false",
         "tie_word_embeddings is false"},
        {PRESET_HUGGING_FACE, "\"n_inner\": 10", "\"n_inner\": null",
         "h.0.mlp.c_fc.weight has shape (12, 10), expected (12, 48)"},
        {PRESET_HUGGING_FACE, "\"n_head\": 3", "\"n_head\": 5", "not a multiple of n_head 5"},
        {PRESET_HUGGING_FACE, "\"n_layer\": 3", "\"n_layer\": 2",
         "but the model has only 2 layers"},
        {PRESET_HUGGING_FACE, "\"n_positions\": 9", "\"n_positions\": 8", "wpe.weight has shape"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_fails(open_edited(cases[i].kind, "config.json", cases[i].old, cases[i].new),
                     cases[i].part);
    assert_fails(open_edited(PRESET_HUGGING_FACE, "model.safetensors", "transformer.ln_f.bias",
                             "transformer.ln_f.bios"), "has no ln_f.bias, expected "
                             "with shape (12)");
}

static void test_deeply_nested_configurations_are_refused(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    char *deep = malloc(DEEP + 1);
    memset(deep, '[', DEEP);
    deep[DEEP] = '\0';
    assert_fails(open_edited(PRESET_KERAS, "config.json", "{", deep), "nested 100");
    free(deep);
}

static void test_incomplete_presets_are_refused(void **state)
{
    (void)state;
    struct preset *p;
    char *path = write_preset("sharded", PRESET_KERAS, &gpt2, ELEMENT_F32, 1000);
    char *shard = path_in(path, "model_00001.weights.h5");
    assert_int_equal(truncate(shard, 700), 0);
    assert_fails(preset_open(&p, path), "model_00001.weights.h5");
    assert_int_equal(unlink(shard), 0);
    assert_fails(preset_open(&p, path), "model_00001.weights.h5: No such file");
    free(shard);
    free(path);

    path = write_preset("cut", PRESET_HUGGING_FACE, &gpt2, ELEMENT_F32, 0);
    char *file = path_in(path, "model.safetensors");
    struct stat status;
    assert_int_equal(stat(file, &status), 0);
    assert_int_equal(truncate(file, status.st_size - 1), 0);
    assert_fails(preset_open(&p, path), "cut off or is damaged");
    assert_int_equal(unlink(file), 0);
    assert_fails(preset_open(&p, path), "model.safetensors: No such file");
    free(file_write(path, "pytorch_model.bin", "", 0));
    assert_fails(preset_open(&p, path), "pytorch_model.bin");
    free(file);
    free(path);

    assert_fails(preset_open(&p, folder), "is no KerasHub preset");
    assert_fails(preset_open(&p, "nowhere"), "nowhere is no KerasHub preset");
}

/* The tokenizer's files must be those of the model; the texts are a checkpoint's or a user's. */
static void test_a_tokenizer_must_fit(void **state)
{
    (void)state;
    struct preset *p;
    char *path = write_preset("tokens", PRESET_HUGGING_FACE, &gpt2, ELEMENT_F32, 0);
    free(file_write(path, "vocab.json", "{\"a\": 0}", 8));
    assert_fails(preset_open(&p, path), "merges.txt");
    free(file_write(path, "merges.txt", "a b\n", 4));
    assert_fails(preset_open(&p, path), path);
    free(path);
}

static void test_outputs_are_whole_or_not_there(void **state)
{
    (void)state;
    struct output output;
    char *path = write_preset("there", PRESET_HUGGING_FACE, &gpt2, ELEMENT_F32, 0);
    assert_fails(output_begin(&output, path, true, false), "is there already");
    assert_fails(output_begin(&output, path, false, true), "is a folder, and a file");
    free(file_write(path, "thesis.tex", "", 0));
    assert_fails(output_begin(&output, path, true, true), "holds thesis.tex, which is no part");

    char *fresh = path_in(folder, "fresh");
    assert_ok(output_begin(&output, fresh, true, false));
    free(file_write(output.partial, "half", "x", 1));
    assert_fails(output_end(&output, error_new(ERROR_IO, "the disk is full")), "the disk is full");
    assert_int_not_equal(access(fresh, F_OK), 0);
    assert_ok(output_begin(&output, fresh, true, false));
    assert_ok(output_end(&output, NULL));
    assert_int_equal(access(fresh, F_OK), 0);
    assert_fails(output_begin(&output, "", true, false), "not a name");
    free(fresh);
    free(path);
}

static int setup(void **state)
{
    (void)state;
    folder = folder_create();
    if (!fixtures_folder("", root, sizeof root))
        root[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2_presets_hold_their_models),
        cmocka_unit_test(test_weights_of_the_mini_gpt_hold_their_models),
        cmocka_unit_test(test_hugging_face_models_give_their_logits),
        cmocka_unit_test(test_what_is_written_is_read_back_bit_for_bit),
        cmocka_unit_test(test_what_a_format_cannot_hold_is_refused),
        cmocka_unit_test(test_configurations_of_other_models_are_refused),
        cmocka_unit_test(test_deeply_nested_configurations_are_refused),
        cmocka_unit_test(test_incomplete_presets_are_refused),
        cmocka_unit_test(test_a_tokenizer_must_fit),
        cmocka_unit_test(test_outputs_are_whole_or_not_there),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
