/* test_tokenizer_json.c - a tokenizer.json gives the ids of the vocab.json and merges.txt it was
 * made of. */
#include "testing.h"

#include "data_files.h"
#include "text/tokenizer_files.h"

enum { END = 256, TH = 257, PAD = 260, OWN = 261 };

/* All bytes in their order, the end token, and what three merges make. */
static char *vocabulary_text(void)
{
    char *text;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    fprintf(f, "{\"<|endoftext|>\": %d", END);
    for (int b = 0, other = 0; b < 256; b++) {
        const bool own = (b > 32 && b < 127) || (b > 160 && b != 173);
        fprintf(f, ", \"\\u%04x\": %d", own ? b : 256 + other++, b);
    }
    fputs(", \"th\": 257, \"the\": 258, \"\\u0120the\": 259}", f);
    fclose(f);
    return text;
}

static const char as_lists[] = "[[\"t\", \"h\"], [\"th\", \"e\"], [\"\\u0120\", \"the\"]]",
                  as_texts[] = "[\"t h\", \"th e\", \"\\u0120 the\"]",
                  byte_level[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": true}",
                  added[] = "[{\"id\": 256, \"content\": \"<|endoftext|>\"}, {\"id\": 260, \"content\": \"[PAD]\"}, "
                            "{\"id\": 261, \"content\": \"<my own>\"}]";

/* What a file says; NULL: what GPT-2's says. */
struct parts {
    const char *merges, *added, *split, *normalizer, *of_model;
};

static struct error *open_json(struct tokenizer **out, const struct parts *p)
{
    char *folder = folder_create(), *vocabulary = vocabulary_text(), *text;
    const int n = asprintf(&text, "{\"version\": \"1.0\", \"added_tokens\": %s, \"normalizer\": %s, "
                           "\"pre_tokenizer\": %s, \"model\": {\"type\": \"BPE\", \"dropout\": null%s, "
                           "\"vocab\": %s, \"merges\": %s}}", p->added ? p->added : "[]",
                           p->normalizer ? p->normalizer : "null", p->split ? p->split : byte_level,
                           p->of_model ? p->of_model : "", vocabulary,
                           p->merges ? p->merges : as_lists);
    assert_true(n > 0);
    free(file_write(folder, "tokenizer.json", text, (size_t)n));
    struct error *e = tokenizer_open(out, folder, NULL, &(struct wordpiece_options){0},
                                     &(struct bpe_options){0});
    folder_remove(folder);
    free(vocabulary);
    free(text);
    return e;
}

static int encode(const struct tokenizer *t, const char *text, int32_t *ids)
{
    struct encoder *encoder;
    int count;
    assert_ok(encoder_create(&encoder, t));
    assert_ok(encoder_encode(encoder, text, strlen(text), ids, 64, &count));
    encoder_destroy(encoder);
    return count;
}

static void test_ids_are_those_of_the_two_files(void **state)
{
    (void)state;
    static const char text[] = "the them<|endoftext|> th\xc3\xa9";
    struct tokenizer *two, *lists, *texts;
    int32_t expected[64], found[64];
    char *vocabulary = vocabulary_text();
    static const char merges[] = "t h\nth e\n\xc4\xa0 the\n";
    assert_ok(tokenizer_create_bpe(&two, vocabulary, strlen(vocabulary), merges, strlen(merges), "two",
                                   &(struct bpe_options){0}));
    assert_ok(open_json(&lists, &(struct parts){.added = added}));
    assert_ok(open_json(&texts, &(struct parts){.merges = as_texts}));
    const int count = encode(two, text, expected);
    assert_int_equal(expected[0], TH + 1);
    assert_int_equal(expected[1], TH + 2);
    assert_int_equal(encode(lists, text, found), count);
    assert_memory_equal(found, expected, (size_t)count * sizeof *found);
    assert_int_equal(encode(texts, text, found), count);
    assert_memory_equal(found, expected, (size_t)count * sizeof *found);
    assert_int_equal(tokenizer_end_id(lists), END);
    assert_int_equal(tokenizer_size(texts), tokenizer_size(two));
    tokenizer_destroy(two);
    tokenizer_destroy(lists);
    tokenizer_destroy(texts);
    free(vocabulary);
}

static void test_added_tokens_are_decoded(void **state)
{
    (void)state;
    struct tokenizer *t;
    char *text;
    assert_ok(open_json(&t, &(struct parts){.added = added}));
    assert_int_equal(tokenizer_size(t), OWN + 1);
    assert_ok(tokenizer_decode(t, (const int32_t[]){TH, PAD, OWN}, 3, &text, NULL));
    assert_string_equal(text, "th[PAD]<my own>");
    free(text);
    tokenizer_destroy(t);
}

static void test_other_tokenizers_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct parts parts;
        const char *part;
    } cases[] = {
        {{.merges = "[[\"t\", \"h\", \"e\"]]"}, "merge 1 must be"},
        {{.merges = "[\"t h\", 7]"}, "merge 2 must be"},
        {{.merges = "[[\"t\", \"x y\"]]"}, "merge 1 must be"},
        {{.merges = "[[\"t\", \"x\"]]"}, "needs \"tx\""},
        {{.merges = "{}"}, "the list \"merges\""},
        {{.added = "[{\"id\": 3, \"content\": \"<|endoftext|>\"}]"}, "the id 256 in the vocabulary and 3"},
        {{.added = "[{\"id\": 270, \"content\": \"[PAD]\"}]"}, "must be a whole number from 0 to 260"},
        {{.added = "[{\"content\": \"[PAD]\"}]"}, "each of added_tokens"},
        {{.split = "{\"type\": \"Metaspace\"}"}, "its pre_tokenizer is Metaspace"},
        {{.split = "null"}, "its pre_tokenizer is missing"},
        {{.split = "{\"type\": \"ByteLevel\", \"add_prefix_space\": true}"}, "adds a space"},
        {{.normalizer = "{\"type\": \"NFC\"}"}, "it has a normalizer"},
        {{.of_model = ", \"ignore_merges\": true"}, "\"ignore_merges\" is true"},
        {{.of_model = ", \"end_of_word_suffix\": \"</w>\""}, "\"end_of_word_suffix\" is given"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tokenizer *t;
        assert_fails(open_json(&t, &cases[i].parts), cases[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_are_those_of_the_two_files),
        cmocka_unit_test(test_added_tokens_are_decoded),
        cmocka_unit_test(test_other_tokenizers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
