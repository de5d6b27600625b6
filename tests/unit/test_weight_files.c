/* test_weight_files.c - number formats, safetensors and Keras's HDF5 files: back and forth, and
 * refused. */
#include "testing.h"

#include "data_files.h"
#include "formats/h5.h"
#include "formats/json.h"
#include "formats/keras_h5.h"
#include "formats/safetensors.h"

#include <unistd.h>

static char *folder;

static int setup(void **state)
{
    (void)state;
    folder = folder_create();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

/* ---- numbers ---- */

static float half(uint16_t h)
{
    float f;
    elements_to_floats(ELEMENT_F16, &h, &f, 1);
    return f;
}

static void test_every_half_precision_number_comes_back(void **state)
{
    (void)state;
    static const enum element_type types[] = {ELEMENT_F16, ELEMENT_BF16};
    for (int t = 0; t < 2; t++) {
        for (uint32_t bits = 0; bits < 65536; bits++) {
            const uint16_t in = (uint16_t)bits;
            uint16_t out;
            float f;
            elements_to_floats(types[t], &in, &f, 1);
            elements_from_floats(types[t], &f, &out, 1);
            if (out != in && f == f)
                fail_msg("%s %04x came back as %04x", element_name(types[t]), in, out);
            if (f != f) {
                float again;
                elements_to_floats(types[t], &out, &again, 1);
                assert_true(again != again);
            }
        }
    }
    assert_true(half(0x3c00) == 1 && half(0xc000) == -2 && half(1) == 0x1p-24f);
    assert_true(half(0x7bff) == 65504 && half(0x7c00) == INFINITY && half(0x03ff) == 1023 * 0x1p-24f);
}

/* Against the definition: no neighbour is nearer, and of two as near the even one is taken. */
static void test_halves_are_rounded_to_nearest_even(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int i = 0; i < 1000000; i++) {
        const uint32_t bits = (uint32_t)noise(&random);
        float f;
        uint16_t h;
        memcpy(&f, &bits, sizeof f);
        if (!(fabsf(f) < 65504))
            continue;
        if (i % 4 == 0)    /* exactly between two */
            f = (float)(((double)half((uint16_t)(bits & 0x7bfe)) +
                         (double)half((uint16_t)((bits & 0x7bfe) + 1))) / 2);
        elements_from_floats(ELEMENT_F16, &f, &h, 1);
        const double error = fabs((double)half(h) - (double)f);
        for (int step = -1; step <= 1; step += 2) {
            const uint16_t other = (uint16_t)(h + step);
            if ((other & 0x7fff) >= 0x7c00 || (h & 0x7fff) == 0)
                continue;
            const double other_error = fabs((double)half(other) - (double)f);
            if (other_error < error || (other_error <= error && (h & 1)))
                fail_msg("%.9g became %04x, %04x is nearer or as near and even", (double)f, h,
                         other);
        }
    }
    uint16_t h;
    elements_from_floats(ELEMENT_F16, &(float){65520}, &h, 1);
    assert_int_equal(h, 0x7c00);
    elements_from_floats(ELEMENT_BF16, &(float){1.00390625f}, &h, 1);    /* halfway: to even */
    assert_int_equal(h, 0x3f80);
    elements_from_floats(ELEMENT_BF16, &(float){1.01171875f}, &h, 1);
    assert_int_equal(h, 0x3f82);
}

/* ---- safetensors ---- */

/* Numbers that each format holds exactly. */
static void fill(float *values, int n, int seed)
{
    for (int i = 0; i < n; i++)
        values[i] = (float)((i * 7 + seed) % 64 - 32) / 8;
}

static const struct catalog_tensor some[] = {
    {.name = "a", .type = ELEMENT_F32, .dimensions = 2, .shape = {3, 5}, .count = 15},
    {.name = "b.weight", .type = ELEMENT_F16, .dimensions = 1, .shape = {7}, .count = 7},
    {.name = "c", .type = ELEMENT_BF16, .dimensions = 3, .shape = {2, 3, 4}, .count = 24},
    {.name = "scalar", .type = ELEMENT_F32, .dimensions = 0, .count = 1},
};
enum { SOME = sizeof some / sizeof some[0], MOST = 24 };

static char *write_some(const char *name)
{
    char *path = path_in(folder, name);
    struct safetensors_writer *w;
    float values[MOST];
    assert_ok(safetensors_create(&w, path, some, SOME));
    for (int i = 0; i < SOME; i++) {
        fill(values, MOST, i);
        assert_ok(safetensors_add(w, values));
    }
    assert_ok(safetensors_close(w));
    return path;
}

static void assert_holds_some(const struct catalog *catalog, const char *prefix, const char *suffix)
{
    for (int i = 0; i < SOME; i++) {
        struct catalog_tensor key;
        float expected[MOST], found[MOST];
        catalog_set_name(&key, "%s%s%s", prefix, some[i].name, suffix);
        const struct catalog_tensor *t = catalog_find(catalog, key.name);
        if (!t)
            fail_msg("there is no %s", key.name);
        assert_int_equal(t->type, some[i].type);
        assert_ok(catalog_check(catalog, t, some[i].shape, some[i].dimensions));
        fill(expected, MOST, i);
        assert_ok(catalog_read(catalog, t, found));
        assert_memory_equal(found, expected, (size_t)some[i].count * sizeof *found);
    }
}

static void test_safetensors_come_back(void **state)
{
    (void)state;
    struct catalog catalog = {0};
    char *path = write_some("some.safetensors");
    assert_ok(safetensors_catalog(&catalog, path));
    assert_ok(catalog_finish(&catalog));
    assert_int_equal(catalog.n, SOME);
    assert_holds_some(&catalog, "", "");
    assert_null(catalog_find(&catalog, "d"));
    assert_fails(catalog_check(&catalog, catalog_find(&catalog, "a"), (int64_t[]){5, 3}, 2),
                 "a has shape (3, 5), expected (5, 3)");
    catalog_release(&catalog);
    free(path);
}

/* A file of this header, with `data_bytes` bytes behind it. */
static struct error *open_header(const char *header, size_t header_bytes, uint64_t says,
                                 size_t data_bytes)
{
    char *bytes = calloc(8 + header_bytes + data_bytes, 1);
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(unsigned char)(says >> (8 * i));
    memcpy(bytes + 8, header, header_bytes);
    char *path = file_write(folder, "bad.safetensors", bytes, 8 + header_bytes + data_bytes);
    struct catalog catalog = {0};
    struct error *e = safetensors_catalog(&catalog, path);
    if (!e)
        e = catalog_finish(&catalog);
    catalog_release(&catalog);
    free(path);
    free(bytes);
    return e;
}

#define X4 "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"

static void test_bad_safetensors_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *part;
    } cases[] = {
        {"{\"a\":{" X4 "}", 4, "not JSON"},
        {"{\"a\":{" X4 "}}x", 4, "not JSON"},
        {"[1]", 4, "not a JSON object"},
        {"{\"a\":{" X4 "}}", 3, "cut off"},
        {"{\"a\":{" X4 "}}", 5, "has 67 bytes, expected 66"},
        {"{\"a\":{" X4 "},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
         "twice"},
        {"{\"a\":{" X4 "},\"b\":{" X4 "}}", 4, "overlap"},
        {"{\"a\":{" X4 "},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}", 12,
         "hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "shape (2) needs"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "BEGIN, END"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "BEGIN, END"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,1e300]}}", 4, "BEGIN, END"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "BEGIN, END"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0.5],\"data_offsets\":[0,4]}}", 4, "whole numbers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "whole numbers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4294967296],"
         "\"data_offsets\":[0,4]}}", 4, "needs"},
        {"{\"a\":7}", 0, "the header's entry of a"},
        {"{\"a\":{}}", 0, "the header's entry of a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t n = strlen(cases[i].header);
        assert_fails(open_header(cases[i].header, n, n, cases[i].data), cases[i].part);
    }
    const char good[] = "{\"a\":{" X4 "}}  ";
    assert_ok(open_header(good, sizeof good - 1, sizeof good - 1, 4));
    assert_fails(open_header(good, sizeof good - 1, 1000, 4), "says its header has 1000 bytes");
    assert_fails(open_header(good, sizeof good - 1, UINT64_MAX, 4), "bad.safetensors says");
    assert_fails(open_header("", 0, 0, 0), "not JSON");
    assert_fails(open_header(good, sizeof good, sizeof good, 4), "not text");    /* the zero byte */
}

static void test_deep_and_huge_headers_cost_nothing(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    char *deep = malloc(2 * DEEP);
    memset(deep, '[', DEEP);
    memset(deep + DEEP, ']', DEEP);
    assert_fails(open_header(deep, 2 * DEEP, 2 * DEEP, 0), "nested 100000 deep");
    free(deep);

    /* A sparse file whose header would have 200 MB. */
    const unsigned char says[8] = {0, 0, 0, 12};
    char *path = file_write(folder, "huge.safetensors", says, sizeof says);
    struct catalog catalog = {0};
    assert_int_equal(truncate(path, (off_t)1 << 30), 0);
    assert_fails(safetensors_catalog(&catalog, path), "are the most");
    catalog_release(&catalog);
    free(path);
}

static void test_types_that_cannot_be_read_are_named(void **state)
{
    (void)state;
    const char header[] = "{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}";
    char bytes[8 + sizeof header - 1 + 8] = {sizeof header - 1};
    struct catalog catalog = {0};
    memcpy(bytes + 8, header, sizeof header - 1);
    char *path = file_write(folder, "int.safetensors", bytes, sizeof bytes);
    assert_ok(safetensors_catalog(&catalog, path));
    assert_fails(catalog_check(&catalog, catalog_find(&catalog, "a"), (int64_t[]){1}, 1),
                 "a is of type I64");
    catalog_release(&catalog);
    free(path);
}

static struct error *open_index(const char *index)
{
    char *path = file_write(folder, "model.safetensors.index.json", index, strlen(index));
    struct catalog catalog = {0};
    struct error *e = safetensors_catalog_index(&catalog, folder, path);
    catalog_release(&catalog);
    free(path);
    return e;
}

static void test_an_index_must_tell_the_truth(void **state)
{
    (void)state;
    free(write_some("one.safetensors"));
    assert_ok(open_index("{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"one.safetensors\"}}"));
    assert_fails(open_index("{\"weight_map\":{\"d\":\"one.safetensors\"}}"), "which it does not");
    assert_fails(open_index("{\"weight_map\":{\"a\":\"two.safetensors\"}}"), "two.safetensors");
    assert_fails(open_index("{\"weight_map\":{\"a\":\"../one.safetensors\"}}"),
                 "no file name for a");
    assert_fails(open_index("{\"weight_map\":{\"a\":3}}"), "no file name for a");
    assert_fails(open_index("{}"), "\"weight_map\" is missing");
    free(write_some("two.safetensors"));
    assert_fails(open_index("{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"two.safetensors\"}}"),
                 "both hold");
}

/* ---- Keras ---- */

static char *write_keras(const char *name, const char *prefix)
{
    char *path = path_in(folder, name);
    struct keras_h5_writer *w;
    float values[MOST];
    assert_ok(keras_h5_create(&w, path));
    assert_ok(keras_h5_add_layer(w, "", "", "model"));
    for (int i = 0; i < SOME; i++) {
        struct catalog_tensor t = some[i];
        catalog_set_name(&t, "%s%s", prefix, some[i].name);
        assert_ok(keras_h5_add_layer(w, "", t.name, some[i].name));
        catalog_set_name(&t, "%s%s/vars/0", prefix, some[i].name);
        fill(values, MOST, i);
        assert_ok(keras_h5_add(w, &t, values));
    }
    assert_ok(keras_h5_close(w));
    return path;
}

static void test_keras_weights_come_back_under_any_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *written, *read;
    } spellings[] = {
        {"/layers/", "/layers/"},
        {"/_layer_checkpoint_dependencies/", "/layers/"},
        {"/layers/gpt2_backbone/layers/", "/layers/"},
        {"/_layer_checkpoint_dependencies/gpt2_backbone/_layer_checkpoint_dependencies/",
         "/layers/"},
        {"/layers/x/_query_dense/", "/layers/x/query_dense/"},
        {"/layers/x/_output_dense/", "/layers/x/output_dense/"},
    };
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        struct catalog catalog = {0};
        char *path = write_keras("some.weights.h5", spellings[i].written);
        assert_ok(keras_h5_catalog(&catalog, path));
        assert_int_equal(catalog.n, SOME);
        assert_holds_some(&catalog, spellings[i].read, "/vars/0");
        catalog_release(&catalog);
        free(path);
    }
}

static struct error *open_keras(const char *path)
{
    struct catalog catalog = {0};
    struct error *e = keras_h5_catalog(&catalog, path);
    catalog_release(&catalog);
    return e;
}

static void test_bad_keras_weights_are_refused(void **state)
{
    (void)state;
    char *text = file_write(folder, "text.weights.h5", "weights", 7);
    assert_fails(open_keras(text), "text.weights.h5 is not an HDF5 file");
    free(text);
    assert_fails(open_keras("nowhere.weights.h5"), "cannot read nowhere.weights.h5");
    assert_fails(open_keras(folder), "is not a file");

    char *path = write_keras("cut.weights.h5", "/layers/");
    struct bytes whole = file_read(path);
    for (size_t bytes = 0; bytes < whole.count; bytes += 97) {
        free(file_write(folder, "cut.weights.h5", whole.data, bytes));
        assert_fails(open_keras(path), "cut.weights.h5");
    }
    free(whole.data);
    free(path);
}

static void test_a_sharded_index_of_keras_weights(void **state)
{
    (void)state;
    free(write_keras("model_00000.weights.h5", "/layers/x/"));
    free(write_keras("model_00001.weights.h5", "/layers/y/"));
    const char index[] = "{\"weight_map\": {\"/layers/x/a/vars\": \"model_00000.weights.h5\", "
                         "\"/layers/y/a/vars\": [\"model_00001.weights.h5\"]}}";
    char *path = file_write(folder, "model.weights.json", index, sizeof index - 1);
    struct catalog catalog = {0};
    assert_ok(keras_h5_catalog_index(&catalog, folder, path));
    assert_int_equal(catalog.n, 2 * SOME);
    assert_holds_some(&catalog, "/layers/x/", "/vars/0");
    assert_holds_some(&catalog, "/layers/y/", "/vars/0");
    catalog_release(&catalog);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_half_precision_number_comes_back),
        cmocka_unit_test(test_halves_are_rounded_to_nearest_even),
        cmocka_unit_test(test_safetensors_come_back),
        cmocka_unit_test(test_bad_safetensors_headers_are_refused),
        cmocka_unit_test(test_deep_and_huge_headers_cost_nothing),
        cmocka_unit_test(test_types_that_cannot_be_read_are_named),
        cmocka_unit_test(test_an_index_must_tell_the_truth),
        cmocka_unit_test(test_keras_weights_come_back_under_any_spelling),
        cmocka_unit_test(test_bad_keras_weights_are_refused),
        cmocka_unit_test(test_a_sharded_index_of_keras_weights),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
