/* test_config.c - the configuration: defaults, YAML, overrides, and errors that help. */
#include "testing.h"

#include "base/config.h"

static struct config *parse(const char *yaml)
{
    struct config *c;
    assert_ok(config_parse(&c, yaml, "test.yaml", NULL, 0));
    return c;
}

#define assert_refused(yaml, part)                                                                 \
    do {                                                                                           \
        struct config *refused_ = NULL;                                                            \
        assert_fails(config_parse(&refused_, yaml, "test.yaml", NULL, 0), part);                   \
    } while (0)

static void test_defaults_are_the_examples(void **state)
{
    (void)state;
    struct config *c = parse("");
    assert_int_equal(c->model.vocabulary_size, 5000);
    assert_int_equal(c->model.heads, 3);
    assert_int_equal(c->train.global_batch, 64);
    assert_true(c->optimizer.epsilon > 0.99e-7 && c->optimizer.epsilon < 1.01e-7);
    assert_int_equal(c->tokenizer.reserved.count, 3);
    assert_string_equal(c->tokenizer.reserved.items[2], "[BOS]");
    config_destroy(c);
}

static void test_a_preset_sets_sizes_that_keys_override(void **state)
{
    (void)state;
    struct config *c = parse("model:\n  layers: 3\n  preset: gpt2_medium_en\n");
    assert_string_equal(c->model.family, "gpt2");
    assert_int_equal(c->model.vocabulary_size, 50257);
    assert_int_equal(c->model.channels, 1024);
    assert_int_equal(c->model.heads, 16);
    assert_int_equal(c->model.feed_forward, 4096);
    assert_int_equal(c->model.layers, 3);
    assert_int_equal(c->model.max_positions, 1024);
    assert_true(c->model.dropout > 0.0999 && c->model.dropout < 0.1001);

    char *yaml;    /* the printed one says all and is read back to the same */
    struct config *again;
    assert_ok(config_print(c, &yaml));
    config_destroy(c);
    const char *const overrides[] = {"--model.dropout=0"};
    assert_ok(config_parse(&again, yaml, "printed", overrides, 1));
    assert_int_equal(again->model.layers, 3);
    assert_int_equal(again->model.channels, 1024);
    assert_true(again->model.dropout <= 0);
    config_destroy(again);
    free(yaml);

    const char *const other[] = {"model.preset=gpt2_base_en"};
    assert_ok(config_parse(&c, "model:\n  preset: gpt2_large_en\n", "test.yaml", other, 1));
    assert_int_equal(c->model.layers, 12);
    config_destroy(c);
    assert_refused("model:\n  preset: gpt3\n", "gpt2_extra_large_en");
    assert_refused("model:\n  preset: gpt2_base_en\noptimizer:\n  token_moment: by_occurrence\n",
                   "set it to dense");
}

static void test_yaml_sets_values_lists_and_samples(void **state)
{
    (void)state;
    struct config *c = parse("data:\n  train: [a.txt, \"b, c.txt\"]\n  validation: v.txt\n"
                             "train:\n  precision: bf16\n  epochs: 2\n"
                             "sampling:\n  samples:\n    - prompt: \"Once: upon\"\n      k: 3\n"
                             "    - sampler: top_p\n      p: 0.25\n");
    assert_int_equal(c->data.train.count, 2);
    assert_string_equal(c->data.train.items[1], "b, c.txt");
    assert_int_equal(c->data.validation.count, 1);
    assert_string_equal(c->train.precision, "bf16");
    assert_int_equal(c->sampling.sample_count, 2);
    assert_string_equal(c->sampling.samples[0].prompt, "Once: upon");
    assert_string_equal(c->sampling.samples[0].sampler, "greedy");
    assert_string_equal(c->sampling.samples[1].sampler, "top_p");
    config_destroy(c);
}

static void test_overrides_win_over_the_file(void **state)
{
    (void)state;
    const char *const overrides[] = {"--train.epochs=7", "data.train=x, y",
                                     "--sampling.samples.0.prompt=Hello, you",
                                     "--optimizer.learning_rate=3e-4"};
    struct config *c;
    assert_ok(config_parse(&c, "train:\n  epochs: 2\n", "test.yaml", overrides, 4));
    assert_int_equal(c->train.epochs, 7);
    assert_int_equal(c->data.train.count, 2);
    assert_string_equal(c->data.train.items[1], "y");
    assert_string_equal(c->sampling.samples[0].prompt, "Hello, you");
    assert_true(c->optimizer.learning_rate > 2.9e-4 && c->optimizer.learning_rate < 3.1e-4);
    config_destroy(c);
}

static void test_printed_configuration_reads_back_the_same(void **state)
{
    (void)state;
    const char *const overrides[] = {
        "--run.folder= a: \"b\" \\ #c", "--optimizer.learning_rate=0.1234567890123",
        "--sampling.samples.0.prompt=two\nlines\ttab \x01 \xc3\xa9", "--data.train=p q,r:s",
    };
    struct config *c, *again;
    char *yaml, *yaml_again;
    assert_ok(config_parse(&c, "", "none", overrides, 4));
    assert_ok(config_print(c, &yaml));
    assert_ok(config_parse(&again, yaml, "printed", NULL, 0));
    assert_ok(config_print(again, &yaml_again));
    assert_string_equal(yaml, yaml_again);
    assert_string_equal(again->run.folder, c->run.folder);
    assert_string_equal(again->sampling.samples[0].prompt, c->sampling.samples[0].prompt);
    assert_memory_equal(&again->optimizer.learning_rate, &c->optimizer.learning_rate,
                        sizeof(double));
    free(yaml);
    free(yaml_again);
    config_destroy(c);
    config_destroy(again);
}

static void test_errors_name_place_key_and_remedy(void **state)
{
    (void)state;
    assert_refused("train:\n  epoch: 2\n", "test.yaml:2: there is no key train.epoch; the nearest "
                                           "is train.epochs");
    assert_refused("train:\n  learning_rate: 2\n", "the nearest is optimizer.learning_rate");
    assert_refused("trian:\n  epochs: 2\n", "no section trian");
    assert_refused("train:\n  epochs: many\n", "train.epochs is \"many\"; it must be a whole");
    assert_refused("train:\n  epochs: 1e3\n", "whole number");
    assert_refused("train:\n  epochs: 99999999999999999999\n", "whole number");
    assert_refused("train:\n  epochs: 0\n", "from 1 to");
    assert_refused("train:\n  precision: fp64\n", "one of fp32|bf16");
    assert_refused("train:\n  epochs: 1\n  epochs: 2\n", "second time");
    assert_refused("train:\n  epochs: [1]\n", "single value");
    assert_refused("train: 'abc\n", "this is not YAML");
    assert_refused("- a\n", "made of sections");
    assert_refused("train: &x\n  epochs: 1\ndata: *x\n", "aliases");
    assert_refused("data:\n  shuffle: maybe\n", "true or false");
    assert_refused("optimizer:\n  clip_norm: nan\n", "clip_norm");
    assert_refused("sampling:\n  samples:\n    - prompt: a\n      kk: 1\n", "the nearest is k");
    assert_refused("model:\n  heads: 300\n", "model.heads is 300");
    assert_refused("data:\n  sequence_length: 128\nmodel:\n  max_positions: 64\n",
                   "less than data.sequence_length");
    struct config *c;
    assert_fails(config_load(&c, "/nonexistent/x.yaml", NULL, 0), "/nonexistent/x.yaml");
    assert_fails(config_load(&c, "/", NULL, 0), "folder");
    const char *const bad[] = {"--train.epochs"};
    assert_fails(config_load(&c, NULL, bad, 1), "--section.key=value");
    const char *const far[] = {"--sampling.samples.3.prompt=x"};
    assert_fails(config_load(&c, NULL, far, 1), "the next is 0");
}

static void test_global_batch_must_divide_by_ranks(void **state)
{
    (void)state;
    struct config *c = parse("");
    assert_ok(config_check_ranks(c, 4));
    assert_fails(config_check_ranks(c, 3), "the nearest that can: 63 or 66");
    config_destroy(c);
    c = parse("train:\n  micro_batch: 16\n");
    assert_ok(config_check_ranks(c, 4));
    assert_fails(config_check_ranks(c, 8), "128");
    config_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_the_examples),
        cmocka_unit_test(test_a_preset_sets_sizes_that_keys_override),
        cmocka_unit_test(test_yaml_sets_values_lists_and_samples),
        cmocka_unit_test(test_overrides_win_over_the_file),
        cmocka_unit_test(test_printed_configuration_reads_back_the_same),
        cmocka_unit_test(test_errors_name_place_key_and_remedy),
        cmocka_unit_test(test_global_batch_must_divide_by_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
