/* test_bpe_fixtures.c - ids are OpenAI's, a learned vocabulary Hugging Face's: every case found
 * under bpe/ of the fixtures, with GPT-2's vocabulary of the data folder beside the repository. */
#include "testing.h"

#include "text/tokenizer_files.h"

#include <cjson/cJSON.h>

static char folder[512];
static char gpt2[512];

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

static struct tokenizer *open_gpt2(bool special_as_text)
{
    struct tokenizer *tokenizer;
    assert_ok(tokenizer_open(&tokenizer, gpt2, NULL, &(struct wordpiece_options){.split = true},
                             &(struct bpe_options){.special_as_text = special_as_text}));
    return tokenizer;
}

/* From base64, in place; returns the bytes. */
static size_t unpack_base64(char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int held = 0;
    size_t n = 0;
    for (const char *at = text; *at && *at != '='; at++) {
        bits = bits << 6 | (uint32_t)(strchr(digits, *at) - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            text[n++] = (char)(bits >> held & 255);
        }
    }
    return n;
}

static void check_ids(const cJSON *line, const char *key, struct encoder *encoder,
                      const struct tokenizer *tokenizer, const char *text, size_t bytes)
{
    const cJSON *expected = cJSON_GetObjectItem(line, key);
    const int n = cJSON_GetArraySize(expected);
    int32_t *ids = malloc((bytes + 4) * sizeof *ids);
    int count, i = 0;
    assert_ok(encoder_encode(encoder, text, bytes, ids, (int)bytes + 4, &count));
    const cJSON *item;
    cJSON_ArrayForEach(item, expected) {
        if (i < count && ids[i] != item->valueint)
            fail_msg("%s of \"%.*s\": id %d is %d, expected %d", key, (int)bytes, text, i, ids[i],
                     item->valueint);
        i++;
    }
    assert_int_equal(count, n);

    char *decoded;
    size_t decoded_bytes;
    assert_ok(tokenizer_decode(tokenizer, ids, count, &decoded, &decoded_bytes));
    assert_int_equal(decoded_bytes, bytes);
    assert_memory_equal(decoded, text, bytes);
    free(decoded);

    /* As many as there is room for, whatever the room. */
    for (int room = 0; room <= count && room < 40; room++) {
        int32_t first[40];
        int found;
        assert_ok(encoder_encode(encoder, text, bytes, first, room, &found));
        assert_int_equal(found, room);
        assert_memory_equal(first, ids, (size_t)room * sizeof *ids);
    }
    free(ids);
}

static void test_ids_are_openais(void **state)
{
    (void)state;
    size_t bytes;
    int checked = 0;
    char *cases = read_all("cases.jsonl", &bytes);
    struct tokenizer *const with = open_gpt2(false), *const without = open_gpt2(true);
    struct encoder *protecting, *ordinary;
    assert_ok(encoder_create(&protecting, with));
    assert_ok(encoder_create(&ordinary, without));
    for (const char *at = cases; *at; at = strchr(at, '\n') + 1) {
        cJSON *line = cJSON_Parse(at);
        assert_non_null(line);
        char *text = cJSON_GetStringValue(cJSON_GetObjectItem(line, "text_base64"));
        const size_t text_bytes = unpack_base64(text);
        for (int pass = 0; pass < 2; pass++) {    /* the second one from the cache */
            check_ids(line, "ids", protecting, with, text, text_bytes);
            check_ids(line, "ids_special_as_text", ordinary, without, text, text_bytes);
        }
        checked++;
        cJSON_Delete(line);
    }
    encoder_destroy(protecting);
    encoder_destroy(ordinary);
    tokenizer_destroy(with);
    tokenizer_destroy(without);
    free(cases);
    print_message("%d cases\n", checked);
    assert_true(checked > 0);
}

static void test_special_ids_and_entries(void **state)
{
    (void)state;
    struct tokenizer *t = open_gpt2(false), *other = open_gpt2(true);
    size_t bytes;
    assert_int_equal(tokenizer_size(t), 50257);
    assert_int_equal(tokenizer_start_id(t), 50256);
    assert_int_equal(tokenizer_end_id(t), 50256);
    assert_int_equal(tokenizer_pad_id(t), 0);
    assert_int_equal(tokenizer_find(t, " the"), 262);
    assert_int_equal(tokenizer_find(t, "<|endoftext|>"), 50256);
    assert_int_equal(tokenizer_find(t, "no such entry"), -1);
    assert_memory_equal(tokenizer_entry(t, 262, &bytes), " the", 4);
    assert_int_equal(bytes, 4);
    assert_null(tokenizer_entry(t, 50257, &bytes));
    assert_true(tokenizer_fingerprint(t) != tokenizer_fingerprint(other));
    tokenizer_destroy(other);
    other = open_gpt2(false);
    assert_true(tokenizer_fingerprint(t) == tokenizer_fingerprint(other));
    tokenizer_destroy(other);
    tokenizer_destroy(t);
}

int main(void)
{
    const char *source = getenv("GALLEY_SOURCE");
    snprintf(gpt2, sizeof gpt2, "%s/../shared/data/gpt2", source ? source : ".");
    if (!fixtures_folder("bpe", folder, sizeof folder) || !tokenizer_files_in(gpt2)) {
        puts("skipped: no fixtures (GALLEY_FIXTURES) or no ../shared/data/gpt2");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_are_openais),
        cmocka_unit_test(test_special_ids_and_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
