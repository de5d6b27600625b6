/* test_tell.c - a run that nobody listens to goes on, and says so when somebody does again. */
#include "testing.h"

#include "base/clock.h"
#include "base/tell.h"

#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINES = 20000, LATER = 100 };

/* In a process of its own: tells LINES lines into a pipe nobody reads, says on `done` that it has,
 * and, once it is asked to, LATER more. */
static void speak(int out, int done, int again)
{
    char c = 0;
    dup2(out, STDOUT_FILENO);
    for (int i = 0; i < LINES; i++)
        tell(stdout, "line %d, which says nothing that anybody would have to know\n", i);
    if (write(done, &c, 1) != 1 || read(again, &c, 1) != 1)
        _exit(1);
    for (int i = LINES; i < LINES + LATER; i++)
        tell(stdout, "line %d, which says nothing that anybody would have to know\n", i);
    _exit(0);
}

/* What was read so far. */
struct heard {
    int lines, last, missing;
};

/* Reads `lines` lines, or to the end; each must be whole and in order. */
static void hear(FILE *in, int lines, struct heard *h)
{
    char line[256];
    for (int n = 0; n < lines && fgets(line, sizeof line, in); n++) {
        int i, end = 0;
        if (sscanf(line, "(%d lines are missing: nobody "
                   "read them)\n%n", &h->missing, &end) == 1 && end > 0)
            continue;
        if (sscanf(line, "line %d, which says nothing that anybody would "
                   "have to know\n%n", &i, &end) != 1 ||
            line[end] || i <= h->last)
            fail_msg("after line %d: %s", h->last, line);
        h->last = i;
        h->lines++;
    }
}

static void test_a_reader_that_stops_reading_stops_nobody(void **state)
{
    struct heard heard = {.last = -1};
    int out[2], done[2], again[2], status;
    char c;
    (void)state;
    assert_int_equal(pipe(out) | pipe(done) | pipe(again), 0);
    const double start_s = clock_now_s();
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        speak(out[1], done[1], again[0]);
    close(out[1]);
    close(done[1]);
    assert_int_equal(read(done[0], &c, 1), 1);
    assert_true(clock_now_s() - start_s < 10);

    /* The pipe is full, of a thousand lines; what follows finds room in place of those that are
     * read. */
    FILE *in = fdopen(out[0], "r");
    assert_non_null(in);
    hear(in, 5 * LATER, &heard);
    assert_int_equal(heard.lines, 5 * LATER);
    assert_int_equal(write(again[1], "", 1), 1);
    hear(in, INT_MAX, &heard);
    fclose(in);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(heard.last, LINES + LATER - 1);
    assert_true(heard.missing > 0);
    assert_int_equal(heard.lines + heard.missing, LINES + LATER);
    close(done[0]);
    close(again[0]);
    close(again[1]);
}

/* A line longer than any buffer, to a stream that is neither standard output nor standard error. */
static void test_a_long_text_is_whole(void **state)
{
    enum { BYTES = 100000 };
    char *text = malloc(BYTES + 1), *back = malloc(BYTES + 2);
    FILE *file = tmpfile();
    (void)state;
    assert_true(text && back && file);
    memset(text, 'x', BYTES);
    text[BYTES] = '\0';
    tell(file, "%s\n", text);
    rewind(file);
    assert_int_equal(fread(back, 1, BYTES + 2, file), BYTES + 1);
    assert_memory_equal(back, text, BYTES);
    fclose(file);
    free(back);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_reader_that_stops_reading_stops_nobody),
        cmocka_unit_test(test_a_long_text_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
