/* test_dataset_cache.c - what a dataset keeps in files: made once, used while its inputs stay, made
 * anew where it is damaged; and what happens when the disk is full or not to be written. */
#include "testing.h"

#include "data/dataset.h"
#include "data_files.h"
#include "datasets.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- A disk that gets full ---- */

static int64_t room_on_disk = INT64_MAX;    /* bytes that write() still takes */

ssize_t __real_write(int fd, const void *data, size_t bytes);
ssize_t __wrap_write(int fd, const void *data, size_t bytes);
ssize_t __wrap_write(int fd, const void *data, size_t bytes)
{
    if (room_on_disk == 0) {
        errno = ENOSPC;
        return -1;
    }
    if ((int64_t)bytes > room_on_disk)
        bytes = (size_t)room_on_disk;
    if (room_on_disk != INT64_MAX)
        room_on_disk -= (int64_t)bytes;
    return __real_write(fd, data, bytes);
}

static int enter(void **state)
{
    *state = folder_create();
    return 0;
}

static int leave(void **state)
{
    room_on_disk = INT64_MAX;
    folder_remove(*state);
    return 0;
}

/* ---- The cache ---- */

static void test_a_cache_is_made_once_and_used_while_inputs_stay(void **state)
{
    struct bytes text = lines_of_text(500), zst = pack_zstd(text.data, text.count);
    char *const path = file_write(*state, "a.zst", zst.data, zst.count);
    char *const cache = path_in(*state, "cache");
    struct dataset *d, *second;
    assert_ok(open_dataset(&d, path, 10, cache, NULL));
    struct bytes expected = all_samples(d);
    const ino_t index = inode_of(cache, "training.index"), body = inode_of(cache, "training.text");
    assert_true(index && body);
    assert_int_equal(files_in(cache), 2);

    assert_ok(open_dataset(&second, path, 10, cache, NULL));
    assert_int_equal(inode_of(cache, "training.index"), index);
    assert_int_equal(inode_of(cache, "training.text"), body);
    struct bytes got = all_samples(second);
    assert_memory_equal(got.data, expected.data, expected.count);
    assert_int_equal(dataset_samples(second), dataset_samples(d));
    assert_int_equal(dataset_bytes(second), dataset_bytes(d));
    assert_true(dataset_fingerprint(second) == dataset_fingerprint(d));
    dataset_close(second);
    free(got.data);

    /* Another min_bytes, then another time of the file: made anew, what is open goes on. */
    assert_ok(open_dataset(&second, path, 40, cache, NULL));
    assert_true(dataset_samples(second) < dataset_samples(d));
    assert_true(inode_of(cache, "training.index") != index);
    dataset_close(second);
    assert_ok(open_dataset(&second, path, 10, cache, NULL));
    dataset_close(second);
    const ino_t again = inode_of(cache, "training.index");
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_ok(open_dataset(&second, path, 10, cache, NULL));
    assert_true(inode_of(cache, "training.index") != again);
    dataset_close(second);
    got = all_samples(d);
    assert_memory_equal(got.data, expected.data, expected.count);
    dataset_close(d);
    struct bytes *const all[] = {&text, &zst, &expected, &got};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->data);
    free(cache);
    free(path);
}

static void test_a_damaged_cache_is_made_anew(void **state)
{
    struct bytes text = lines_of_text(50), gz = pack_gzip(text.data, text.count);
    char *const path = file_write(*state, "a.gz", gz.data, gz.count);
    char *const cache = path_in(*state, "cache");
    char *const index = path_in(cache, "training.index"), *const body = path_in(cache,
                                                                                "training.text");
    struct dataset *d;
    assert_ok(open_dataset(&d, path, 0, cache, NULL));
    dataset_close(d);
    struct bytes good_index = file_read(index), good_text = file_read(body);

    for (size_t cut = 0; cut < good_index.count; cut += 1 + cut / 8) {
        free(file_write(cache, "training.index", good_index.data, cut));
        assert_ok(open_dataset(&d, path, 0, cache, NULL));
        struct bytes got = all_samples(d);
        assert_memory_equal(got.data, text.data, text.count);
        free(got.data);
        dataset_close(d);
    }
    free(file_write(cache, "training.text", good_text.data, good_text.count - 1));
    assert_ok(open_dataset(&d, path, 0, cache, NULL));
    struct bytes got = all_samples(d);
    assert_memory_equal(got.data, text.data, text.count);
    free(got.data);
    dataset_close(d);

    for (size_t at = 0; at < good_index.count; at++) {
        struct bytes bad = file_read(index);
        bad.data[at] ^= 0x10;
        free(file_write(cache, "training.index", bad.data, bad.count));
        free(bad.data);
        assert_ok(open_dataset(&d, path, 0, cache, NULL));
        got = all_samples(d);
        assert_int_equal(got.count, text.count);
        assert_memory_equal(got.data, text.data, text.count);
        free(got.data);
        dataset_close(d);
    }

    /* Damaged while it is open: an address that is not the start of a line. */
    assert_ok(open_dataset(&d, path, 0, cache, NULL));
    const int fd = open(index, O_WRONLY);
    const int64_t wrong[] = {3, 1, INT64_MAX - 1, -1};
    for (int64_t i = 0; i < 4; i++) {
        assert_int_equal(pwrite(fd, &wrong[i], 8, 8 * 7), 8);
        struct error *e = try_sample(d, 7);
        assert_non_null(e);
        error_destroy(e);
    }
    close(fd);
    dataset_close(d);
    free(good_index.data);
    free(good_text.data);
    free(text.data);
    free(gz.data);
    free(cache);
    free(index);
    free(body);
    free(path);
}

static void test_what_a_killed_process_left_is_overwritten(void **state)
{
    struct bytes text = lines_of_text(50), gz = pack_gzip(text.data, text.count);
    struct bytes more = join(text, text);
    char *const path = file_write(*state, "a.gz", gz.data, gz.count);
    free(file_write(*state, "training.text.partial", more.data, more.count));
    free(file_write(*state, "training.index.partial", more.data, more.count));
    struct dataset *d;
    assert_ok(open_dataset(&d, path, 0, *state, NULL));
    struct bytes got = all_samples(d);
    assert_memory_equal(got.data, text.data, text.count);
    dataset_close(d);
    assert_int_equal(files_in(*state), 3);

    const ino_t index = inode_of(*state, "training.index");    /* whole, so it is used again */
    assert_ok(open_dataset(&d, path, 0, *state, NULL));
    assert_int_equal(inode_of(*state, "training.index"), index);
    dataset_close(d);
    struct bytes *const all[] = {&text, &gz, &more, &got};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->data);
    free(path);
}

static void test_two_that_make_one_cache_are_told_apart(void **state)
{
    char *const path = file_write(*state, "a.txt", "text\n", 5);
    char *const partial = file_write(*state, "training.index.partial", "", 0);
    const int fd = open(partial, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    struct dataset *d;
    assert_fails(open_dataset(&d, path, 0, *state, NULL), "another process is writing");
    assert_true(inode_of(*state, "training.index.partial") != 0);    /* not ours to remove */
    close(fd);
    assert_ok(open_dataset(&d, path, 0, *state, NULL));
    dataset_close(d);
    free(partial);
    free(path);
}

static void test_unnamed_files_leave_nothing(void **state)
{
    struct bytes gz = pack_gzip("one\ntwo\n", 8);
    char *const path = file_write(*state, "a.gz", gz.data, gz.count);
    struct dataset *d;
    assert_ok(open_dataset(&d, path, 0, NULL, *state));
    assert_int_equal(files_in(*state), 1);
    assert_sample(d, 1, "two");
    dataset_close(d);
    assert_int_equal(files_in(*state), 1);
    free(gz.data);
    free(path);
}

static void test_a_full_disk_is_a_clear_error_and_leaves_nothing(void **state)
{
    struct bytes text = lines_of_text(50000), zst = pack_zstd(text.data, text.count);
    char *const path = file_write(*state, "a.zst", zst.data, zst.count);
    char *const cache = path_in(*state, "cache");
    struct dataset *d;
    for (int named = 0; named < 2; named++)
        for (int64_t room = 0; room < (int64_t)text.count + 400000; room += 300001) {
            room_on_disk = room;
            struct error *e = open_dataset(&d, path, 0, named ? cache : NULL, *state);
            assert_non_null(e);
            assert_non_null(strstr(error_message(e), "No space left on device"));
            assert_non_null(strstr(error_message(e), named ? cache : *state));
            error_destroy(e);
            if (named)
                assert_int_equal(files_in(cache), 0);
        }
    room_on_disk = INT64_MAX;
    assert_ok(open_dataset(&d, path, 0, cache, *state));
    dataset_close(d);
    free(text.data);
    free(zst.data);
    free(cache);
    free(path);
}

static void test_a_folder_that_cannot_be_written_is_named(void **state)
{
    char *const path = file_write(*state, "a.txt", "text\n", 5);
    char *const inside_a_file = path_in(path, "cache");
    struct dataset *d;
    assert_fails(open_dataset(&d, path, 0, inside_a_file, NULL), "cannot create the folder");
    assert_fails(open_dataset(&d, path, 0, NULL, inside_a_file), "cannot create a temporary file");
    free(inside_a_file);
    free(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_cache_is_made_once_and_used_while_inputs_stay),
        TEST(test_a_damaged_cache_is_made_anew),
        TEST(test_what_a_killed_process_left_is_overwritten),
        TEST(test_two_that_make_one_cache_are_told_apart),
        TEST(test_unnamed_files_leave_nothing),
        TEST(test_a_full_disk_is_a_clear_error_and_leaves_nothing),
        TEST(test_a_folder_that_cannot_be_written_is_named),
    };
    return cmocka_run_group_tests_name("dataset cache", tests, NULL, NULL);
}
