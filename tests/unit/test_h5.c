/* test_h5.c - what src/formats/h5.h promises beside the contents of files, which others test. */
#include "testing.h"

#include "formats/h5.h"

#include <malloc.h>
#include <unistd.h>

enum { COLUMNS = 5, FILES = 300 };

static size_t allocated_bytes(void)
{
    return mallinfo2().uordblks;
}

/* Sanitizers have an allocator of their own. */
static bool allocations_are_seen(void)
{
    const size_t before = allocated_bytes();
    void *volatile memory = malloc(1000);
    const bool seen = allocated_bytes() >= before + 1000;
    free(memory);
    return seen;
}

static void write_and_read(const double *table, int64_t rows)
{
    static const char path[] = "table.h5";
    struct h5_file *file;
    double *read;
    int64_t read_rows;
    assert_ok(h5_create(&file, path, 0));
    assert_ok(h5_write_doubles(file, "/table", (const int64_t[]){rows, COLUMNS}, 2, table));
    assert_ok(h5_close(file));
    assert_ok(h5_open(&file, path));
    assert_ok(h5_read_rows(file, "/table", COLUMNS, FILES, &read, &read_rows));
    assert_ok(h5_close(file));
    assert_int_equal(read_rows, rows);
    free(read);
    unlink(path);
}

/* As the checkpoints of a long run are: each holds a longer history than the one before. */
static void test_files_of_ever_new_sizes_leave_no_memory_behind(void **state)
{
    (void)state;
    static double table[FILES][COLUMNS];
    if (!allocations_are_seen())
        skip();
    size_t before = 0;
    for (int i = 1; i <= FILES; i++) {
        write_and_read(&table[0][0], i);
        if (i == 10)    /* what a library allocates once is there */
            before = allocated_bytes();
    }
    const size_t after = allocated_bytes();
    print_message("%zu bytes after 10 files, %zu after %d\n", before, after, FILES);
    assert_true(after < before + 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_of_ever_new_sizes_leave_no_memory_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
