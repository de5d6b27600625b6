/*
 * fuzz_checkpoint.c - a checkpoint comes back bit for bit; a damaged one is refused by name.
 * usage: fuzz_checkpoint [MUTATIONS [SEED]]      default 10000 1; the long version: 100000
 */
#include "testing.h"

#include "train/checkpoint.h"

#include <sys/stat.h>
#include <unistd.h>

static int mutations = 10000;
static uint64_t random_state = 1;

static const struct model_spec spec = {
    .family = MODEL_MINI_GPT, .V = 11, .positions = 8, .C = 6, .NH = 2, .F = 5, .L = 1};
static const char vocabulary[] = "[PAD]\n[UNK]\n[BOS]\na\nb\n##a\n";
static const char path[] = "run/checkpoints/step-00000042.h5";

struct state {
    struct parameters *parameters;
    struct tokenizer *tokenizer;
    float *weights, *m, *v;
};

static uint64_t next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 17;
}

static void write_checkpoint(struct state *s, int64_t step)
{
    const struct history_row history[] = {{21, 0.5, 3, 20, 0.1}, {42, 1, 2, 8, 0.25}};
    size_t bytes;
    assert_ok(checkpoint_write("run", &(struct checkpoint){
        .spec = &spec, .parameters = s->parameters, .weights = s->weights, .m = s->m, .v = s->v,
        .tokenizer = s->tokenizer, .config_yaml = "run:\n    seed: 9\n",
        .progress = {.step = step, .epoch = 1, .step_in_epoch = 2, .samples = 3, .tokens = 4,
                     .train_fingerprint = 0xfedcba9876543210u, .seed = 9, .world_size = 2,
                     .best_perplexity = 8, .best_step = 42},
        .history = history, .history_rows = 2}, &bytes));
    assert_true(bytes > 0);
}

static int setup(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    assert_int_equal(system("rm -rf run && mkdir -p run/checkpoints"), 0);
    assert_ok(parameters_create(&s->parameters, &spec));
    assert_ok(tokenizer_create_wordpiece(&s->tokenizer, vocabulary, sizeof vocabulary - 1, "test",
                                         &(struct wordpiece_options){.lowercase = true,
                                                                     .split = true}));
    const size_t bytes = (size_t)s->parameters->flat_count * sizeof(float);
    s->weights = calloc(1, bytes);
    s->m = calloc(1, bytes);
    s->v = calloc(1, bytes);
    parameters_initialize(s->parameters, 1, s->weights);
    parameters_initialize(s->parameters, 2, s->m);
    parameters_initialize(s->parameters, 3, s->v);
    write_checkpoint(s, 42);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct state *s = *state;
    parameters_destroy(s->parameters);
    tokenizer_destroy(s->tokenizer);
    free(s->weights);
    free(s->m);
    free(s->v);
    free(s);
    return 0;
}

/* The file loads with exactly what was written; false if it is refused, with the message. */
static bool loads_whole(const struct state *s, char *message, size_t message_bytes)
{
    struct checkpoint_file *file = NULL;
    const size_t bytes = (size_t)s->parameters->flat_count * sizeof(float);
    float *weights = malloc(bytes), *m = malloc(bytes), *v = malloc(bytes);
    struct error *e = checkpoint_open(&file, path);
    if (!e)
        e = checkpoint_read(file, s->parameters, weights, m, v);
    const bool loaded = !e;
    if (e)
        snprintf(message, message_bytes, "%s", error_message(e));
    error_destroy(e);
    if (loaded) {
        const struct progress *p = checkpoint_progress(file);
        int rows;
        const struct history_row *history = checkpoint_history(file, &rows);
        assert_memory_equal(weights, s->weights, bytes);
        assert_memory_equal(m, s->m, bytes);
        assert_memory_equal(v, s->v, bytes);
        assert_int_equal(p->step, 42);
        assert_true(p->train_fingerprint == 0xfedcba9876543210u && p->seed == 9);
        assert_int_equal(rows, 2);
        assert_int_equal(history[1].step, 42);
        assert_string_equal(checkpoint_config(file), "run:\n    seed: 9\n");
        struct tokenizer *tokenizer;
        assert_ok(checkpoint_tokenizer(file, &tokenizer));
        assert_int_equal(tokenizer_size(tokenizer), 6);
        assert_int_equal(tokenizer_find(tokenizer, "##a"), 5);
        assert_true(tokenizer_definition(tokenizer)->wordpiece.lowercase);
        tokenizer_destroy(tokenizer);
        struct error *same = spec_compare(checkpoint_spec(file), &spec);
        assert_null(same);
    }
    checkpoint_close(file);
    free(weights);
    free(m);
    free(v);
    return loaded;
}

static void test_a_checkpoint_comes_back_bit_for_bit(void **state)
{
    char message[1024];
    assert_true(loads_whole(*state, message, sizeof message));
    assert_ok(checkpoint_verify(path));
}

static void test_pruning_keeps_the_newest_and_the_best(void **state)
{
    for (int64_t step = 43; step < 48; step++)
        write_checkpoint(*state, step);
    assert_ok(checkpoint_prune("run", 2, 47, 42));
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(access("run/checkpoints/step-00000046.h5", F_OK), 0);
    assert_int_equal(access("run/checkpoints/step-00000047.h5", F_OK), 0);
    assert_int_not_equal(access("run/checkpoints/step-00000045.h5", F_OK), 0);
    /* What was passed over, newer than the one just written, neither counts nor goes. */
    assert_ok(checkpoint_prune("run", 1, 46, 42));
    assert_int_equal(access("run/checkpoints/step-00000046.h5", F_OK), 0);
    assert_int_equal(access("run/checkpoints/step-00000047.h5", F_OK), 0);
    assert_ok(checkpoint_prune("run", 1, 47, 42));
    assert_int_not_equal(access("run/checkpoints/step-00000046.h5", F_OK), 0);
    char *newest;
    assert_ok(checkpoint_find_newest("run", &newest));
    assert_string_equal(newest, "run/checkpoints/step-00000047.h5");
    free(newest);
    assert_int_equal(unlink("run/checkpoints/step-00000047.h5"), 0);
}

/* A file in memory: what it was, and what it is after a mutation. */
struct content {
    unsigned char *whole, *bytes;
    size_t size, mutated_size;
};

enum { LONGEST_GROWTH = 5000 };

static struct content read_content(void)
{
    struct content c = {0};
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    c.size = (size_t)status.st_size;
    c.whole = malloc(c.size);
    c.bytes = malloc(c.size + LONGEST_GROWTH);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(c.whole, 1, c.size, f), c.size);
    fclose(f);
    return c;
}

static void write_content(const unsigned char *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static size_t pick(size_t below)
{
    return (size_t)(next_random() % below);
}

/* What disks, networks and half-done copies do to files. */
static const char *mutate(struct content *c)
{
    const size_t at = pick(c->size), block = c->size - at < 4096 ? c->size - at : 1 + pick(4096);
    const size_t n = block < c->size - at ? block : c->size - at;
    memcpy(c->bytes, c->whole, c->size);
    c->mutated_size = c->size;
    switch (pick(8)) {
    case 0:
        c->bytes[at] ^= (unsigned char)(1 << pick(8));
        return "a flipped bit";
    case 1:
        c->bytes[pick(4096)] ^= (unsigned char)(1 << pick(8));
        return "a flipped bit in the manifest";
    case 2:
        c->bytes[at] = (unsigned char)pick(256);
        return "another byte";
    case 3:
        memset(c->bytes + at, 0, n);
        return "a block of zeros";
    case 4:
        for (size_t i = 0; i < n; i++)
            c->bytes[at + i] = (unsigned char)pick(256);
        return "a block of noise";
    case 5:
        memmove(c->bytes + at, c->whole + pick(c->size - n + 1), n);
        return "a block from elsewhere";
    case 6:
        c->mutated_size = at;
        return "an end too early";
    default:
        memset(c->bytes + c->size, (int)pick(256), LONGEST_GROWTH);
        c->mutated_size = c->size + 1 + pick(LONGEST_GROWTH);
        return "an end too late";
    }
}

/* Refused with a message that names the file, or loaded with equal content (loads_whole asserts
 * that). */
static void test_a_mutated_checkpoint_is_refused_by_name(void **state)
{
    char message[1024];
    struct content c = read_content();
    int harmless = 0, hashes = 0;
    for (int i = 0; i < mutations; i++) {
        const char *kind = mutate(&c);
        write_content(c.bytes, c.mutated_size);
        if (loads_whole(*state, message, sizeof message))
            harmless++;    /* nothing changed, or a hexadecimal digit its case */
        else if (!strstr(message, path))
            fail_msg("mutation %d, %s: \"%s\" does not name the file", i, kind, message);
        else
            hashes += strstr(message, "hashes to") != NULL;
    }
    write_content(c.whole, c.size);
    free(c.whole);
    free(c.bytes);
    print_message("%d mutations, %d found by a hash, %d without effect\n", mutations, hashes,
                  harmless);
    assert_true(hashes > 0 && harmless < mutations / 8);
    assert_true(loads_whole(*state, message, sizeof message));
}

int main(int argc, char **argv)
{
    if (argc > 1)
        mutations = atoi(argv[1]);
    if (argc > 2)
        random_state = (uint64_t)atoll(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_checkpoint_comes_back_bit_for_bit),
        cmocka_unit_test(test_pruning_keeps_the_newest_and_the_best),
        cmocka_unit_test(test_a_mutated_checkpoint_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
