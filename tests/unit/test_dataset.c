/* test_dataset.c - text files as numbered samples: which, in what order, and what happens when a
 * file is not as it should be. */
#include "testing.h"

#include "data/dataset.h"
#include "data_files.h"
#include "datasets.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- What the tests share ---- */

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

/* ---- Which samples ---- */

static void test_samples_are_lines_of_at_least_min_bytes_without_cr(void **state)
{
    const char text[] = "four\nabc\n\nf\xc3\xa9g\r\nlonger one\n\r\r\n12\r3\n12\r34\nlast";
    char *const path = file_write(*state, "a.txt", text, sizeof text - 1);
    struct dataset *d;
    assert_ok(open_dataset(&d, path, 4, NULL, *state));
    const char *const expected[] = {"four", "f\xc3\xa9g", "longer one", "1234", "last"};
    assert_int_equal(dataset_samples(d), 5);
    for (int i = 0; i < 5; i++)
        assert_sample(d, i, expected[i]);
    assert_int_equal(dataset_bytes(d), 4 + 4 + 10 + 4 + 4);

    static const int64_t lines[] = {1, 4, 5, 8, 9};
    for (int i = 0; i < 5; i++) {
        const char *where;
        int64_t line;
        dataset_where(d, i, &where, &line);
        assert_string_equal(where, path);
        assert_int_equal(line, lines[i]);
    }
    dataset_close(d);

    assert_ok(open_dataset(&d, path, 0, NULL, *state));
    assert_int_equal(dataset_samples(d), 9);
    assert_sample(d, 2, "");
    assert_sample(d, 5, "");
    dataset_close(d);
    free(path);
}

/* Cut in files, packed or not, with CR LF: the same samples and the same fingerprint. */
static void test_packing_and_cutting_change_neither_samples_nor_fingerprint(void **state)
{
    struct bytes text = lines_of_text(3000);
    char *const cut = (char *)memchr(text.data + text.count / 2, '\n', text.count / 2) + 1;
    const size_t first = (size_t)(cut - text.data), second = text.count - first;
    struct bytes with_cr = {0};
    FILE *f = open_memstream(&with_cr.data, &with_cr.count);
    for (size_t i = 0; i < first; i++)
        fprintf(f, text.data[i] == '\n' ? "\r\n" : "%c", text.data[i]);
    fclose(f);
    struct bytes gz = pack_gzip(text.data, first), zst = pack_zstd(cut, second);
    char *const whole = file_write(*state, "whole.txt", text.data, text.count);
    char *const paths[] = {
        file_write(*state, "1.gz", gz.data, gz.count),
        file_write(*state, "2.zst", zst.data, zst.count),
        file_write(*state, "1.cr", with_cr.data, with_cr.count - 2),    /* no line feed at the end */
        file_write(*state, "2.txt", cut, second),
    };
    struct dataset *d;
    assert_ok(open_dataset(&d, whole, 20, NULL, *state));
    struct bytes expected = all_samples(d);
    const uint64_t fingerprint = dataset_fingerprint(d);
    assert_true(dataset_samples(d) > 2000 && dataset_samples(d) < 3000);
    dataset_close(d);

    static const int pairs[][2] = {{0, 1}, {0, 3}, {2, 1}, {2, 3}};
    for (int i = 0; i < 4; i++) {
        const char *const inputs[] = {paths[pairs[i][0]], paths[pairs[i][1]]};
        assert_ok(dataset_open(&d, &(struct dataset_options){
            .inputs = inputs, .input_count = 2, .min_bytes = 20, .temporary_folder = *state,
            .name = "training",
        }));
        struct bytes got = all_samples(d);
        assert_int_equal(got.count, expected.count);
        assert_memory_equal(got.data, expected.data, got.count);
        assert_true(dataset_fingerprint(d) == fingerprint);
        dataset_close(d);
        free(got.data);
    }

    text.data[text.count / 3] ^= 1;
    char *const changed = file_write(*state, "changed.txt", text.data, text.count);
    assert_ok(open_dataset(&d, changed, 20, NULL, *state));
    assert_true(dataset_fingerprint(d) != fingerprint);
    dataset_close(d);
    free(changed);
    free(whole);
    for (int i = 0; i < 4; i++)
        free(paths[i]);
    struct bytes *const all[] = {&text, &with_cr, &gz, &zst, &expected};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->data);
}

/* Longer than what one read takes, and than a block of the source. */
static void test_lines_of_any_length_are_read_whole(void **state)
{
    static const size_t lengths[] = {1, 65534, 65535, 65536, 65537, 3000000, 7};
    struct bytes text = {0};
    FILE *f = open_memstream(&text.data, &text.count);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (size_t n = 0; n < lengths[i]; n++)
            fputc('a' + (int)i, f);
        fputc('\n', f);
    }
    fclose(f);
    for (int packed = 0; packed < 2; packed++) {
        struct bytes zst = pack_zstd(text.data, text.count);
        char *const path = packed ? file_write(*state, "long.zst", zst.data, zst.count)
                                  : file_write(*state, "long.txt", text.data, text.count);
        struct dataset *d;
        assert_ok(open_dataset(&d, path, 1, NULL, *state));
        char *const scratch = malloc(dataset_scratch_bytes(d));
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            const char *sample;
            size_t bytes;
            assert_ok(dataset_sample(d, (int64_t)i, scratch, &sample, &bytes));
            assert_int_equal(bytes, lengths[i]);
            assert_int_equal(sample[0], 'a' + (int)i);
            assert_int_equal(sample[bytes - 1], 'a' + (int)i);
        }
        free(scratch);
        dataset_close(d);
        free(path);
        free(zst.data);
    }
    free(text.data);
}

static void test_the_novels_have_their_known_samples(void **state)
{
    char *const path = shared_data("novels/valid.txt.gz");
    if (!path) {
        print_message("no novels/valid.txt.gz in the data folder\n");
        skip();
    }
    struct dataset *d;
    assert_ok(open_dataset(&d, path, 513, NULL, *state));
    assert_int_equal(dataset_samples(d), 1295);
    dataset_close(d);
    assert_ok(open_dataset(&d, path, 0, NULL, *state));
    assert_int_equal(dataset_samples(d), 1297);
    assert_int_equal(dataset_bytes(d), 1071022 - 1297);
    dataset_close(d);
    free(path);
}

struct reader_thread {
    const struct dataset *dataset;
    const struct bytes *expected;
    pthread_t thread;
    bool same;
};

static void *read_all_samples(void *argument)
{
    struct reader_thread *const r = argument;
    struct bytes got = all_samples(r->dataset);
    r->same = got.count == r->expected->count && !memcmp(got.data, r->expected->data, got.count);
    free(got.data);
    return NULL;
}

static void test_threads_read_the_same_dataset_together(void **state)
{
    struct bytes text = lines_of_text(1000);
    char *const path = file_write(*state, "a.txt", text.data, text.count);
    struct dataset *d;
    assert_ok(open_dataset(&d, path, 0, NULL, *state));
    struct reader_thread threads[4];
    for (int i = 0; i < 4; i++) {
        threads[i] = (struct reader_thread){.dataset = d, .expected = &text};
        assert_int_equal(pthread_create(&threads[i].thread, NULL, read_all_samples, &threads[i]),
                         0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i].thread, NULL);
        assert_true(threads[i].same);
    }
    dataset_close(d);
    free(path);
    free(text.data);
}

static void test_more_files_than_the_soft_limit_of_descriptors(void **state)
{
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 40;
    for (int i = 0; i < 100; i++) {
        char name[16], text[16];
        snprintf(name, sizeof name, "%03d.txt", i);
        free(file_write(*state, name, text, (size_t)snprintf(text, sizeof text, "text %d\n", i)));
    }
    char *const pattern = path_in(*state, "*.txt");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct dataset *d;
    assert_ok(open_dataset(&d, pattern, 1, NULL, *state));
    assert_int_equal(dataset_samples(d), 100);
    assert_sample(d, 0, "text 0");
    assert_sample(d, 99, "text 99");
    dataset_close(d);
    setrlimit(RLIMIT_NOFILE, &before);
    free(pattern);
}

/* ---- What goes wrong ---- */

static void test_text_without_a_long_enough_line_says_what_it_has(void **state)
{
    char *const path = file_write(*state, "a.txt", "123456\n1\n12345\r67\n", 18);
    struct dataset *d;
    assert_fails(open_dataset(&d, path, 513, NULL, *state),
                 "none of the 3 lines of the training data has at least 513 bytes "
                 "(data.min_bytes); the longest has 7; lower that minimum");
    assert_int_equal(files_in(*state), 1);
    free(path);
}

static void test_a_file_that_changes_is_an_error_that_names_it(void **state)
{
    struct bytes text = lines_of_text(5000);
    char *const path = file_write(*state, "moving.txt", text.data, text.count);
    struct dataset *d;
    for (int kind = 0; kind < 3; kind++) {
        free(file_write(*state, "moving.txt", text.data, text.count));
        assert_ok(open_dataset(&d, path, 0, NULL, *state));
        assert_ok(try_sample(d, 4999));
        const char *expected = "moving.txt changed since it was scanned, from";
        if (kind == 0)
            assert_int_equal(truncate(path, 1000), 0);
        else if (kind == 1)
            assert_int_equal(truncate(path, (off_t)text.count + 1), 0);
        else {
            const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
            assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
            expected = "moving.txt was written to since it was scanned";
        }
        assert_fails(try_sample(d, 4999), expected);
        assert_fails(try_sample(d, 0), expected);
        dataset_close(d);
    }

    /* Removed or replaced by rename: the file that was scanned is still there to read. */
    free(file_write(*state, "moving.txt", text.data, text.count));
    assert_ok(open_dataset(&d, path, 0, NULL, *state));
    assert_int_equal(unlink(path), 0);
    assert_ok(try_sample(d, 4999));
    dataset_close(d);
    free(path);
    free(text.data);
}

static void test_an_unpacked_text_that_shrinks_is_an_error(void **state)
{
    struct bytes text = lines_of_text(5000), gz = pack_gzip(text.data, text.count);
    char *const path = file_write(*state, "a.gz", gz.data, gz.count);
    char *const body = path_in(*state, "training.text");
    struct dataset *d;
    assert_ok(open_dataset(&d, path, 0, *state, NULL));
    assert_int_equal(truncate(body, 1000), 0);
    assert_ok(try_sample(d, 0));
    assert_fails(try_sample(d, 4999), "the unpacked text of");
    dataset_close(d);
    free(text.data);
    free(gz.data);
    free(body);
    free(path);
}

static void test_errors_of_the_text_come_through(void **state)
{
    char *const bad = file_write(*state, "bad.txt", "fine\nnot \xff fine\n", 16);
    struct dataset *d;
    assert_fails(open_dataset(&d, bad, 0, NULL, *state), "bad.txt, line 2, byte 5: invalid UTF-8");
    assert_fails(open_dataset(&d, bad, 0, *state, NULL), "bad.txt, line 2, byte 5: invalid UTF-8");
    assert_int_equal(files_in(*state), 1);
    free(bad);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_samples_are_lines_of_at_least_min_bytes_without_cr),
        TEST(test_packing_and_cutting_change_neither_samples_nor_fingerprint),
        TEST(test_lines_of_any_length_are_read_whole),
        TEST(test_the_novels_have_their_known_samples),
        TEST(test_threads_read_the_same_dataset_together),
        TEST(test_more_files_than_the_soft_limit_of_descriptors),
        TEST(test_text_without_a_long_enough_line_says_what_it_has),
        TEST(test_a_file_that_changes_is_an_error_that_names_it),
        TEST(test_an_unpacked_text_that_shrinks_is_an_error),
        TEST(test_errors_of_the_text_come_through),
    };
    return cmocka_run_group_tests_name("dataset", tests, NULL, NULL);
}
