/*
 * test_write_faults.c - a checkpoint whose writing fails, at any call and in any way, is told of,
 * leaves nothing behind, and the one before survives.
 */
#include "testing.h"

#include "fault_calls.h"
#include "train/saver.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

static const struct model_spec spec = {
    .family = MODEL_MINI_GPT, .V = 11, .positions = 8, .C = 6, .NH = 2, .F = 5, .L = 1};
static const char vocabulary[] = "[PAD]\n[UNK]\n[BOS]\na\nb\n##a\n";
static const char first_path[] = "faults/checkpoints/step-00000001.h5";
static const char second_path[] = "faults/checkpoints/step-00000002.h5";

/* What HDF5 keeps of a file it could not close. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

struct state {
    struct parameters *parameters;
    struct tokenizer *tokenizer;
    float *values;
};

static struct checkpoint content(const struct state *s, int64_t step)
{
    return (struct checkpoint){
        .spec = &spec, .parameters = s->parameters, .weights = s->values, .m = s->values,
        .v = s->values, .tokenizer = s->tokenizer, .config_yaml = "run:\n    seed: 9\n",
        .progress = {.step = step, .best_step = -1}};
}

static int setup(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    assert_int_equal(system("rm -rf faults && mkdir -p faults/checkpoints"), 0);
    assert_ok(parameters_create(&s->parameters, &spec));
    assert_ok(tokenizer_create_wordpiece(&s->tokenizer, vocabulary, sizeof vocabulary - 1, "test",
                                         &(struct wordpiece_options){.split = true}));
    s->values = calloc((size_t)s->parameters->flat_count, sizeof *s->values);
    parameters_initialize(s->parameters, 1, s->values);
    const struct checkpoint first = content(s, 1);
    size_t bytes;
    assert_ok(checkpoint_write("faults", &first, &bytes));
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct state *s = *state;
    parameters_destroy(s->parameters);
    tokenizer_destroy(s->tokenizer);
    free(s->values);
    free(s);
    return 0;
}

static int entries(const char *path)
{
    int n = 0;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while (readdir(folder))
        n++;
    closedir(folder);
    return n - 2;    /* . and .. */
}

static int files_in_folder(void)
{
    return entries("faults/checkpoints");
}

/* Beside the one that reads the list. */
static int open_descriptors(void)
{
    return entries("/proc/self/fd") - 1;
}

/* Step 2 is written with one fault. Returns false once there is no such call any more. */
static bool survives(const struct state *s, enum fault_kind kind, int at, bool forever)
{
    const struct checkpoint second = content(s, 2);
    size_t bytes;
    fault_arm("faults/checkpoints", kind, at, forever);
    struct error *e = checkpoint_write("faults", &second, &bytes);
    const char *failed = fault_failed();
    fault_arm("", FAULT_NONE, 0, false);
    assert_ok(checkpoint_verify(first_path));
    if (e) {
        /* After the rename only the folder's flush can fail: the file is whole, but not
         * promised. */
        const bool renamed = access(second_path, F_OK) == 0;
        if (!failed || !strstr(error_message(e), "writing the checkpoint of step 2") ||
            !strstr(error_message(e), "faults/checkpoints") ||
            !strstr(error_message(e),
                    kind == FAULT_ENOSPC ? "No space left" : "Input/output error"))
            fail_msg("%s at call %d: \"%s\"", failed ? failed : "no fault", at, error_message(e));
        assert_true(!renamed || !strcmp(failed, "fsync"));
        assert_int_equal(files_in_folder(), renamed ? 2 : 1);
    } else {
        assert_ok(checkpoint_verify(second_path));
        /* A short write is gone on with; nothing else may pass for success. */
        if (failed && kind != FAULT_SHORT)
            fail_msg("%s failed at call %d, and nobody noticed", failed, at);
        assert_int_equal(files_in_folder(), 2);
    }
    error_destroy(e);
    unlink(second_path);
    return failed != NULL;
}

static void test_a_failing_call_leaves_the_checkpoint_before(void **state)
{
    static const enum fault_kind kinds[] = {FAULT_ENOSPC, FAULT_EIO, FAULT_SHORT};
    const int open_before = open_descriptors();
    for (int k = 0; k < 3; k++)
        for (int forever = 0; forever < 2; forever++) {
            int at = 1;
            while (survives(*state, kinds[k], at, forever))
                at++;
            print_message("%d calls\n", at - 1);
            assert_true(at > 20);
        }
    assert_int_equal(open_descriptors(), open_before);
}

static void test_the_saver_hands_the_error_over_and_goes_on(void **state)
{
    struct saver *saver;
    const struct checkpoint second = content(*state, 2);
    assert_ok(saver_create(&saver, "faults", 1));
    fault_arm(".partial", FAULT_ENOSPC, 3, true);
    assert_ok(saver_begin(saver, &second, NULL, 0));
    assert_fails(saver_wait(saver), "No space left on device");
    fault_arm("", FAULT_NONE, 0, false);
    assert_ok(checkpoint_verify(first_path));
    assert_true(saver_last_write_s(saver) <= 0);

    assert_ok(saver_begin(saver, &second, NULL, 0));
    assert_ok(saver_wait(saver));
    assert_ok(saver_check(saver));
    assert_true(saver_last_write_s(saver) > 0);
    assert_ok(checkpoint_verify(second_path));
    assert_int_equal(files_in_folder(), 1);    /* only now the first was let go */
    saver_destroy(saver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_failing_call_leaves_the_checkpoint_before),
        cmocka_unit_test(test_the_saver_hands_the_error_over_and_goes_on),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
