/* test_preset_tokenizers.c - tokens added to a vocabulary are in the presets that are written of it,
 * or these are refused. */
#include "testing.h"

#include "data_files.h"
#include "presets/preset.h"
#include "text/bpe_vocabulary.h"

#include <cjson/cJSON.h>

/* The bytes, the end token, and two line feeds as one entry. */
enum { END = 256, FEEDS = 257, OWN = 258 };

static const char merges[] = "\u010A \u010A\n";
static const struct model_spec spec = {
    .family = MODEL_GPT2, .V = 300, .positions = 9, .C = 12, .NH = 3, .F = 10, .L = 1,
};

static void create_tokenizer(struct tokenizer **t, const char *added)
{
    char characters[256][3];
    cJSON *vocabulary = cJSON_CreateObject();
    bpe_byte_characters(characters);
    for (int b = 0; b < 256; b++)
        cJSON_AddNumberToObject(vocabulary, characters[b], b);
    cJSON_AddNumberToObject(vocabulary, "<|endoftext|>", END);
    cJSON_AddNumberToObject(vocabulary, "\u010A\u010A", FEEDS);
    char *text = cJSON_PrintUnformatted(vocabulary);
    assert_ok(tokenizer_create(t, &(struct tokenizer_definition){
        .kind = TOKENIZER_BPE, .name = "test", .vocabulary = text, .vocabulary_bytes = strlen(text),
        .merges = merges, .merges_bytes = strlen(merges), .added = added,
        .added_bytes = strlen(added)}));
    free(text);
    cJSON_Delete(vocabulary);
}

static struct error *write_preset(const char *folder, enum preset_kind kind, const char *added)
{
    struct tokenizer *t;
    struct parameters *p;
    create_tokenizer(&t, added);
    assert_ok(parameters_create(&p, &spec));
    float *weights = calloc((size_t)p->flat_count, sizeof *weights);
    struct error *e = preset_write(folder, kind, &(struct preset_content){
        .spec = &spec, .parameters = p, .weights = weights, .tokenizer = t});
    free(weights);
    parameters_destroy(p);
    tokenizer_destroy(t);
    return e;
}

/* What is written has the texts and the ids of the tokens. */
static void check_tokens(enum preset_kind kind, const char *added, const char *const *tokens,
                         int count)
{
    char *folder = folder_create();
    struct preset *preset;
    assert_ok(write_preset(folder, kind, added));
    assert_ok(preset_open(&preset, folder));
    const struct tokenizer *t = preset_tokenizer(preset);
    assert_int_equal(tokenizer_size(t), OWN + count);
    assert_int_equal(tokenizer_end_id(t), END);
    for (int i = 0; i < count; i++) {
        char *text;
        assert_int_equal(tokenizer_find(t, tokens[i]), OWN + i);
        assert_ok(tokenizer_decode(t, (const int32_t[]){OWN + i}, 1, &text, NULL));
        assert_string_equal(text, tokens[i]);
        free(text);
    }
    preset_close(preset);
    folder_remove(folder);
}

static void test_added_tokens_are_read_back(void **state)
{
    (void)state;
    static const char added[] = "[{\"id\": 258, \"content\": \"\\n\\n\\n\"}, "
                                "{\"id\": 259, \"content\": \"<my own>\", \"special\": true}, "
                                "{\"id\": 260, \"content\": \"caf\u00e9\"}]";
    static const char *const tokens[] = {"\n\n\n", "<my own>", "caf\u00e9"};
    check_tokens(PRESET_KERAS, added, tokens, 3);
    check_tokens(PRESET_HUGGING_FACE, added, tokens, 3);
}

/* As GPT-2 has "\n\n": the entry's bytes are the token's, and its key would be there twice. */
static void test_a_token_with_the_bytes_of_an_entry(void **state)
{
    (void)state;
    static const char added[] = "[{\"id\": 258, \"content\": \"\\n\\n\"}]";
    static const char *const tokens[] = {"\n\n"};
    char *folder = folder_create();
    assert_fails(write_preset(folder, PRESET_KERAS, added),
                 "cannot hold the added token 258, which it would write as \"\u010A\u010A\", as it "
                 "does another entry; convert with --to huggingface");
    folder_remove(folder);
    check_tokens(PRESET_HUGGING_FACE, added, tokens, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_added_tokens_are_read_back),
        cmocka_unit_test(test_a_token_with_the_bytes_of_an_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
