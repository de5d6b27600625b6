/* test_tokenizer_json.c - a tokenizer.json gives the ids of the vocab.json and merges.txt it was
 * made of, and its added tokens the ids that Hugging Face's tokenizers 0.23.3 gives them. */
#include "testing.h"

#include "data_files.h"
#include "text/tokenizer_files.h"
#include "text/tokenizer_json.h"

enum { END = 256, TH = 257, PAD = 260, OWN = 261 };

/* All bytes in their order, the end token or none, and what three merges make. */
static char *vocabulary_text(bool end_token)
{
    char *text;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    for (int b = 0, other = 0; b < 256; b++) {
        const bool own = (b > 32 && b < 127) || (b > 160 && b != 173);
        fprintf(f, "%s\"\\u%04x\": %d", b == 0 ? "{" : ", ", own ? b : 256 + other++, b);
    }
    const int next = end_token ? END + 1 : END;
    if (end_token)
        fprintf(f, ", \"<|endoftext|>\": %d", END);
    fprintf(f, ", \"th\": %d, \"the\": %d, \"\\u0120the\": %d}", next, next + 1, next + 2);
    fclose(f);
    return text;
}

static const char as_lists[] = "[[\"t\", \"h\"], [\"th\", \"e\"], [\"\\u0120\", \"the\"]]",
                  as_texts[] = "[\"t h\", \"th e\", \"\\u0120 the\"]",
                  byte_level[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                  "\"use_regex\": true}",
                  added[] = "[{\"id\": 256, \"content\": \"<|endoftext|>\"}, {\"id\": 260, "
                            "\"content\": \"[PAD]\"}, {\"id\": 261, \"content\": \"<my own>\"}]",
                  end_alone[] = "[{\"id\": 256, \"content\": \"<|endoftext|>\", \"single_word\": "
                                "false, \"lstrip\": false, \"rstrip\": false, \"normalized\": "
                                "true, \"special\": true}]",
                  of_all_kinds[] =
    "[{\"id\": 256, \"content\": \"<|endoftext|>\", \"special\": true},"
    "{\"id\": 260, \"content\": \"<mask>\", \"lstrip\": true, \"special\": true},"
    "{\"id\": 261, \"content\": \"<own thing>\"},"
    "{\"id\": 262, \"content\": \"cat\", \"single_word\": true, \"normalized\": true},"
    "{\"id\": 263, \"content\": \"<own\"},"
    "{\"id\": 264, \"content\": \"<r>\", \"rstrip\": true, \"normalized\": true},"
    "{\"id\": 265, \"content\": \"\\n\\n\", \"normalized\": true},"
    "{\"id\": 233, \"content\": \"\\u00e9\"}]";

/* What a file says; NULL: what GPT-2's says. */
struct parts {
    const char *merges, *added, *split, *normalizer, *of_model;
    bool no_end_token;    /* in the vocabulary */
};

static struct error *open_text(struct tokenizer **out, const char *text, size_t bytes,
                               bool special_as_text)
{
    char *folder = folder_create();
    free(file_write(folder, "tokenizer.json", text, bytes));
    struct error *e = tokenizer_open(out, folder, NULL, &(struct wordpiece_options){0},
                                     &(struct bpe_options){.special_as_text = special_as_text});
    folder_remove(folder);
    return e;
}

static char *json_text(const struct parts *p)
{
    char *vocabulary = vocabulary_text(!p->no_end_token), *text;
    const int n = asprintf(&text, "{\"version\": \"1.0\", \"added_tokens\": %s, \"normalizer\": "
                           "%s, \"pre_tokenizer\": %s, \"model\": {\"type\": \"BPE\", \"dropout\": "
                           "null%s, \"vocab\": %s, \"merges\": %s}}", p->added ? p->added : "[]",
                           p->normalizer ? p->normalizer : "null", p->split ? p->split : byte_level,
                           p->of_model ? p->of_model : "", vocabulary,
                           p->merges ? p->merges : as_lists);
    assert_true(n > 0);
    free(vocabulary);
    return text;
}

static struct error *open_json(struct tokenizer **out, const struct parts *p)
{
    char *text = json_text(p);
    struct error *e = open_text(out, text, strlen(text), false);
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
    char *vocabulary = vocabulary_text(true);
    static const char merges[] = "t h\nth e\n\xc4\xa0 the\n";
    assert_ok(tokenizer_create_bpe(&two, vocabulary, strlen(vocabulary), merges, strlen(merges),
                                   "two", &(struct bpe_options){0}));
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

/* What Hugging Face's tokenizers says, special ones found or (encode_special_tokens) not. */
static const struct {
    const char *text;
    bool special_as_text;
    int count;
    int32_t ids[24];
} encodings[] = {
    {"the<own thing>the", false, 3, {258, 261, 258}},
    {"<own things the <own th", false, 12,
     {263, 32, 257, 105, 110, 103, 115, 259, 32, 263, 32, 257}},
    {"the \011 <mask> the", false, 3, {258, 260, 259}},
    {"<r> \n the", false, 2, {264, 258}},
    {"cat concat cat\314\201 _cat cat.", false, 22,
     {262, 32, 99, 111, 110, 99, 97, 116, 32, 99, 97, 116, 204, 129, 32, 95, 99, 97, 116, 32, 262,
      46}},
    {"th\n\n\nthe", false, 4, {257, 265, 10, 258}},
    {"<r>\n\ncat", false, 3, {264, 265, 262}},
    {"<mask><mask>", false, 2, {260, 260}},
    {"the <|endoftext|>the", false, 4, {258, 32, 256, 258}},
    {"caf\303\251 <r>", false, 6, {99, 97, 102, 233, 32, 264}},
    {"<own", false, 1, {263}},
    {"<own<own thing>", false, 2, {263, 261}},
    {" <r> <mask> ", false, 4, {32, 264, 260, 32}},
    {"the<own thing>the", true, 3, {258, 261, 258}},
    {"the \011 <mask> the", true, 11, {258, 32, 9, 32, 60, 109, 97, 115, 107, 62, 259}},
    {"<r> \n the", true, 2, {264, 258}},
    {"<mask><mask>", true, 12, {60, 109, 97, 115, 107, 62, 60, 109, 97, 115, 107, 62}},
    {"the <|endoftext|>the", true, 16,
     {258, 32, 60, 124, 101, 110, 100, 111, 102, 116, 101, 120, 116, 124, 62, 258}},
    {" <r> <mask> ", true, 9, {32, 264, 60, 109, 97, 115, 107, 62, 32}},
};

static void check_encodings(const struct tokenizer *t, bool special_as_text)
{
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        int32_t ids[64];
        if (encodings[i].special_as_text != special_as_text)
            continue;
        const int count = encode(t, encodings[i].text, ids);
        if (count != encodings[i].count ||
            memcmp(ids, encodings[i].ids, (size_t)count * sizeof *ids)) {
            for (int k = 0; k < count; k++)
                print_error("%d ", (int)ids[k]);
            fail_msg("those are the ids of \"%s\", case %zu", encodings[i].text, i);
        }
    }
}

static void test_added_tokens_are_found_in_texts(void **state)
{
    (void)state;
    for (int special_as_text = 0; special_as_text < 2; special_as_text++) {
        struct tokenizer *t, *again;
        char *text = json_text(&(struct parts){.added = of_all_kinds});
        assert_ok(open_text(&t, text, strlen(text), special_as_text));
        free(text);
        check_encodings(t, special_as_text);

        size_t bytes;    /* what is written reads the same */
        assert_ok(tokenizer_json_write(t, &text, &bytes));
        assert_ok(open_text(&again, text, bytes, special_as_text));
        free(text);
        check_encodings(again, special_as_text);
        assert_int_equal(tokenizer_find(again, "<own thing>"), 261);
        assert_int_equal(tokenizer_size(again), 266);
        tokenizer_destroy(t);
        tokenizer_destroy(again);
    }
}

/* The first ids of a text are those of the whole text, wherever it is cut. */
static void test_few_ids_are_the_first_ones(void **state)
{
    (void)state;
    struct tokenizer *t;
    struct encoder *encoder;
    int32_t all[64], few[64];
    static const char text[] = "the<own thing> \t<mask> cat<r>\n\nthe <own th";
    assert_ok(open_json(&t, &(struct parts){.added = of_all_kinds}));
    const int count = encode(t, text, all);
    assert_ok(encoder_create(&encoder, t));
    for (int capacity = 0; capacity < count; capacity++) {
        int n;
        assert_ok(encoder_encode(encoder, text, sizeof text - 1, few, capacity, &n));
        assert_int_equal(n, capacity);
        assert_memory_equal(few, all, (size_t)n * sizeof *few);
    }
    encoder_destroy(encoder);
    tokenizer_destroy(t);
}

/* A folder as save_pretrained leaves it: vocab.json and merges.txt. */
static char *folder_of_two_files(bool end_token)
{
    static const char merges[] = "t h\nth e\n\xc4\xa0 the\n";
    char *folder = folder_create(), *vocabulary = vocabulary_text(end_token);
    free(file_write(folder, "vocab.json", vocabulary, strlen(vocabulary)));
    free(file_write(folder, "merges.txt", merges, strlen(merges)));
    free(vocabulary);
    return folder;
}

/* With a tokenizer.json beside them, unless `p` is NULL. */
static struct error *open_folder(struct tokenizer **out, const char *folder, const struct parts *p)
{
    if (p) {
        char *text = json_text(p);
        free(file_write(folder, "tokenizer.json", text, strlen(text)));
        free(text);
    }
    return tokenizer_open(out, folder, NULL, &(struct wordpiece_options){0},
                          &(struct bpe_options){0});
}

static void test_a_folder_gives_what_was_added(void **state)
{
    (void)state;
    char *folder = folder_of_two_files(true);
    struct tokenizer *plain, *t;
    assert_ok(open_folder(&plain, folder, NULL));
    for (int i = 0; i < 2; i++) {
        assert_ok(open_folder(&t, folder,
                              &(struct parts){.added = i == 0 ? end_alone : of_all_kinds}));
        assert_int_equal(tokenizer_fingerprint(t) == tokenizer_fingerprint(plain), i == 0);
        if (i > 0)
            check_encodings(t, false);
        tokenizer_destroy(t);
    }
    tokenizer_destroy(plain);
    folder_remove(folder);
}

/* Trained without special tokens, to which add_special_tokens gave one. */
static void test_the_end_token_may_be_an_added_one(void **state)
{
    (void)state;
    enum { ADDED_END = 259 };
    const struct parts parts = {
        .added = "[{\"id\": 259, \"content\": \"<|endoftext|>\", \"special\": true}]",
        .no_end_token = true,
    };
    const struct parts other = {
        .added = "[{\"id\": 3, \"content\": \"<|endoftext|>\", \"special\": true}]",
    };
    char *folder = folder_of_two_files(false), *with_end = folder_of_two_files(true);
    for (int two_files = 0; two_files < 2; two_files++) {
        struct tokenizer *t;
        int32_t ids[64];
        assert_ok(two_files ? open_folder(&t, folder, &parts) : open_json(&t, &parts));
        assert_int_equal(tokenizer_size(t), ADDED_END + 1);
        assert_int_equal(tokenizer_end_id(t), ADDED_END);
        assert_int_equal(encode(t, "the<|endoftext|>", ids), 2);
        assert_int_equal(ids[0], ADDED_END - 2);
        assert_int_equal(ids[1], ADDED_END);
        tokenizer_destroy(t);
        assert_fails(two_files ? open_folder(&t, with_end, &other) : open_json(&t, &other),
                     "the added token \"<|endoftext|>\" has the id 3; of this vocabulary of 260 "
                     "entries it must be 256");
    }
    folder_remove(folder);
    folder_remove(with_end);
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
        {{.added = "[{\"id\": 3, \"content\": \"<|endoftext|>\"}]"},
         "the added token \"<|endoftext|>\" has the id 3; of this vocabulary of 260 entries "
         "it must be 256"},
        {{.added = "[{\"id\": 270, \"content\": \"[PAD]\"}]"},
         "the added token \"[PAD]\" has the id 270; of this vocabulary of 260 entries it must be "
         "260 or one of those that follow"},
        {{.added = "[{\"content\": \"[PAD]\"}]"}, "each of added_tokens"},
        {{.added = "[{\"id\": 260, \"content\": \"\"}]"}, "each of added_tokens"},
        {{.added = "{\"id\": 260}"}, "added_tokens must be a list"},
        {{.added = "[{\"id\": 260, \"content\": \"a b\", \"lstrip\": 1}]"},
         "\"lstrip\" of an added token"},
        {{.added = "[{\"id\": 260, \"content\": \"a b\"}, {\"id\": 261, \"content\": \"a b\"}]"},
         "\"a b\" twice"},
        {{.added = "[{\"id\": 260, \"content\": \"a b\"}, {\"id\": 260, \"content\": \"b c\"}]"},
         "no added token has the id 261"},
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
        cmocka_unit_test(test_added_tokens_are_found_in_texts),
        cmocka_unit_test(test_few_ids_are_the_first_ones),
        cmocka_unit_test(test_a_folder_gives_what_was_added),
        cmocka_unit_test(test_the_end_token_may_be_an_added_one),
        cmocka_unit_test(test_other_tokenizers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
