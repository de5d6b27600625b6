/*
 * test_bpe.c - byte-level BPE: every string of bytes comes back, time grows with the text alone,
 * bad files are refused.
 * usage: test_bpe [SEED]
 */
#include "testing.h"

#include "base/clock.h"
#include "text/detokenizer.h"

static uint64_t random_state = 1;

static uint64_t next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 33;
}

/* Entries for all bytes with ids 0 to 255 in the order of their characters, then `more`. */
static char *bytes_vocabulary(const char *more)
{
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    int id = 0;
    fputc('{', out);
    for (int c = '!'; c < 0x144; c++)
        if (c <= '~' || (c >= 0xA1 && c != 0xAD)) {
            fprintf(out, "%s\"%s", id ? ", " : "", c == '"' || c == '\\' ? "\\" : "");
            if (c < 0x80)
                fputc(c, out);
            else
                fprintf(out, "%c%c", 0xC0 | c >> 6, 0x80 | (c & 0x3F));
            fprintf(out, "\": %d", id++);
        }
    assert_int_equal(id, 256);
    fprintf(out, "%s}", more);
    fclose(out);
    return text;
}

static const char more_entries[] =
    ", \"aa\": 256, \"aaaa\": 257, \"\xC4\xA0\xC4\xA0\": 258, \"\xC3\xB0\xC5\x81\": 259, "
    "\"ab\": 260, \"aab\": 261, \"bab\": 262, \"<|endoftext|>\": 263";
static const char merges[] = "#version: 0.2\na a\naa aa\n\xC4\xA0 \xC4\xA0\n\xC3\xB0 \xC5\x81\na "
    "b\n"
                             "aa b\nb ab\n";

static struct error *create(struct tokenizer **out, const char *vocabulary, const char *merge_list)
{
    return tokenizer_create_bpe(out, vocabulary, strlen(vocabulary), merge_list,
                                strlen(merge_list), "small",
                                &(struct bpe_options){.special_as_text = false});
}

static struct tokenizer *small(void)
{
    struct tokenizer *t;
    char *vocabulary = bytes_vocabulary(more_entries);
    assert_ok(create(&t, vocabulary, merges));
    free(vocabulary);
    return t;
}

static void check_round_trip(const struct tokenizer *t, struct encoder *encoder, const char *text,
                             size_t bytes)
{
    int32_t ids[512];
    int count;
    char *back;
    size_t back_bytes;
    assert_true(bytes <= 512);
    assert_ok(encoder_encode(encoder, text, bytes, ids, 512, &count));
    assert_ok(tokenizer_decode(t, ids, count, &back, &back_bytes));
    assert_int_equal(back_bytes, bytes);
    assert_memory_equal(back, text, bytes);
    free(back);
}

static void test_every_string_of_bytes_comes_back(void **state)
{
    (void)state;
    struct tokenizer *t = small();
    struct encoder *encoder;
    assert_ok(encoder_create(&encoder, t));
    char text[512];
    for (int a = 0; a < 256; a++) {
        text[0] = (char)a;
        check_round_trip(t, encoder, text, 1);
        for (int b = 0; b < 256; b++) {
            text[1] = (char)b;
            check_round_trip(t, encoder, text, 2);
        }
    }
    for (int i = 0; i < 20000; i++) {
        const size_t bytes = next_random() % sizeof text;
        const uint64_t kinds = next_random() % 3;
        for (size_t c = 0; c < bytes; c++)
            text[c] = (char)(kinds == 0 ? next_random()
                                        : (uint64_t)"ab \xC2\xA0\xF0\x9F\x98\x80\xE3<|"[next_random() % 12]);
        check_round_trip(t, encoder, text, bytes);
    }
    encoder_destroy(encoder);
    tokenizer_destroy(t);
}

/* The merges as GPT-2's authors wrote them: all places of the first pair, then again. */
static int merge_plainly(const struct tokenizer *t, int32_t *ids, int n)
{
    static const struct {
        const char *left, *right, *both;
    } list[] = {{"a", "a", "aa"}, {"aa", "aa", "aaaa"}, {" ", " ", "  "}, {"\xF0", "\x9F",
        "\xF0\x9F"},
                {"a", "b", "ab"}, {"aa", "b", "aab"}, {"b", "ab", "bab"}};
    for (size_t m = 0; m < sizeof list / sizeof list[0];) {
        const int left = tokenizer_find(t, list[m].left), right = tokenizer_find(t, list[m].right);
        int kept = 0, merged = 0;
        for (int i = 0; i < n; i++) {
            const bool pair = i + 1 < n && ids[i] == left && ids[i + 1] == right;
            ids[kept++] = pair ? tokenizer_find(t, list[m].both) : ids[i];
            i += pair;
            merged += pair;
        }
        n = kept;
        m = merged ? 0 : m + 1;
    }
    return n;
}

/* Of any length: below and above the length at which the algorithm changes. */
static void test_merges_are_those_of_the_plain_algorithm(void **state)
{
    (void)state;
    struct tokenizer *t = small();
    struct encoder *encoder;
    assert_ok(encoder_create(&encoder, t));
    for (int i = 0; i < 3000; i++) {
        char text[300];
        int32_t ids[300], expected[300];
        int count;
        const int bytes = 1 + (int)(next_random() % sizeof text);
        for (int c = 0; c < bytes; c++) {
            text[c] = "aaab"[next_random() % 4];
            expected[c] = tokenizer_find(t, (char[]){text[c], '\0'});
        }
        const int n = merge_plainly(t, expected, bytes);
        assert_ok(encoder_encode(encoder, text, (size_t)bytes, ids, 300, &count));
        assert_int_equal(count, n);
        assert_memory_equal(ids, expected, (size_t)n * sizeof *ids);
    }
    encoder_destroy(encoder);
    tokenizer_destroy(t);
}

static double encode_s(const struct tokenizer *t, const char *unit, size_t bytes)
{
    struct encoder *encoder;
    char *text = malloc(bytes);
    int32_t *ids = malloc(bytes * sizeof *ids);
    int count;
    for (size_t i = 0; i < bytes; i++)
        text[i] = *unit ? unit[i % strlen(unit)] : (char)('a' + next_random() % 26);
    assert_ok(encoder_create(&encoder, t));
    const double start_s = clock_now_s();
    assert_ok(encoder_encode(encoder, text, bytes, ids, (int)bytes, &count));
    const double seconds = clock_now_s() - start_s;
    assert_true(count > 0);
    encoder_destroy(encoder);
    free(ids);
    free(text);
    return seconds;
}

/* 10 MB: quadratic time would be hours; the bound leaves room for sanitizers and busy machines. */
static void test_time_is_linear_whatever_the_text(void **state)
{
    (void)state;
    static const char *const units[] = {"a", " ", "\n", "\xF0\x9F\x98\x80", "\xFF", "ab", "1", ""};
    enum { BYTES = 10000000 };
    struct tokenizer *t = small();
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        const double tenth_s = encode_s(t, units[i], BYTES / 10), whole_s = encode_s(t, units[i],
            BYTES);
        print_message("unit %zu: 1 MB in %.3f s, 10 MB in %.3f s\n", i, tenth_s, whole_s);
        assert_true(whole_s < 10);
        assert_true(whole_s < 40 * tenth_s + 0.5);
    }
    tokenizer_destroy(t);
}

static void test_streamed_text_is_whole_characters(void **state)
{
    (void)state;
    struct tokenizer *t = small();
    struct encoder *encoder;
    struct detokenizer *d;
    assert_ok(encoder_create(&encoder, t));
    assert_ok(detokenizer_create(&d, t));
    /* What Python's decode(errors="replace") makes of these bytes. */
    static const char *const cases[][2] = {
        {"a\xC3\xA9\xE6\x97\xA5\xF0\x9F\x98\x80z", "a\xC3\xA9\xE6\x97\xA5\xF0\x9F\x98\x80z"},
        {"\xF0\x9F\x98", "\xEF\xBF\xBD"},
        {"\xF0\x9F" "a\x80", "\xEF\xBF\xBD" "a\xEF\xBF\xBD"},
        {"\xE0\x80\xC0\xED\xA0", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int32_t ids[32];
        int count;
        char got[128] = "";
        assert_ok(encoder_encode(encoder, cases[i][0], strlen(cases[i][0]), ids, 32, &count));
        for (int k = 0; k < count; k++) {
            const char *text;
            assert_ok(detokenizer_add(d, ids[k], &text));
            strcat(got, text);
        }
        strcat(got, detokenizer_finish(d));
        assert_string_equal(got, cases[i][1]);
    }
    detokenizer_destroy(d);
    encoder_destroy(encoder);
    tokenizer_destroy(t);
}

static void refuse(const char *vocabulary, const char *merge_list, const char *part)
{
    struct tokenizer *t;
    assert_fails(create(&t, vocabulary, merge_list), part);
}

static void refuse_entries(const char *entries, const char *part)
{
    char *vocabulary = bytes_vocabulary(entries);
    refuse(vocabulary, merges, part);
    free(vocabulary);
}

static void test_bad_files_are_refused(void **state)
{
    (void)state;
    refuse("", merges, "not valid JSON at byte 0");
    refuse("[1]", merges, "must be a JSON object");
    refuse("{}", merges, "at least one entry");
    refuse("{\"!\": 0, \"a\"", merges, "not valid JSON");
    refuse("{\"!\": 0}", merges, "for the byte 0x00");
    refuse_entries(", \"aa\": 300", "from 0 to 256");
    refuse_entries(", \"aa\": 255", "gives the id 255 twice");
    refuse_entries(", \"a\": 256", "has the entry \"a\" twice");
    refuse_entries(", \"aa\": \"x\"", "must be a whole number");
    refuse_entries(", \"aa\": 256.5", "must be a whole number");
    refuse_entries(", \"aa\": -1", "must be a whole number");
    refuse_entries("", "line 2 of the merges, \"a a\", needs \"aa\"");

    char *vocabulary = bytes_vocabulary(more_entries);
    refuse(vocabulary, "", "no merges");
    refuse(vocabulary, "a a\naa\n", "line 2 of the merges is \"aa\"");
    refuse(vocabulary, "a a aa\n", "two entries with a space");
    refuse(vocabulary, "x y\n", "needs \"xy\"");
    refuse(vocabulary, "aa q\xC4\n", "which the vocabulary does not have");
    free(vocabulary);

    enum { DEPTH = 100000 };
    char *deep = calloc(1, 6 * DEPTH + 1);
    for (int i = 0; i < DEPTH; i++)
        strcpy(deep + 5 * i, "{\"a\":");
    refuse(deep, merges, "nested too deeply");
    memset(deep, '[', DEPTH);
    refuse(deep, merges, "nested too deeply");
    free(deep);
}

/* Files cut short or with bytes changed: a tokenizer that works, or one error. */
static void test_damaged_files_never_crash(void **state)
{
    (void)state;
    char *vocabulary = bytes_vocabulary(more_entries);
    const size_t bytes = strlen(vocabulary);
    int refused = 0;
    for (int i = 0; i < 400; i++) {
        char *damaged = strdup(vocabulary), list[sizeof merges];
        size_t damaged_bytes = bytes, list_bytes = sizeof merges - 1;
        memcpy(list, merges, sizeof merges);
        if (i % 3 == 0)
            damaged_bytes = next_random() % bytes;
        else if (i % 3 == 1)
            damaged[next_random() % bytes] = (char)next_random();
        else
            list[next_random() % list_bytes] = (char)next_random();
        struct tokenizer *t;
        struct error *e = tokenizer_create_bpe(&t, damaged, damaged_bytes, list, list_bytes,
                                               "damaged",
                                               &(struct bpe_options){.special_as_text = false});
        if (!e) {
            struct encoder *encoder;
            assert_ok(encoder_create(&encoder, t));
            check_round_trip(t, encoder, "aaab  <|endoftext|>", 19);
            encoder_destroy(encoder);
            tokenizer_destroy(t);
        }
        refused += e != NULL;
        error_destroy(e);
        free(damaged);
    }
    print_message("%d of 400 refused\n", refused);
    assert_true(refused > 150);
    free(vocabulary);
}

/* Shards are refused by it, so what decides nothing must not count: a run's configuration has
 * options for both kinds. */
static void test_the_fingerprint_is_of_what_counts(void **state)
{
    (void)state;
    struct tokenizer *const t = small();
    struct tokenizer_definition d = *tokenizer_definition(t);
    struct tokenizer *other;
    d.wordpiece = (struct wordpiece_options){.lowercase = true, .strip_accents = true};
    assert_ok(tokenizer_create(&other, &d));
    assert_true(tokenizer_fingerprint(t) == tokenizer_fingerprint(other));
    tokenizer_destroy(other);
    d.bpe.special_as_text = true;
    assert_ok(tokenizer_create(&other, &d));
    assert_true(tokenizer_fingerprint(t) != tokenizer_fingerprint(other));
    tokenizer_destroy(other);
    tokenizer_destroy(t);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        random_state = strtoull(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_string_of_bytes_comes_back),
        cmocka_unit_test(test_merges_are_those_of_the_plain_algorithm),
        cmocka_unit_test(test_time_is_linear_whatever_the_text),
        cmocka_unit_test(test_streamed_text_is_whole_characters),
        cmocka_unit_test(test_bad_files_are_refused),
        cmocka_unit_test(test_damaged_files_never_crash),
        cmocka_unit_test(test_the_fingerprint_is_of_what_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
