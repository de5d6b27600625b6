/* test_text_rows.c - texts become the samples that KerasHub's CausalLMPreprocessor makes of
 * them. */
#include "testing.h"

#include "data/corpus.h"
#include "data/stream.h"
#include "data_files.h"
#include "keras_fixture.h"
#include "text/tokenizer_files.h"

#include <glob.h>

/* The end token of the small vocabulary below; "!" is 0, "a" is 64, as in GPT-2's. */
enum { END = 257, BANG = 0, A = 64 };

/* All bytes, in GPT-2's order, the one merge there must be, and the end token. */
static struct tokenizer *byte_tokenizer(void)
{
    struct bytes json = {0};
    FILE *f = open_memstream(&json.data, &json.count);
    int id = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int byte = 0, other = 0; byte < 256; byte++) {
            const bool own = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
            const int code = own ? byte : 256 + other++;
            if (own != (pass == 0))
                continue;
            fprintf(f, "%s\"\\u%04x\": %d", id ? ", " : "{", code, id);
            id++;
        }
    }
    fprintf(f, ", \"zq\": 256, \"<|endoftext|>\": %d}", END);
    fclose(f);
    struct tokenizer *tokenizer;
    assert_ok(tokenizer_create_bpe(&tokenizer, json.data, json.count, "z q", 3, "bytes",
                                   &(struct bpe_options){0}));
    free(json.data);
    return tokenizer;
}

struct expected {
    int32_t tokens[8], targets[8];
    uint8_t keys[8], losses[8];
};

/* One text as one sample of T tokens. */
static void check_row(const struct tokenizer *tokenizer, const char *text, int T, bool add_start,
                      bool add_end, const struct expected *expected)
{
    char *folder = folder_create();
    char *path = file_write(folder, "text.txt", text, strlen(text));
    struct corpus *corpus;
    struct stream *stream;
    struct batch batch;
    double waited_s;
    assert_ok(corpus_open(&corpus, &(struct corpus_options){
        .data = {.inputs = (const char *const *)&path, .input_count = 1, .min_bytes = 1,
                 .temporary_folder = folder, .name = "training"},
        .tokenizer = tokenizer, .T = T, .vocabulary_size = END + 1,
        .format = TEXT_CAUSAL_LM, .add_start = add_start, .add_end = add_end}));
    assert_ok(stream_open(&stream, &(struct stream_options){
        .blend = corpus_blend(corpus), .T = T, .global_batch = 1, .micro_batch = 1,
        .world_size = 1, .threads = 1, .prefetch = 2, .epochs = 1}, 0, 0));
    assert_ok(stream_read(stream, &batch, &waited_s));
    assert_int_equal(batch.rows, 1);
    const size_t n = (size_t)T;
    assert_memory_equal(batch.tokens, expected->tokens, n * sizeof *batch.tokens);
    assert_memory_equal(batch.targets, expected->targets, n * sizeof *batch.targets);
    assert_memory_equal(batch.key_mask, expected->keys, n);
    assert_memory_equal(batch.loss_mask, expected->losses, n);
    assert_memory_equal(batch.metric_mask, expected->losses, n);
    stream_close(stream);
    corpus_close(corpus);
    free(path);
    folder_remove(folder);
}

static void test_both_ends_are_tokens_and_padding_is_none(void **state)
{
    (void)state;
    struct tokenizer *t = byte_tokenizer();
    check_row(t, "!a\n", 6, true, true, &(struct expected){
        .tokens = {END, BANG, A, END}, .targets = {BANG, A, END},
        .keys = {1, 1, 1, 1}, .losses = {1, 1, 1}});
    check_row(t, "!a\n", 6, true, false, &(struct expected){
        .tokens = {END, BANG, A}, .targets = {BANG, A}, .keys = {1, 1, 1}, .losses = {1, 1}});
    check_row(t, "!a\n", 6, false, true, &(struct expected){
        .tokens = {BANG, A, END}, .targets = {A, END}, .keys = {1, 1, 1}, .losses = {1, 1}});
    check_row(t, "!\n", 6, false, false, &(struct expected){.tokens = {BANG}, .keys = {1}});
    tokenizer_destroy(t);
}

static void test_the_end_token_survives_truncation(void **state)
{
    (void)state;
    struct tokenizer *t = byte_tokenizer();
    check_row(t, "aaaaaaaaaaaa\n", 4, true, true, &(struct expected){
        .tokens = {END, A, A, A}, .targets = {A, A, A, END}, .keys = {1, 1, 1, 1},
        .losses = {1, 1, 1, 1}});
    check_row(t, "aaa\n", 4, true, true, &(struct expected){    /* fits exactly */
        .tokens = {END, A, A, A}, .targets = {A, A, A, END}, .keys = {1, 1, 1, 1},
        .losses = {1, 1, 1, 1}});
    check_row(t, "aaaaaaaaaaaa\n", 4, true, false, &(struct expected){
        .tokens = {END, A, A, A}, .targets = {A, A, A, A}, .keys = {1, 1, 1, 1},
        .losses = {1, 1, 1, 1}});
    tokenizer_destroy(t);
}

static void test_a_tokenizer_without_an_end_token_ends_with_the_text(void **state)
{
    (void)state;
    static const char vocabulary[] = "[PAD]\n[UNK]\n[BOS]\na\nb\n";
    struct tokenizer *t;
    assert_ok(tokenizer_create_wordpiece(&t, vocabulary, strlen(vocabulary), "five",
                                         &(struct wordpiece_options){.split = true}));
    check_row(t, "a b\n", 4, true, true, &(struct expected){
        .tokens = {2, 3, 4}, .targets = {3, 4}, .keys = {1, 1, 1}, .losses = {1, 1}});
    tokenizer_destroy(t);
}

/* ---- the arrays of GPT2CausalLMPreprocessor ---- */

static void check_fixture(const char *path)
{
    struct keras_fixture fixture;
    struct batch expected, batch;
    struct tokenizer *tokenizer;
    struct corpus *corpus;
    struct stream *stream;
    char preset[700];
    double waited_s;
    print_message("%s\n", path);
    snprintf(preset, sizeof preset, "%.*s/preset", (int)(strrchr(path, '/') - path), path);
    assert_ok(tokenizer_open(&tokenizer, preset, NULL, &(struct wordpiece_options){0},
                             &(struct bpe_options){0}));
    keras_fixture_open(&fixture, path);
    keras_fixture_gpt2_batch(&fixture, &expected);
    char *folder = folder_create(), *lines = keras_fixture_texts(&fixture);
    char *text = file_write(folder, "texts.txt", lines, strlen(lines));
    assert_ok(corpus_open(&corpus, &(struct corpus_options){
        .data = {.inputs = (const char *const *)&text, .input_count = 1, .min_bytes = 1,
                 .temporary_folder = folder, .name = "training"},
        .tokenizer = tokenizer, .T = expected.T, .vocabulary_size = fixture.spec.V,
        .format = TEXT_CAUSAL_LM, .add_start = true, .add_end = true}));
    assert_ok(stream_open(&stream, &(struct stream_options){
        .blend = corpus_blend(corpus), .T = expected.T, .global_batch = expected.B,
        .micro_batch = expected.B, .world_size = 1, .threads = 1, .prefetch = 2, .epochs = 1},
        0, 0));
    assert_ok(stream_read(stream, &batch, &waited_s));
    const size_t N = (size_t)expected.B * (size_t)expected.T;
    assert_int_equal(batch.rows, expected.rows);
    assert_memory_equal(batch.tokens, expected.tokens, N * sizeof *batch.tokens);
    assert_memory_equal(batch.targets, expected.targets, N * sizeof *batch.targets);
    assert_memory_equal(batch.key_mask, expected.key_mask, N);
    assert_memory_equal(batch.loss_mask, expected.loss_mask, N);
    assert_memory_equal(batch.metric_mask, expected.metric_mask, N);
    stream_close(stream);
    corpus_close(corpus);
    free(text);
    free(lines);
    folder_remove(folder);
    keras_fixture_free(&expected);
    keras_fixture_close(&fixture);
    tokenizer_destroy(tokenizer);
}

static void test_rows_are_those_of_keras(void **state)
{
    (void)state;
    char folder[512], pattern[600];
    glob_t cases;
    if (!fixtures_folder("gpt2", folder, sizeof folder)) {
        print_message("skipped: no fixtures (GALLEY_FIXTURES)\n");
        skip();
    }
    snprintf(pattern, sizeof pattern, "%s/*/reference.h5", folder);
    assert_int_equal(glob(pattern, 0, NULL, &cases), 0);
    for (size_t i = 0; i < cases.gl_pathc; i++)
        check_fixture(cases.gl_pathv[i]);
    globfree(&cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ends_are_tokens_and_padding_is_none),
        cmocka_unit_test(test_the_end_token_survives_truncation),
        cmocka_unit_test(test_a_tokenizer_without_an_end_token_ends_with_the_text),
        cmocka_unit_test(test_rows_are_those_of_keras),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
