/*
 * test_pipe.c - what comes through a pipe becomes the same global batches wherever it is taken up
 * again; a writer that is faster waits; damaged streams are refused.
 * usage: test_pipe [FUZZED]      damaged streams, default 300
 */
#include "testing.h"

#include "data/pipe_windows.h"
#include "data_files.h"
#include "token_files.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { T = 16, G = 6, WINDOW = 20, VOCABULARY = 50257, TOKENS = 5040 };

static int fuzzed = 300;
static bool allow_changed;    /* in all options */

/* ---- a pipe, and who writes into it ---- */

struct writer {
    char *fifo;
    struct bytes data;
    atomic_llong written;
    pthread_t thread;
};

static void *write_all(void *self)
{
    struct writer *const w = self;
    const int fd = open(w->fifo, O_WRONLY);
    ssize_t n = 1;
    while (n > 0 && (size_t)w->written < w->data.count) {
        const size_t left = w->data.count - (size_t)w->written;
        n = write(fd, w->data.data + w->written, left < 4096 ? left : 4096);
        if (n > 0)
            w->written += n;
    }
    close(fd);
    return NULL;
}

static void begin_writer(struct writer *w, const char *folder, struct bytes data)
{
    w->fifo = path_in(folder, "fifo");
    w->data = data;
    w->written = 0;
    unlink(w->fifo);
    assert_int_equal(mkfifo(w->fifo, 0600), 0);
    assert_int_equal(pthread_create(&w->thread, NULL, write_all, w), 0);
}

/* Once nobody reads any more; one that nobody ever read from is let go. */
static void end_writer(struct writer *w)
{
    const int fd = open(w->fifo, O_RDONLY | O_NONBLOCK);
    close(fd);
    pthread_join(w->thread, NULL);
    free(w->fifo);
}

static struct pipe_windows_options options_of(const struct writer *w, bool shuffle)
{
    return (struct pipe_windows_options){
        .samples = {.path = w->fifo, .kind = CORPUS_TOKENS, .vocabulary_size = VOCABULARY, .T = T,
                    .allow_changed = allow_changed},
        .global_batch = G, .window = WINDOW, .shuffle = shuffle, .seed = 5,
    };
}

/* Two files of llm.c, of uint16 and uint32, one after the other: TOKENS tokens of token_at. */
static struct bytes two_files(const char *folder)
{
    char *const a = write_llmc(folder, "a.bin", 0, 2001, 2);
    char *const b = write_llmc(folder, "b.bin", 2001, TOKENS - 2001, 4);
    struct bytes first = file_read(a), second = file_read(b), both = join(first, second);
    free(first.data);
    free(second.data);
    free(a);
    free(b);
    return both;
}

/* ---- takes ---- */

enum { STEPS = ((TOKENS - 1) / T + G - 1) / G, PLACES = T + 1 };

struct step {
    int32_t ids[G * PLACES], counts[G];
    struct pipe_take take;
    struct pipe_position after;
};

/* All steps from a position to the end; their number. */
static int take_all(const char *folder, struct bytes data, bool shuffle,
                    const struct pipe_position *from, struct step *steps)
{
    struct writer w;
    struct pipe_windows *windows;
    int n = 0;
    begin_writer(&w, folder, data);
    const struct pipe_windows_options options = options_of(&w, shuffle);
    assert_ok(pipe_windows_open(&windows, &options, from));
    do {
        assert_true(n < STEPS + 1);
        assert_ok(pipe_windows_take(windows, steps[n].ids, steps[n].counts, &steps[n].take));
        steps[n].after = pipe_windows_position(windows);
    } while (steps[n].take.rows && !steps[n++].take.last);
    pipe_windows_close(windows);
    end_writer(&w);
    return n;
}

/* The first take's error, or NULL where the stream is taken to its end. */
static struct error *take_windows(const char *folder, struct bytes data, bool shuffle,
                                  enum corpus_kind kind, const struct tokenizer *tokenizer,
                                  const struct pipe_position *from)
{
    struct writer w;
    struct pipe_windows *windows;
    static struct step step;
    begin_writer(&w, folder, data);
    struct pipe_windows_options options = options_of(&w, shuffle);
    options.samples.kind = kind;
    options.samples.tokenizer = tokenizer;
    assert_ok(pipe_windows_open(&windows, &options, from));
    struct error *e;
    do
        e = pipe_windows_take(windows, step.ids, step.counts, &step.take);
    while (!e && step.take.rows && !step.take.last);
    pipe_windows_close(windows);
    end_writer(&w);
    return e;
}

static struct error *take_to_end(const char *folder, struct bytes data, enum corpus_kind kind,
                                 const struct tokenizer *tokenizer,
                                 const struct pipe_position *from)
{
    return take_windows(folder, data, true, kind, tokenizer, from);
}

static struct error *take_to_end_in_order(const char *folder, struct bytes data,
                                          const struct pipe_position *from)
{
    return take_windows(folder, data, false, CORPUS_TOKENS, NULL, from);
}

struct world {
    char *folder;
    struct bytes data, packed;
};

static int enter(void **state)
{
    struct world *const w = calloc(1, sizeof *w);
    w->folder = folder_create();
    w->data = two_files(w->folder);
    w->packed = pack_zstd(w->data.data, w->data.count);
    signal(SIGPIPE, SIG_IGN);
    *state = w;
    return 0;
}

static int leave(void **state)
{
    struct world *const w = *state;
    folder_remove(w->folder);
    free(w->data.data);
    free(w->packed.data);
    free(w);
    return 0;
}

static void check_all_samples(const struct step *steps, int n, bool shuffle)
{
    bool seen[(TOKENS - 1) / T] = {false};
    int64_t place = 0, moved = 0;
    for (int s = 0; s < n; s++)
        for (int b = 0; b < steps[s].take.rows; b++, place++) {
            const int32_t *const ids = steps[s].ids + b * PLACES;
            int64_t sample = place;
            for (int64_t i = place / 24 * 24; shuffle && i < place / 24 * 24 + 24; i++)
                if (ids[0] == token_at(i * T) && ids[1] == token_at(i * T + 1))
                    sample = i;    /* 24: a window of 20 is made one of whole global batches */
            for (int t = 0; t < PLACES; t++)
                assert_int_equal(ids[t], token_at(sample * T + t));
            assert_false(seen[sample]);
            seen[sample] = true;
            moved += sample != place;
        }
    assert_int_equal(place, (TOKENS - 1) / T);
    assert_true(shuffle ? moved > place / 2 : moved == 0);
}

static void test_every_sample_comes_once_and_wherever_it_is_taken_up(void **state)
{
    const struct world *const w = *state;
    static struct step whole[STEPS + 1], rest[STEPS + 1];
    for (int shuffle = 0; shuffle <= 1; shuffle++) {
        const struct pipe_position begin = {.window = 0};
        const int n = take_all(w->folder, w->data, shuffle, &begin, whole);
        assert_int_equal(n, STEPS);
        assert_true(whole[n - 1].take.last && whole[n - 1].take.rows == (TOKENS - 1) / T % G);
        check_all_samples(whole, n, shuffle);
        for (int at = 0; at < n - 1; at++) {
            const struct bytes data = at % 2 ? w->data : w->packed;
            assert_int_equal(take_all(w->folder, data, shuffle, &whole[at].after, rest),
                             n - 1 - at);
            for (int s = 0; s < n - 1 - at; s++) {
                const int rows = whole[at + 1 + s].take.rows;
                assert_int_equal(rest[s].take.rows, rows);
                assert_memory_equal(rest[s].ids, whole[at + 1 + s].ids,
                                    (size_t)(rows * PLACES) * sizeof(int32_t));
            }
        }
        /* Behind the last there is nothing. */
        assert_int_equal(take_all(w->folder, w->data, shuffle, &whole[n - 1].after, rest), 0);
        assert_int_equal(rest[0].take.rows, 0);
    }
}

/* A stream that ended, and is longer the next time, goes on with what is new. */
static void test_a_longer_stream_goes_on_behind_the_shorter_one(void **state)
{
    const struct world *const w = *state;
    static struct step whole[STEPS + 1], rest[STEPS + 1];
    const struct pipe_position begin = {.window = 0};
    char *const path = write_bare(w->folder, "bare.bin", 0, TOKENS);
    struct bytes longer = file_read(path), shorter = {longer.data, 2 * (30 * T + 1 + 5)};
    const int n = take_all(w->folder, shorter, true, &begin, whole);
    assert_int_equal(n, 5);    /* 30 samples; the second window has 6 */
    for (int at = 0; at < n; at++) {
        int64_t samples = 0;
        const int m = take_all(w->folder, longer, true, &whole[at].after, rest);
        for (int s = 0; s < m; s++)
            samples += rest[s].take.rows;
        assert_int_equal(samples, (TOKENS - 1) / T - G * (at + 1));
    }
    free(longer.data);
    free(path);
}

/* Opens `fifo` for a reader that is there or comes, and writes. */
static int begin_writing(const char *fifo, struct bytes data)
{
    const int fd = open(fifo, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data.data, data.count), data.count);
    return fd;
}

/* Without shuffle samples are given out of a window that is still filled: what was taken of it is
 * compared all the same. */
static void test_what_was_taken_of_an_unfinished_window_is_compared(void **state)
{
    const struct world *const w = *state;
    static struct step step, whole[STEPS + 1], rest[STEPS + 1];
    const struct pipe_position begin = {.window = 0};
    struct writer names = {.fifo = path_in(w->folder, "held.fifo")};
    struct pipe_windows *windows;
    assert_int_equal(mkfifo(names.fifo, 0600), 0);
    const struct pipe_windows_options options = options_of(&names, false);
    assert_ok(pipe_windows_open(&windows, &options, &begin));
    const struct bytes some = {w->data.data, 1024 + 2 * (15 * T + 1)};    /* of a window of 24
                                                                           * samples */
    const int fd = begin_writing(names.fifo, some);
    assert_ok(pipe_windows_take(windows, step.ids, step.counts, &step.take));
    const struct pipe_position at = pipe_windows_position(windows);
    assert_int_equal(at.taken, G);
    assert_int_equal(at.samples, 0);
    pipe_windows_close(windows);
    close(fd);
    free(names.fifo);

    const int n = take_all(w->folder, w->data, false, &begin, whole);
    assert_int_equal(take_all(w->folder, w->data, false, &at, rest), n - 1);
    assert_memory_equal(rest[0].ids, whole[1].ids, sizeof rest[0].ids);
    w->data.data[1024 + 2 * 3 * T] ^= 1;    /* in what was taken */
    assert_fails(take_to_end_in_order(w->folder, w->data, &at), "is not what the run "
                 "was trained on");
    w->data.data[1024 + 2 * 3 * T] ^= 1;
    w->data.data[1024 + 2 * 7 * T] ^= 1;    /* behind it */
    assert_ok(take_to_end_in_order(w->folder, w->data, &at));
    w->data.data[1024 + 2 * 7 * T] ^= 1;
}

/* A stream that differs is gone on with behind as many bytes, where that is allowed. */
static void test_a_changed_stream_goes_on_behind_as_many_bytes(void **state)
{
    const struct world *const w = *state;
    static struct step whole[STEPS + 1], rest[STEPS + 1];
    const struct pipe_position begin = {.window = 0};
    for (int shuffle = 0; shuffle <= 1; shuffle++) {
        const int n = take_all(w->folder, w->data, shuffle, &begin, whole);
        w->data.data[1024 + 2 * 3 * T] ^= 1;
        allow_changed = true;
        assert_int_equal(take_all(w->folder, w->data, shuffle, &whole[6].after, rest), n - 7);
        allow_changed = false;
        w->data.data[1024 + 2 * 3 * T] ^= 1;
        for (int s = 0; s < n - 7; s++)
            assert_memory_equal(rest[s].ids, whole[7 + s].ids,
                                (size_t)(rest[s].take.rows * PLACES) * sizeof(int32_t));
    }
}

/* Of text it goes on with a whole record, the one behind that in which it is taken up, however
 * little of that one is left. */
static void go_on_with_next_line(const struct world *w, int64_t min_bytes)
{
    static const char vocabulary[] = "[PAD]\n[UNK]\n[BOS]\na\nb\n";
    static struct step step;
    struct tokenizer *tokenizer;
    struct pipe_windows *windows;
    struct writer writer;
    char text[20 * 1000];
    for (int line = 0; line < 1000; line++)    /* "a a a a a a a a a b\n" */
        for (int i = 0; i < 20; i++)
            text[line * 20 + i] = i == 19 ? '\n' : i % 2 ? ' ' : i == 18 ? 'b' : 'a';
    text[80] = 'b';    /* the next line behind byte 70 */
    assert_ok(tokenizer_create_wordpiece(&tokenizer, vocabulary, sizeof vocabulary - 1,
                                         "vocabulary", &(struct wordpiece_options){.split = true}));
    const struct pipe_position at = {.start = {.bytes = 70, .tokens = 5, .hash = 1}, .window = 1};
    begin_writer(&writer, w->folder, (struct bytes){text, sizeof text});
    struct pipe_windows_options options = options_of(&writer, false);
    options.samples.tokenizer = tokenizer;
    options.samples.allow_changed = true;
    options.samples.min_bytes = min_bytes;
    assert_ok(pipe_windows_open(&windows, &options, &at));
    assert_ok(pipe_windows_take(windows, step.ids, step.counts, &step.take));
    assert_int_equal(step.take.rows, G);
    for (int t = 0; t < T; t++)    /* [BOS], nine times a, of which the first is a b, b */
        assert_int_equal(step.ids[t], t % 11 == 0 ? 2 : t == 1 || t % 11 == 10 ? 4 : 3);
    pipe_windows_close(windows);
    end_writer(&writer);
    tokenizer_destroy(tokenizer);
}

static void test_a_changed_text_goes_on_with_its_next_line(void **state)
{
    go_on_with_next_line(*state, 0);
    go_on_with_next_line(*state, 15);    /* of the line it is taken up in 9 bytes are left */
}

static int heard;

static void count_heard(void *self)
{
    (void)self;
    heard++;
}

/* A silent pipe is an error after a while, a slow one never. */
static void test_a_pipe_that_sends_nothing_is_named(void **state)
{
    const struct world *const w = *state;
    static struct step step;
    struct writer names = {.fifo = path_in(w->folder, "slow.fifo")};
    struct pipe_windows *windows;
    assert_int_equal(mkfifo(names.fifo, 0600), 0);
    struct pipe_windows_options options = options_of(&names, true);
    options.window = 10000;
    options.silence_s = 2;
    options.hear = count_heard;
    assert_ok(pipe_windows_open(&windows, &options, &(struct pipe_position){.window = 0}));
    const pid_t child = fork();
    if (child == 0) {
        const int fd = open(names.fifo, O_WRONLY);
        for (int i = 0; i < 6; i++) {
            usleep(300000);
            (void)!write(fd, w->data.data + i * 400, 400);
        }
        sleep(10);
        _exit(0);
    }
    assert_true(child > 0);
    struct error *const e = pipe_windows_take(windows, step.ids, step.counts, &step.take);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_fails(e, "slow.fifo has sent nothing for 2 s, after 2400 bytes");
    assert_true(heard > 0);
    pipe_windows_close(windows);
    free(names.fifo);
}

static void test_a_writer_that_is_faster_waits(void **state)
{
    const struct world *const w = *state;
    struct writer writer;
    struct pipe_windows *windows;
    static struct step step;
    char *const path = write_bare(w->folder, "long.bin", 0, 1000000);
    struct bytes data = file_read(path);
    begin_writer(&writer, w->folder, data);
    const struct pipe_windows_options options = options_of(&writer, true);
    assert_ok(pipe_windows_open(&windows, &options, &(struct pipe_position){.window = 0}));
    long long before = -1;
    while (before != writer.written) {
        before = writer.written;
        usleep(100000);
    }
    /* The pipe's 64 KB, what the reader holds, and two windows. */
    const long long held = (1 << 16) + (1 << 18) + 2 * 24 * T * 2 + (1 << 16);
    assert_in_range(before, 1, held);
    for (int i = 0; i < 3000; i++)
        assert_ok(pipe_windows_take(windows, step.ids, step.counts, &step.take));
    assert_in_range(writer.written, 3000 * G * T * 2, 3000 * G * T * 2 + held);
    pipe_windows_close(windows);
    end_writer(&writer);
    free(data.data);
    free(path);
}

static void test_what_is_wrong_is_told(void **state)
{
    const struct world *const w = *state;
    const struct pipe_position begin = {.window = 0};
    struct pipe_position at = {.start = {.bytes = 4000, .hash = 1}, .window = 1};
    struct bytes cut = {w->data.data, w->data.count - 3};
    assert_fails(take_to_end(w->folder, cut, CORPUS_AUTO, NULL, &begin),
                 "is truncated: it ends at token");
    cut.count = 1024 + 2001 * 2 + 500;
    assert_fails(take_to_end(w->folder, cut, CORPUS_AUTO, NULL, &begin), "ends in its header");
    cut = (struct bytes){w->packed.data, w->packed.count / 2};
    assert_fails(take_to_end(w->folder, cut, CORPUS_AUTO, NULL, &begin),
                 "is truncated: its zstd data");
    struct bytes wrong = join(w->data, (struct bytes){(char[]){"behind the last file"}, 20});
    assert_fails(take_to_end(w->folder, wrong, CORPUS_AUTO, NULL, &begin),
                 "has no header behind token 5040");
    wrong.data[1024 + 1] = (char)0xff;
    assert_fails(take_to_end(w->folder, wrong, CORPUS_AUTO, NULL, &begin),
                 "the vocabulary has only");
    free(wrong.data);
    assert_fails(take_to_end(w->folder, w->data, CORPUS_AUTO, NULL, &at), "is not what the run "
                 "was trained on");
    static struct step steps[STEPS + 1];
    take_all(w->folder, w->data, true, &begin, steps);
    w->data.data[1024 + 500] ^= 1;    /* in the window that it goes on in */
    assert_fails(take_to_end(w->folder, w->data, CORPUS_AUTO, NULL, &steps[0].after),
                 "is not what the run was trained on");
    w->data.data[1024 + 500] ^= 1;
    at.start.bytes = 4 * TOKENS + 64;
    assert_fails(take_to_end(w->folder, w->data, CORPUS_AUTO, NULL, &at), "the run has used");
}

/* Nothing a stream holds brings anything down; an end or an error comes in any case. */
static void test_damaged_streams_end_or_are_refused(void **state)
{
    const struct world *const w = *state;
    static const char vocabulary[] = "[PAD]\n[UNK]\n[BOS]\na\nb\n##a\n##b\n";
    static const char text[] = "a b ab ba\nabba baba\n\n{\"text\": \"a b\"}\nbab\r\n\xc3\xa4 a\n";
    static const enum corpus_kind kinds[] = {CORPUS_AUTO, CORPUS_LINES, CORPUS_TOKENS};
    const struct pipe_position begin = {.window = 0};
    const struct wordpiece_options wordpiece = {.lowercase = true, .split = true};
    struct tokenizer *tokenizer;
    uint64_t seed = 7;
    int refused = 0;
    assert_ok(tokenizer_create_wordpiece(&tokenizer, vocabulary, sizeof vocabulary - 1,
                                         "vocabulary", &wordpiece));
    for (int i = 0; i < fuzzed; i++) {
        char copy[8192];
        const struct bytes plain = {(char[sizeof text]){0}, sizeof text - 1};
        memcpy(plain.data, text, sizeof text);
        const struct bytes from = i % 3 == 0 ? plain : i % 3 == 1 ? w->data : w->packed;
        size_t n = from.count < sizeof copy ? from.count : sizeof copy;
        memcpy(copy, from.data, n);
        for (uint64_t k = noise(&seed) % 4; k > 0; k--)
            copy[noise(&seed) % (i % 2 ? n : n < 32 ? n : 32)] = (char)noise(&seed);
        if (noise(&seed) % 2)
            n = 1 + noise(&seed) % n;
        struct error *e = take_to_end(w->folder, (struct bytes){copy, n}, kinds[noise(&seed) % 3],
                                      tokenizer, &begin);
        refused += e != NULL;
        error_destroy(e);
    }
    assert_in_range(refused, fuzzed / 4, fuzzed - 1);
    tokenizer_destroy(tokenizer);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_sample_comes_once_and_wherever_it_is_taken_up),
        cmocka_unit_test(test_a_longer_stream_goes_on_behind_the_shorter_one),
        cmocka_unit_test(test_what_was_taken_of_an_unfinished_window_is_compared),
        cmocka_unit_test(test_a_changed_stream_goes_on_behind_as_many_bytes),
        cmocka_unit_test(test_a_changed_text_goes_on_with_its_next_line),
        cmocka_unit_test(test_a_pipe_that_sends_nothing_is_named),
        cmocka_unit_test(test_a_writer_that_is_faster_waits),
        cmocka_unit_test(test_what_is_wrong_is_told),
        cmocka_unit_test(test_damaged_streams_end_or_are_refused),
    };
    if (argc > 1)
        fuzzed = atoi(argv[1]);
    return cmocka_run_group_tests(tests, enter, leave);
}
