/* test_wordpiece_fixtures.c - vocabularies, ids and texts are KerasHub's: every case found under
 * wordpiece/ of the fixtures. */
#include "testing.h"

#include "text/tokenizer.h"
#include "text/wordpiece_learner.h"

#include <cjson/cJSON.h>

static char folder[512];

static char *read_all(const char *name, size_t *bytes)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot open %s", path);
    fseek(f, 0, SEEK_END);
    *bytes = (size_t)ftell(f);
    rewind(f);
    char *text = malloc(*bytes + 1);
    if (fread(text, 1, *bytes, f) != *bytes)
        fail_msg("cannot read %s", path);
    text[*bytes] = '\0';
    fclose(f);
    return text;
}

static const char *text_of(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItem(object, name));
}

static bool flag_of(const cJSON *object, const char *name, bool otherwise)
{
    const cJSON *item = cJSON_GetObjectItem(object, name);
    return item ? cJSON_IsTrue(item) : otherwise;
}

static struct wordpiece_options options_of(const cJSON *vocabulary)
{
    return (struct wordpiece_options){
        .lowercase = flag_of(vocabulary, "lowercase", false),
        .strip_accents = flag_of(vocabulary, "strip_accents", false),
        .split = flag_of(vocabulary, "split", true),
        .split_on_cjk = flag_of(vocabulary, "split_on_cjk", true),
    };
}

static cJSON *read_index(void)
{
    size_t bytes;
    char *text = read_all("index.json", &bytes);
    cJSON *index = cJSON_Parse(text);
    free(text);
    assert_non_null(index);
    return index;
}

static const cJSON *vocabularies_of(const cJSON *index)
{
    const cJSON *list = cJSON_GetObjectItem(index, "vocabularies");
    return list ? list : index;
}

/* The corpus cut in two at a line feed, on two counters: how text is spread must not matter. */
static void learn(const cJSON *vocabulary, const char *corpus, size_t bytes, int pieces,
                  char **learned, size_t *learned_bytes)
{
    const struct wordpiece_options options = options_of(vocabulary);
    const cJSON *reserved = cJSON_GetObjectItem(vocabulary, "reserved");
    const char *names[16];
    int n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, reserved) names[n++] = cJSON_GetStringValue(item);

    struct word_counter *counters[2];
    assert_ok(word_counter_create(&counters[0], &options));
    assert_ok(word_counter_create(&counters[1], &options));
    size_t cut = bytes;
    if (pieces == 2) {
        const char *feed = memchr(corpus + bytes / 2, '\n', bytes - bytes / 2);
        cut = feed ? (size_t)(feed + 1 - corpus) : bytes;
    }
    assert_ok(word_counter_add(counters[0], corpus, cut));
    assert_ok(word_counter_add(counters[1], corpus + cut, bytes - cut));
    assert_ok(wordpiece_learn(counters, 2,
                              (int)cJSON_GetNumberValue(
                                  cJSON_GetObjectItem(vocabulary, "vocabulary_size")),
                              names, n, learned, learned_bytes, NULL));
    word_counter_destroy(counters[0]);
    word_counter_destroy(counters[1]);
}

static void test_learned_vocabularies_are_kerashubs(void **state)
{
    (void)state;
    cJSON *index = read_index();
    const cJSON *vocabulary;
    int checked = 0;
    cJSON_ArrayForEach(vocabulary, vocabularies_of(index)) {
        size_t corpus_bytes, expected_bytes, learned_bytes;
        char *corpus = read_all(text_of(vocabulary, "corpus"), &corpus_bytes);
        char *expected = read_all(text_of(vocabulary, "file"), &expected_bytes);
        for (int pieces = 1; pieces <= 2; pieces++) {
            char *learned;
            learn(vocabulary, corpus, corpus_bytes, pieces, &learned, &learned_bytes);
            if (learned_bytes != expected_bytes || memcmp(learned, expected, expected_bytes))
                fail_msg("%s differs from KerasHub's (%zu bytes, expected %zu)",
                         text_of(vocabulary, "name"), learned_bytes, expected_bytes);
            free(learned);
        }
        free(corpus);
        free(expected);
        checked++;
    }
    assert_true(checked > 0);
    cJSON_Delete(index);
}

static void assert_ids(const cJSON *line, const char *name, const int32_t *ids, int count)
{
    const cJSON *expected = cJSON_GetObjectItem(line, name);
    const int n = cJSON_GetArraySize(expected);
    for (int i = 0; i < n || i < count; i++) {
        const int e = i < n ? cJSON_GetArrayItem(expected, i)->valueint : -1;
        const int g = i < count ? ids[i] : -1;
        if (e != g)
            fail_msg("%s of \"%s\" (%s) at %d: got %d, expected %d", name, text_of(line, "text"),
                     text_of(line, "vocabulary"), i, g, e);
    }
}

static void check_case(const cJSON *line, const struct tokenizer *tokenizer,
                       struct encoder *encoder)
{
    enum { MOST = 1 << 16 };
    static int32_t ids[MOST];
    const char *text = text_of(line, "text");
    char *decoded;
    int count;
    assert_ok(encoder_encode(encoder, text, strlen(text), ids, MOST, &count));
    assert_ids(line, "ids", ids, count);
    assert_ok(tokenizer_decode(tokenizer, ids, count, &decoded, NULL));
    if (strcmp(decoded, text_of(line, "detokenized")))
        fail_msg("\"%s\" decodes to \"%s\", expected \"%s\"", text, decoded,
                 text_of(line, "detokenized"));
    free(decoded);

    int32_t labels[16] = {0}, features[16] = {0};
    assert_ok(encoder_encode(encoder, text, strlen(text), labels, 16, &count));
    features[0] = tokenizer_start_id(tokenizer);
    memcpy(features + 1, labels, 15 * sizeof *labels);
    assert_ids(line, "labels_16", labels, 16);
    assert_ids(line, "features_16", features, 16);
}

static void test_ids_and_texts_are_kerashubs(void **state)
{
    (void)state;
    size_t bytes;
    int checked = 0;
    cJSON *index = read_index();
    char *cases = read_all("cases.jsonl", &bytes);
    const cJSON *vocabulary;
    cJSON_ArrayForEach(vocabulary, vocabularies_of(index)) {
        struct tokenizer *tokenizer;
        struct encoder *encoder;
        const struct wordpiece_options options = options_of(vocabulary);
        size_t entries_bytes;
        char *entries = read_all(text_of(vocabulary, "file"), &entries_bytes);
        assert_ok(tokenizer_create_wordpiece(&tokenizer, entries, entries_bytes,
                                             text_of(vocabulary, "name"), &options));
        assert_ok(encoder_create(&encoder, tokenizer));
        for (const char *at = cases; *at; at = strchr(at, '\n') + 1) {
            cJSON *line = cJSON_Parse(at);
            assert_non_null(line);
            if (!strcmp(text_of(line, "vocabulary"), text_of(vocabulary, "name"))) {
                check_case(line, tokenizer, encoder);
                check_case(line, tokenizer, encoder);    /* now from the cache */
                checked++;
            }
            cJSON_Delete(line);
        }
        encoder_destroy(encoder);
        tokenizer_destroy(tokenizer);
        free(entries);
    }
    free(cases);
    cJSON_Delete(index);
    print_message("%d cases\n", checked);
    assert_true(checked > 0);
}

int main(void)
{
    if (!fixtures_folder("wordpiece", folder, sizeof folder)) {
        puts("skipped: no fixtures (GALLEY_FIXTURES)");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learned_vocabularies_are_kerashubs),
        cmocka_unit_test(test_ids_and_texts_are_kerashubs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
