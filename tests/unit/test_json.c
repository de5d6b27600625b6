/* test_json.c - documents come out of JSON as another reader of JSON finds them, or an error says
 * where it is broken. */
#include "testing.h"

#include "data/dataset.h"
#include "data/json_documents.h"
#include "data/json_field.h"
#include "data/source.h"
#include "data_files.h"

#include <cJSON.h>
#include <stdbool.h>

static int enter(void **state)
{
    *state = folder_create();
    return 0;
}

static int leave(void **state)
{
    folder_remove(*state);
    return 0;
}

/* ---- One object ---- */

static enum json_outcome read_field(const char *text, size_t bytes, const char *field, char **out,
                                    struct json_record *record)
{
    /* Exactly as large as it must be, so that AddressSanitizer sees a byte too many. */
    char *const input = malloc(bytes ? bytes : 1);
    *out = malloc(bytes ? bytes : 1);
    assert_true(input && *out);
    memcpy(input, text, bytes);
    const enum json_outcome outcome = json_read_field(input, bytes, field, *out, record);
    free(input);
    return outcome;
}

static void assert_field(const char *object, const char *expected)
{
    char *out;
    struct json_record record;
    assert_int_equal(read_field(object, strlen(object), "text", &out, &record), JSON_WHOLE);
    assert_int_equal(record.bytes, strlen(object));
    assert_int_equal(record.found, expected != NULL);
    if (expected && (record.text_bytes != strlen(expected) ||
                     memcmp(out, expected, record.text_bytes) != 0))
        fail_msg("%s gives \"%.*s\", expected \"%s\"", object, (int)record.text_bytes, out,
                 expected);
    free(out);
}

static void test_the_text_of_a_field(void **state)
{
    (void)state;
    assert_field("{}", NULL);
    assert_field("{\"text\":\"\"}", "");
    assert_field("{ \"text\" : null }", "");
    assert_field("{\"a\":1,\"text\":\"b\",\"c\":[{\"text\":\"no\"}]}", "b");
    assert_field("{\"text\":[]}", "");
    assert_field("{\"text\":[\"a\" , \"\",\"\\u4e00\"]}", "a\xe4\xb8\x80");
    assert_field("{\"text\":\"one\",\"text\":\"two\"}", "two");
    assert_field("{\"te\\u0078t\":\"name with an escape\"}", "name with an escape");
    assert_field("{\"text\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t");
    assert_field("{\"text\":\"\\u00e9\\uD83D\\uDE00\\u007f\"}", "\xc3\xa9\xf0\x9f\x98\x80\x7f");
    assert_field("{\"x\":-0.5e+10,\"y\":[true,false,null,{}],\"text\":\"\xc3\xa9\"}", "\xc3\xa9");
}

static void assert_wrong(const char *object, size_t at)
{
    char *out;
    struct json_record record;
    const enum json_outcome outcome = read_field(object, strlen(object), "text", &out, &record);
    if (outcome != JSON_WRONG || record.bytes != at)
        fail_msg("%s: outcome %d at byte %zu, expected wrong at %zu", object, (int)outcome,
                 record.bytes, at);
    free(out);
}

static void test_what_is_not_json_is_refused_where_it_is(void **state)
{
    (void)state;
    assert_wrong("[]", 0);
    assert_wrong("\"text\"", 0);
    assert_wrong("{\"text\" \"a\"}", 8);
    assert_wrong("{\"text\":5}", 8);
    assert_wrong("{\"text\":[\"a\",5]}", 13);
    assert_wrong("{\"text\":\"a\nb\"}", 10);
    assert_wrong("{\"text\":\"a\\x\"}", 11);
    assert_wrong("{\"text\":\"\\u12g4\"}", 13);
    assert_wrong("{\"text\":\"\\u0000\"}", 11);
    assert_wrong("{\"text\":\"\\ud800\"}", 15);
    assert_wrong("{\"text\":\"\\udc00\"}", 11);
    assert_wrong("{\"a\":01}", 6);
    assert_wrong("{\"a\":1.}", 7);
    assert_wrong("{\"a\":+1}", 5);
    assert_wrong("{\"a\":tru}", 8);
    assert_wrong("{\"a\":1,}", 7);
    assert_wrong("{\"a\":[1,]}", 8);
    assert_wrong("{'a':1}", 1);
}

static void test_every_beginning_of_an_object_is_cut(void **state)
{
    (void)state;
    static const char object[] =
        "{\"a\":[1,-2.5e3,{\"b\":null}],\"text\":[\"x\\u00e9\\ud83d\\ude00\\n\",\"y\"],\"c\":true}";
    for (size_t bytes = 0; bytes < strlen(object); bytes++) {
        char *out;
        struct json_record record;
        const enum json_outcome outcome = read_field(object, bytes, "text", &out, &record);
        if (outcome != JSON_CUT)
            fail_msg("%.*s: outcome %d, expected cut", (int)bytes, object, (int)outcome);
        free(out);
    }
    assert_field(object, "x\xc3\xa9\xf0\x9f\x98\x80\ny");
}

static void test_deep_nesting_is_refused(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    char *const object = malloc(DEPTH + 6);
    memcpy(object, "{\"a\":", 5);
    memset(object + 5, '[', DEPTH);
    char *out;
    struct json_record record;
    assert_int_equal(read_field(object, DEPTH + 5, "text", &out, &record), JSON_WRONG);
    assert_non_null(strstr(record.expected, "nested"));
    free(out);
    free(object);
}

/* ---- Against cJSON ---- */

static void put_string(FILE *f, uint64_t *seed)
{
    static const char *const pieces[] = {"a", "word ", "\xc3\xa9", "\\n", "\\\"", "\\\\", "\\u00e9",
                                         "\\ud83d\\ude00", "\xf0\x9f\x98\x80", "\\/",
                                         "the quick fox", "\\t", "{", "]", ":"};
    fputc('"', f);
    for (uint64_t n = noise(seed) % 12; n; n--)
        fputs(pieces[noise(seed) % (sizeof pieces / sizeof *pieces)], f);
    fputc('"', f);
}

static void put_value(FILE *f, uint64_t *seed, int depth)
{
    static const char *const words[] = {"true", "false", "null", "0", "-12.5e-3", "17"};
    const uint64_t kind = noise(seed) % (depth > 3 ? 2 : 4);
    if (kind == 0) {
        put_string(f, seed);
    } else if (kind == 1) {
        fputs(words[noise(seed) % 6], f);
    } else {
        fputc(kind == 2 ? '[' : '{', f);
        for (uint64_t i = 0, n = noise(seed) % 4; i < n; i++) {
            fputs(i ? ", " : " ", f);
            if (kind == 3) {
                put_string(f, seed);
                fputs(" : ", f);
            }
            put_value(f, seed, depth + 1);
        }
        fputc(kind == 2 ? ']' : '}', f);
    }
}

/* An object with a field "text" somewhere that holds a string or a list of strings. */
static struct bytes make_object(uint64_t *seed)
{
    struct bytes object = {0};
    FILE *f = open_memstream(&object.data, &object.count);
    const uint64_t before = noise(seed) % 3, after = noise(seed) % 3;
    fputc('{', f);
    for (uint64_t i = 0; i < before; i++) {
        fprintf(f, "\"k%d\":", (int)i);
        put_value(f, seed, 0);
        fputs(", ", f);
    }
    fputs("\"text\":", f);
    if (noise(seed) % 2) {
        put_string(f, seed);
    } else {
        fputc('[', f);
        for (uint64_t i = 0, n = noise(seed) % 4; i < n; i++) {
            fputs(i ? "," : "", f);
            put_string(f, seed);
        }
        fputc(']', f);
    }
    for (uint64_t i = 0; i < after; i++) {
        fprintf(f, ", \"a%d\" : ", (int)i);
        put_value(f, seed, 0);
    }
    fputc('}', f);
    fclose(f);
    return object;
}

/* The text as cJSON reads it, for free(); NULL if cJSON refuses the object. */
static char *by_cjson(struct bytes object)
{
    cJSON *const root = cJSON_ParseWithLength(object.data, object.count);
    const cJSON *const field = cJSON_GetObjectItemCaseSensitive(root, "text");
    char *text = NULL;
    size_t bytes;
    if (field && (cJSON_IsString(field) || cJSON_IsArray(field))) {
        FILE *f = open_memstream(&text, &bytes);
        if (cJSON_IsString(field))
            fputs(field->valuestring, f);
        const cJSON *item;
        cJSON_ArrayForEach(item, field)
            if (cJSON_IsString(item))
                fputs(item->valuestring, f);
        fclose(f);
    }
    cJSON_Delete(root);
    return text;
}

static void test_the_same_text_as_cjson(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int trial = 0; trial < 3000; trial++) {
        struct bytes object = make_object(&seed);
        char *const expected = by_cjson(object);
        assert_non_null(expected);
        assert_field(object.data, expected);
        free(expected);

        /* Damaged, it is refused, or cJSON takes it too. */
        if (object.count > 2) {
            object.data[noise(&seed) % object.count] ^= (char)(1 << noise(&seed) % 7);
            char *out;
            struct json_record record;
            const bool taken = read_field(object.data, object.count, "text", &out, &record) ==
                               JSON_WHOLE && record.bytes == object.count;
            cJSON *const root = cJSON_ParseWithLength(object.data, object.count);
            if (taken && !root)
                fail_msg("%s is taken, cJSON refuses it", object.data);
            cJSON_Delete(root);
            free(out);
        }
        free(object.data);
    }
}

/* ---- Files ---- */

/* All documents of a file, each ended by '|'. */
static struct error *read_documents(const char *path, const char *field, size_t block_bytes,
                                    char **text)
{
    struct source *source;
    struct source_block block = {0};
    size_t bytes;
    TRY(source_open(&source, &(struct source_options){
        .inputs = &path, .input_count = 1, .field = field, .name = "training",
        .block_bytes = block_bytes}));
    struct error *e;
    FILE *f = open_memstream(text, &bytes);
    while (!(e = source_read(source, &block)) && block.bytes) {
        assert_int_equal(block.separator, '\0');
        assert_int_equal(block.text[block.bytes - 1], '\0');
        for (size_t i = 0; i < block.bytes; i++)
            fputc(block.text[i] ? block.text[i] : '|', f);
    }
    fclose(f);
    source_block_release(&block);
    source_close(source);
    return e;
}

static void assert_documents(const char *folder, const char *name, const char *content,
                             const char *expected)
{
    struct bytes plain = {(char *)(uintptr_t)content, strlen(content)};
    struct bytes gz = pack_gzip(content, plain.count), zst = pack_zstd(content, plain.count);
    const struct { const char *suffix; struct bytes data; } files[] = {
        {"", plain}, {".gz", gz}, {".zst", zst},
    };
    for (int i = 0; i < 3; i++)
        for (size_t block_bytes = 1; block_bytes <= 4096; block_bytes *= 8) {
            char with_suffix[64], *text = NULL;
            snprintf(with_suffix, sizeof with_suffix, "%s%s", name, files[i].suffix);
            char *const path = file_write(folder, with_suffix, files[i].data.data,
                                          files[i].data.count);
            assert_ok(read_documents(path, "text", block_bytes, &text));
            if (strcmp(text, expected) != 0)
                fail_msg("%s in blocks of %zu: \"%s\", expected \"%s\"", with_suffix, block_bytes,
                         text, expected);
            free(text);
            free(path);
        }
    free(gz.data);
    free(zst.data);
}

static void test_lines_lists_and_sequences_of_objects(void **state)
{
    assert_documents(*state, "a.jsonl", "{\"text\":\"one\"}\n\n {\"text\":\"two\\nlines\"} \r\n"
                     "{\"text\":\"\"}\n{\"text\":\"last\"}", "one|two\nlines||last|");
    assert_documents(*state, "a.ndjson", "{\"text\":\"one\"}\n", "one|");
    assert_documents(*state, "a.json", "[\n  {\n \"text\": \"one\"\n },\n "
                     "{\"text\":[\"t\",\"wo\"]}\n]\n",
                     "one|two|");
    assert_documents(*state, "b.json", "{\"text\":\"one\"}\n{\n\"text\":\"two\"}{\"text\":\"3\"}",
                     "one|two|3|");
}

static void assert_refused(const char *folder, const char *name, const char *content,
                           const char *expected)
{
    char *const path = file_write(folder, name, content, strlen(content));
    for (size_t block_bytes = 1; block_bytes <= 4096; block_bytes *= 8) {
        char *text = NULL;
        struct error *e = read_documents(path, "text", block_bytes, &text);
        free(text);
        if (!e || !strstr(error_message(e), expected) || !strstr(error_message(e), name))
            fail_msg("\"%s\" does not speak of \"%s\"", e ? error_message(e) : "no error",
                     expected);
        error_destroy(e);
    }
    free(path);
}

static void test_a_broken_file_is_named_with_line_and_byte(void **state)
{
    assert_refused(*state, "a.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"\n{\"text\":\"c\"}\n",
                   "line 2, byte 12: 0x0A where JSON must have the rest of the line's object");
    assert_refused(*state, "a.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"} x\n",
                   "line 2, byte 14: 'x' where JSON must have the end of the line");
    assert_refused(*state, "a.jsonl", "{\"text\":\"a\"}\n{\"text\":7}\n", "line 2, byte 9: '7'");
    assert_refused(*state, "a.jsonl", "{\"text\":\"a\"}\n\n{\"title\":\"b\",\"body\":1}\n",
                   "line 3: no field \"text\"; the object has title, body;");
    assert_refused(*state, "a.jsonl", "{\"text\":\"a\xff\"}\n",
                   "line 1: invalid UTF-8 (byte 0xFF)");
    assert_refused(*state, "a.jsonl", "[]\n", "line 1, byte 1: '[' where JSON must have an object");
    assert_refused(*state, "a.jsonl", "", "has no object");
    assert_refused(*state, "a.json", "[ ]", "has no object");
    assert_refused(*state, "a.json", "[{\"text\":\"a\"}", "line 1, byte 14: the file ends");
    assert_refused(*state, "a.json", "[{\"text\":\"a\"},\n]", "line 2, byte 1: ']'");
    assert_refused(*state, "a.json", "[{\"text\":\"a\"}\n{}]", "line 2, byte 1: '{'");
    assert_refused(*state, "a.json", "[{\"text\":\"a\"}] {}", "nothing after the list");
    assert_refused(*state, "a.json", "{\"text\":\"a\"", "line 1, byte 12: the file ends");
}

static void test_a_dataset_of_documents(void **state)
{
    static const char content[] = "{\"text\":\"one\"}\n{\"text\":\"\"}\n{\"text\":\"two\\r\\nlines\"}\n"
                                  "{\"text\":\"three\"}\n";
    char *const json = file_write(*state, "a.jsonl", content, strlen(content));
    char *const plain = file_write(*state, "b.txt", "li\rne\n\nend", 10);
    const char *const inputs[] = {json, plain};
    static const char *const expected[] = {"one", "two\r\nlines", "three", "line", "end"};
    static const int lines[] = {1, 3, 4, 1, 3};
    for (int cached = 0; cached < 3; cached++) {    /* without a cache; making one; using it */
        char *const cache = path_in(*state, "cache");
        struct dataset *d;
        assert_ok(dataset_open(&d, &(struct dataset_options){
            .inputs = inputs, .input_count = 2, .min_bytes = 1, .name = "training",
            .temporary_folder = *state, .cache_folder = cached ? cache : NULL}));
        assert_int_equal(dataset_samples(d), 5);
        char *const scratch = malloc(dataset_scratch_bytes(d));
        for (int i = 0; i < 5; i++) {
            const char *text, *path;
            size_t bytes;
            int64_t line;
            assert_ok(dataset_sample(d, i, scratch, &text, &bytes));
            assert_int_equal(bytes, strlen(expected[i]));
            assert_memory_equal(text, expected[i], bytes);
            dataset_where(d, i, &path, &line);
            assert_string_equal(path, i < 3 ? json : plain);
            assert_int_equal(line, lines[i]);
        }
        free(scratch);
        dataset_close(d);
        free(cache);
    }
    /* Another field is another dataset, whatever the cache holds. */
    char *const cache = path_in(*state, "cache");
    struct dataset *d;
    assert_fails(dataset_open(&d, &(struct dataset_options){
        .inputs = inputs, .input_count = 2, .min_bytes = 1, .name = "training", .field = "body",
        .cache_folder = cache}), "no field \"body\"; the object has text;");
    free(cache);
    free(json);
    free(plain);
}

static void assert_samples_of(const char *name, const char *field, int64_t samples,
                              const char *first)
{
    char *const path = shared_data(name);
    if (!path)
        skip();
    struct dataset *d;
    assert_ok(dataset_open(&d, &(struct dataset_options){
        .inputs = (const char *const *)&path, .input_count = 1, .field = field, .min_bytes = 1,
        .name = "training"}));
    assert_int_equal(dataset_samples(d), samples);
    char *const scratch = malloc(dataset_scratch_bytes(d));
    const char *text;
    size_t bytes;
    assert_ok(dataset_sample(d, 0, scratch, &text, &bytes));
    assert_true(bytes >= strlen(first));
    assert_memory_equal(text, first, strlen(first));
    free(scratch);
    dataset_close(d);
    free(path);
}

static void test_real_poems_and_posts(void **state)
{
    (void)state;
    assert_samples_of("poems/poet.tang.0.json", "paragraphs", 1000,
                      "秦川雄帝宅，函谷壯皇居。綺殿千尋起，離宮百雉餘。");
    assert_samples_of("posts/posts.jsonl", "document", 500, "Several persons hurried up to M. de ");
    assert_samples_of("eval/lambada_test.jsonl.gz", NULL, 5153, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_text_of_a_field),
        cmocka_unit_test(test_what_is_not_json_is_refused_where_it_is),
        cmocka_unit_test(test_every_beginning_of_an_object_is_cut),
        cmocka_unit_test(test_deep_nesting_is_refused),
        cmocka_unit_test(test_the_same_text_as_cjson),
        TEST(test_lines_lists_and_sequences_of_objects),
        TEST(test_a_broken_file_is_named_with_line_and_byte),
        TEST(test_a_dataset_of_documents),
        cmocka_unit_test(test_real_poems_and_posts),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
