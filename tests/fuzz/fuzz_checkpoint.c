/*
 * fuzz_checkpoint.c - a checkpoint comes back bit for bit; a damaged one is refused by name.
 * usage: fuzz_checkpoint [FLIPS [SEED]]      default 400 1
 */
#include "testing.h"

#include "train/checkpoint.h"

#include <sys/stat.h>
#include <unistd.h>

static int flips = 400;
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

static void test_any_flipped_bit_is_refused(void **state)
{
    char message[1024];
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    int harmless = 0, named = 0;
    for (int i = 0; i < flips; i++) {
        const long at = (long)(next_random() % (uint64_t)status.st_size);
        fseek(f, at, SEEK_SET);
        const int byte = fgetc(f);
        fseek(f, at, SEEK_SET);
        fputc(byte ^ (1 << next_random() % 8), f);
        fflush(f);
        if (loads_whole(*state, message, sizeof message))
            harmless++;    /* a hexadecimal digit that changed its case */
        else if (!strstr(message, path))
            fail_msg("a flip at %ld: \"%s\" does not name the file", at, message);
        else
            named += strstr(message, "hashes to") != NULL;
        fseek(f, at, SEEK_SET);
        fputc(byte, f);
        fflush(f);
    }
    fclose(f);
    print_message("%d flips, %d found by a hash, %d without effect\n", flips, named, harmless);
    assert_true(named > 0 && harmless < flips / 50);
    assert_true(loads_whole(*state, message, sizeof message));
}

static void test_any_truncation_is_refused(void **state)
{
    char message[1024];
    struct stat status;
    assert_int_equal(system("cp run/checkpoints/step-00000042.h5 run/whole"), 0);
    assert_int_equal(stat(path, &status), 0);
    for (int i = 0; i < flips / 4; i++) {
        assert_int_equal(truncate(path, (off_t)(next_random() % (uint64_t)status.st_size)), 0);
        assert_false(loads_whole(*state, message, sizeof message));
        assert_non_null(strstr(message, path));
        assert_int_equal(system("cp run/whole run/checkpoints/step-00000042.h5"), 0);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        flips = atoi(argv[1]);
    if (argc > 2)
        random_state = (uint64_t)atoll(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_checkpoint_comes_back_bit_for_bit),
        cmocka_unit_test(test_pruning_keeps_the_newest_and_the_best),
        cmocka_unit_test(test_any_flipped_bit_is_refused),
        cmocka_unit_test(test_any_truncation_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
