/*
 * fuzz_weights.c - damaged files of weights: fuzz_weights [ROUNDS] [SEED].
 *
 * Files of both formats are damaged at random: bits flipped, bytes set, pieces cut out, doubled or
 * cut off. Each must be refused with an error that names it, or read without fault. (Neither format
 * has checksums: a damaged name is another name. fuzz_presets.c looks at what becomes of a model.)
 */
#include "testing.h"

#include "data_files.h"
#include "formats/keras_h5.h"
#include "formats/safetensors.h"

#include <stdbool.h>

enum { TENSORS = 24, MOST = 288 };

static int rounds = 300;
static uint64_t random_state = 1;
static char *folder;

static size_t below(size_t n)
{
    return (size_t)(noise(&random_state) % n);
}

/* What a damaged file may look like; `from` to `end` is where damage is done. */
static struct bytes damage(struct bytes whole, size_t from, size_t end)
{
    struct bytes b = {.data = malloc(2 * whole.count), .count = whole.count};
    memcpy(b.data, whole.data, whole.count);
    const size_t at = from + below(end - from);
    size_t n = 1 + below(64);
    if (n > end - at)
        n = end - at;
    switch (below(6)) {
    case 0:
    case 1:
        b.data[at] = (char)(b.data[at] ^ (1 << below(8)));
        break;
    case 2: {
        static const unsigned char extremes[] = {0, 0x7f, 0x80, 0xff};
        memset(b.data + at, extremes[below(4)], 1 + below(n));
        break;
    }
    case 3:
        memmove(b.data + at, b.data + at + n, b.count - at - n);
        b.count -= n;
        break;
    case 4:
        memmove(b.data + at + n, b.data + at, b.count - at);
        b.count += n;
        break;
    case 5:
        for (size_t i = 0; i < n; i++)
            b.data[from + below(end - from)] = (char)noise(&random_state);
        break;
    }
    return b;
}

static float all_values(const struct catalog *catalog)
{
    float sum = 0;
    for (int i = 0; i < catalog->n; i++) {
        const struct catalog_tensor *t = &catalog->tensors[i];
        if (*t->other_type)
            continue;
        float *values = malloc((size_t)t->count * sizeof *values + 1);
        assert_ok(catalog_read(catalog, t, values));
        for (int64_t k = 0; k < t->count; k++)
            sum += fabsf(values[k]) <= 1e30f ? values[k] : 0;
        free(values);
    }
    return sum;
}

static struct error *open_safetensors(struct catalog *catalog, const char *path)
{
    TRY(safetensors_catalog(catalog, path));
    return catalog_finish(catalog);
}

typedef struct error *open_file(struct catalog *catalog, const char *path);

static bool same_tensors(const struct catalog *a, const struct catalog *b)
{
    if (a->n != b->n)
        return false;
    for (int i = 0; i < a->n; i++)
        if (strcmp(a->tensors[i].name, b->tensors[i].name) ||
            a->tensors[i].type != b->tensors[i].type ||
            a->tensors[i].dimensions != b->tensors[i].dimensions ||
            memcmp(a->tensors[i].shape, b->tensors[i].shape, sizeof a->tensors[i].shape) ||
            a->tensors[i].offset != b->tensors[i].offset)
            return false;
    return true;
}

/* Damages [from, end) of the file at `path` again and again; how many were refused, and how many of
 * the accepted ones say something else than before. */
static void hurt(const char *path, open_file *open, size_t from, size_t end, int *refused,
                 int *different)
{
    const struct bytes whole = file_read(path);
    struct catalog good = {0};
    assert_ok(open(&good, path));
    *refused = *different = 0;
    for (int i = 0; i < rounds; i++) {
        struct bytes bad = damage(whole, from, end);
        if (i % 8 == 7)
            bad.count = below(whole.count);
        free(file_write(folder, "damaged", bad.data, bad.count));
        free(bad.data);
        char *damaged = path_in(folder, "damaged");
        struct catalog catalog = {0};
        struct error *e = open(&catalog, damaged);
        if (e && !strstr(error_message(e), damaged))
            fail_msg("round %d: \"%s\" does not name the file", i, error_message(e));
        *refused += e != NULL;
        if (!e) {
            *different += !same_tensors(&good, &catalog);
            (void)all_values(&catalog);
        }
        error_destroy(e);
        catalog_release(&catalog);
        free(damaged);
    }
    catalog_release(&good);
    free(whole.data);
}

/* Tensors as those of a model: several shapes and all types. */
static void plan(struct catalog_tensor *tensors)
{
    for (int i = 0; i < TENSORS; i++) {
        tensors[i] = (struct catalog_tensor){
            .type = (enum element_type)(i % 3), .dimensions = 1 + i % 3,
            .shape = {2 + i % 2, 4, 1 + i}};
        catalog_set_name(&tensors[i], "/layers/transformer_decoder_%d/dense/vars/%d", i / 2, i % 2);
    }
}

static void test_damaged_safetensors(void **state)
{
    (void)state;
    struct catalog_tensor tensors[TENSORS];
    struct safetensors_writer *w;
    float values[MOST] = {0};
    int refused, different;
    char *path = path_in(folder, "whole.safetensors");
    plan(tensors);
    assert_ok(safetensors_create(&w, path, tensors, TENSORS));
    for (int i = 0; i < TENSORS; i++)
        assert_ok(safetensors_add(w, values));
    assert_ok(safetensors_close(w));
    const struct bytes whole = file_read(path);
    const size_t header = 8 + (unsigned char)whole.data[0] + 256u * (unsigned char)whole.data[1];

    hurt(path, open_safetensors, 0, header, &refused, &different);
    print_message("safetensors: of %d damaged headers %d are refused, %d read otherwise\n", rounds,
                  refused, different);
    assert_true(refused > rounds / 2);
    free(whole.data);
    free(path);
}

static void test_damaged_keras_weights(void **state)
{
    (void)state;
    struct catalog_tensor tensors[TENSORS];
    struct keras_h5_writer *w;
    float values[MOST] = {0};
    int refused, different;
    char *path = path_in(folder, "whole.weights.h5");
    plan(tensors);
    assert_ok(keras_h5_create(&w, path));
    for (int i = 0; i < TENSORS; i++) {
        char layer[64];
        snprintf(layer, sizeof layer, "/layers/transformer_decoder_%d/dense", i / 2);
        if (i % 2 == 0)
            assert_ok(keras_h5_add_layer(w, "", layer, "dense"));
        assert_ok(keras_h5_add(w, &tensors[i], values));
    }
    assert_ok(keras_h5_close(w));
    const struct bytes whole = file_read(path);
    hurt(path, keras_h5_catalog, 0, whole.count, &refused, &different);
    print_message("Keras: of %d damaged files %d are refused, %d read otherwise\n", rounds, refused,
                  different);
    assert_true(refused > rounds / 8);
    free(whole.data);
    free(path);
}

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

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    if (argc > 2)
        random_state = (uint64_t)atoll(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged_safetensors),
        cmocka_unit_test(test_damaged_keras_weights),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
