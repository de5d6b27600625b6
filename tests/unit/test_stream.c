/* test_stream.c - the batches of a run are a function of data, seed, epoch and step, and of nothing
 * else: not of ranks, threads, prefetching, or where the run was resumed. */
#include "testing.h"

#include "data/order.h"
#include "data/stream.h"
#include "data/text_rows.h"
#include "data_files.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

/* ---- Counting what goes on behind the stream ---- */

static atomic_long allocations, encoded;

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes)
{
    allocations++;
    return __real_malloc(bytes);
}

void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes)
{
    allocations++;
    return __real_calloc(count, bytes);
}

void *__real_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes)
{
    allocations++;
    return __real_realloc(old, bytes);
}

struct error *__real_encoder_encode(struct encoder *encoder, const char *text, size_t bytes,
                                    int32_t *ids, int capacity, int *count);
struct error *__wrap_encoder_encode(struct encoder *encoder, const char *text, size_t bytes,
                                    int32_t *ids, int capacity, int *count);
struct error *__wrap_encoder_encode(struct encoder *encoder, const char *text, size_t bytes,
                                    int32_t *ids, int capacity, int *count)
{
    encoded++;
    return __real_encoder_encode(encoder, text, bytes, ids, capacity, count);
}

/* ---- A dataset whose sample i begins with the word "w<i>" ---- */

enum { SAMPLES = 103, WORDS = 256, FIRST_WORD = 3, BOS = 2, SEED = 99 };

struct world {
    char *folder, *path;
    struct dataset *dataset;
    struct tokenizer *tokenizer;
    struct text_rows rows;
    struct samples samples;
    struct blend blend;
    int lengths[SAMPLES];    /* words of each sample */
};

/* The word at place `t` of sample i. */
static int word_of(int64_t i, int t)
{
    return t == 0 ? (int)i : (int)((i * 31 + t * 17) % WORDS);
}

static int enter(void **state)
{
    struct world *const w = calloc(1, sizeof *w);
    struct bytes text = {0}, vocabulary = {0};
    FILE *f = open_memstream(&text.data, &text.count);
    for (int i = 0; i < SAMPLES; i++) {
        w->lengths[i] = i == 50 ? 0 : 1 + i % 13;
        for (int t = 0; t < w->lengths[i]; t++)
            fprintf(f, "w%d ", word_of(i, t));
        fputs(i == 50 ? " \t  \n" : "\n", f);    /* a sample without a word */
    }
    fclose(f);
    f = open_memstream(&vocabulary.data, &vocabulary.count);
    fputs("[PAD]\n[UNK]\n[BOS]\n", f);
    for (int word = 0; word < WORDS; word++)
        fprintf(f, "w%d\n", word);
    fclose(f);

    w->folder = folder_create();
    w->path = file_write(w->folder, "text.txt", text.data, text.count);
    assert_ok(dataset_open(&w->dataset, &(struct dataset_options){
        .inputs = (const char *const *)&w->path, .input_count = 1, .min_bytes = 1,
        .temporary_folder = w->folder, .name = "training",
    }));
    assert_int_equal(dataset_samples(w->dataset), SAMPLES);
    const struct wordpiece_options options = {.split = true};
    assert_ok(tokenizer_create_wordpiece(&w->tokenizer, vocabulary.data, vocabulary.count, "words",
                                         &options));
    w->rows = (struct text_rows){.dataset = w->dataset, .tokenizer = w->tokenizer};
    w->samples = text_rows_samples(&w->rows);
    w->blend = blend_of(&w->samples, SEED, true);
    free(text.data);
    free(vocabulary.data);
    *state = w;
    return 0;
}

static int leave(void **state)
{
    struct world *const w = *state;
    dataset_close(w->dataset);
    tokenizer_destroy(w->tokenizer);
    free(w->path);
    folder_remove(w->folder);
    free(w);
    return 0;
}

/* Options of most tests; they change what they are about. */
static struct stream_options usual(const struct world *w)
{
    return (struct stream_options){
        .blend = &w->blend,
        .T = 8,
        .global_batch = 8,
        .micro_batch = 8,
        .world_size = 1,
        .threads = 2,
        .prefetch = 3,
        .epochs = 3,
    };
}

/* What row b of a batch must be, from the definition. */
static void assert_row(const struct world *w, const struct batch *batch, int b, int64_t sample)
{
    const size_t at = (size_t)b * (size_t)batch->T;
    for (int t = 0; t < batch->T; t++) {
        const int length = sample < 0 ? 0 : w->lengths[sample];
        const int target = t < length ? FIRST_WORD + word_of(sample, t) : 0;
        const int token = sample < 0 ? 0
                        : t == 0 ? BOS
                        : t - 1 < length ? FIRST_WORD + word_of(sample, t - 1) : 0;
        const size_t i = at + (size_t)t;
        assert_int_equal(batch->targets[i], target);
        assert_int_equal(batch->tokens[i], token);
        assert_int_equal(batch->key_mask[i], token != 0);
        assert_int_equal(batch->loss_mask[i], token != 0);
        assert_int_equal(batch->metric_mask[i], target != 0);
    }
}

/* Reads all micro-batches of one step of one rank, checks them against the definition. */
static void assert_step(const struct world *w, struct stream *stream,
                        const struct stream_options *o, int64_t epoch, int64_t step)
{
    const int rows = o->global_batch / o->world_size;
    const struct order order = {.seed = SEED, .samples = SAMPLES, .shuffle = o->blend->shuffle};
    for (int micro = 0; micro < rows / o->micro_batch; micro++) {
        struct batch batch;
        double waited_s;
        assert_ok(stream_read(stream, &batch, &waited_s));
        assert_true(waited_s >= 0 && waited_s < 60);
        assert_int_equal(batch.B, o->micro_batch);
        assert_int_equal(batch.T, o->T);
        int present = 0;
        for (int b = 0; b < batch.B; b++) {
            const int64_t position = step * o->global_batch + o->rank * rows +
                                     micro * o->micro_batch + b;
            const int64_t sample = position < SAMPLES ? order_sample(&order, epoch, position) : -1;
            assert_int_equal(stream_sample(stream, b), sample);
            assert_row(w, &batch, b, sample);
            present += sample >= 0;
        }
        assert_int_equal(batch.rows, present);
    }
}

static void assert_end(struct stream *stream)
{
    for (int again = 0; again < 3; again++) {
        struct batch batch;
        double waited_s;
        assert_ok(stream_read(stream, &batch, &waited_s));
        assert_int_equal(batch.rows, -1);
    }
}

static void assert_stream(const struct world *w, const struct stream_options *o, int64_t epoch,
                          int64_t step)
{
    const int64_t steps = stream_steps_per_epoch(o);
    struct stream *stream;
    assert_ok(stream_open(&stream, o, epoch, step));
    for (int64_t s = epoch * steps + step; s < o->epochs * steps; s++)
        assert_step(w, stream, o, s / steps, s % steps);
    assert_end(stream);
    stream_close(stream);
}

/* ---- The promises ---- */

static void test_rows_are_those_of_kerashub(void **state)
{
    static const int lengths[] = {1, 2, 8, 13, 14, 40};    /* shorter and longer than the samples */
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct stream_options o = usual(*state);
        o.T = lengths[i];
        assert_stream(*state, &o, 0, 0);
        struct blend in_order = *o.blend;
        in_order.shuffle = false;
        o.blend = &in_order;
        o.epochs = 1;
        assert_stream(*state, &o, 0, 0);
    }
}

/* Every rank, also of a short last global batch: 103 samples are 12 x 8 + 7, 4 x 24 + 7, 2 x 48 +
 * 7. */
static void test_batches_do_not_depend_on_ranks_threads_or_prefetch(void **state)
{
    static const int global_batches[] = {8, 24, 48, 120};
    for (size_t g = 0; g < sizeof global_batches / sizeof *global_batches; g++)
        for (int world_size = 1; world_size <= 8; world_size *= 2)
            for (int rank = 0; rank < world_size; rank++) {
                struct stream_options o = usual(*state);
                o.global_batch = global_batches[g];
                o.world_size = world_size;
                o.rank = rank;
                const int rows = o.global_batch / world_size;
                o.micro_batch = rank % 2 && rows % 2 == 0 ? rows / 2 : rank % 3 ? 1 : rows;
                o.threads = 1 + rank % 4;
                o.prefetch = 2 + rank % 5;
                assert_stream(*state, &o, 0, 0);
            }
}

static void test_a_stream_begins_anywhere(void **state)
{
    struct stream_options o = usual(*state);
    for (int64_t step = 0; step < 3 * 13; step++)
        assert_stream(*state, &o, step / 13, step % 13);
    assert_stream(*state, &o, 0, 13 + 5);    /* the same as epoch 1, step 5 */
    assert_stream(*state, &o, 3, 0);         /* nothing is left */

    struct stream *stream;
    o.epochs = 0;
    assert_ok(stream_open(&stream, &o, 1000000000000, 7));
    assert_step(*state, stream, &o, 1000000000000, 7);
    stream_close(stream);
}

static void test_an_epoch_has_every_sample_once_and_another_order(void **state)
{
    struct stream_options o = usual(*state);
    struct stream *stream;
    assert_ok(stream_open(&stream, &o, 0, 0));
    int64_t orders[3][SAMPLES];
    for (int epoch = 0; epoch < 3; epoch++) {
        int seen[SAMPLES] = {0}, count = 0;
        for (int step = 0; step < 13; step++) {
            struct batch batch;
            double waited_s;
            assert_ok(stream_read(stream, &batch, &waited_s));
            for (int b = 0; b < batch.rows; b++) {
                orders[epoch][count++] = stream_sample(stream, b);
                seen[stream_sample(stream, b)]++;
            }
        }
        for (int i = 0; i < SAMPLES; i++)
            assert_int_equal(seen[i], 1);
        if (epoch)
            assert_memory_not_equal(orders[epoch], orders[epoch - 1], sizeof orders[epoch]);
    }
    stream_close(stream);
}

static void test_a_short_last_batch_can_be_left_out(void **state)
{
    struct stream_options o = usual(*state);
    assert_int_equal(stream_steps_per_epoch(&o), 13);
    o.drop_last = true;
    assert_int_equal(stream_steps_per_epoch(&o), 12);
    assert_stream(*state, &o, 0, 0);
    o.drop_last = false;
    o.global_batch = o.micro_batch = SAMPLES;    /* none is short */
    assert_int_equal(stream_steps_per_epoch(&o), 1);
    o.drop_last = true;
    assert_int_equal(stream_steps_per_epoch(&o), 1);
    assert_stream(*state, &o, 0, 0);
}

static void test_nothing_is_allocated_after_opening(void **state)
{
    struct stream_options o = usual(*state);
    o.epochs = 50;
    struct stream *stream;
    const long before_open = allocations;
    assert_ok(stream_open(&stream, &o, 0, 0));
    const long after_open = allocations;
    assert_true(after_open > before_open);    /* so they are counted */
    for (int step = 0; step < 50 * 13; step++) {
        struct batch batch;
        double waited_s;
        assert_ok(stream_read(stream, &batch, &waited_s));
    }
    assert_end(stream);
    assert_int_equal(allocations, after_open);
    stream_close(stream);
}

static void test_no_more_is_made_ahead_than_asked(void **state)
{
    for (int prefetch = 2; prefetch < 6; prefetch++) {
        struct stream_options o = usual(*state);
        o.prefetch = prefetch;
        o.threads = 3;
        o.global_batch = o.micro_batch = 4;
        struct stream *stream;
        encoded = 0;
        assert_ok(stream_open(&stream, &o, 0, 0));
        for (long reads = 0; reads < 4; reads++) {
            /* One is the consumer's to take or to use, `prefetch` are behind it. */
            const long expected = 4 * ((reads ? reads - 1 : 0) + 1 + prefetch);
            for (int wait = 0; wait < 2000 && encoded < expected; wait++)
                usleep(1000);
            usleep(2000);
            assert_int_equal(encoded, expected);
            struct batch batch;
            double waited_s;
            assert_ok(stream_read(stream, &batch, &waited_s));
        }
        stream_close(stream);
    }
}

static void test_a_failure_in_a_thread_reaches_the_reader(void **state)
{
    struct world *const w = *state;
    struct stream_options o = usual(w);
    o.epochs = 0;
    struct stream *stream;
    assert_ok(stream_open(&stream, &o, 0, 0));
    assert_int_equal(truncate(w->path, 10), 0);
    struct batch batch;
    double waited_s;
    struct error *e = NULL;
    int reads = 0;
    for (; !e && reads < 1000; reads++)
        e = stream_read(stream, &batch, &waited_s);
    assert_non_null(e);
    assert_true(reads <= 1 + o.prefetch + 1 + o.threads);
    if (!strstr(error_message(e), "reading the training data") ||
        !strstr(error_message(e), "text.txt changed since it was scanned"))
        fail_msg("%s", error_message(e));
    error_destroy(e);
    assert_fails(stream_read(stream, &batch, &waited_s), "ended with an error before");
    stream_close(stream);

    /* Nobody reads the error: it must not leak, nor keep close waiting. */
    assert_ok(stream_open(&stream, &o, 0, 0));
    usleep(5000);
    stream_close(stream);
}

static void test_closing_while_threads_are_busy_is_clean(void **state)
{
    stream_close(NULL);
    for (int trial = 0; trial < 200; trial++) {
        struct stream_options o = usual(*state);
        o.threads = 1 + trial % 4;
        o.prefetch = 2 + trial % 7;
        o.epochs = trial % 2;
        struct stream *stream;
        assert_ok(stream_open(&stream, &o, 0, 0));
        for (int read = 0; read < trial % 20; read++) {
            struct batch batch;
            double waited_s;
            assert_ok(stream_read(stream, &batch, &waited_s));
        }
        stream_close(stream);
    }
}

static void test_impossible_options_are_refused(void **state)
{
    struct stream_options o = usual(*state);
    struct stream *stream;
    o.world_size = 3;
    assert_fails(stream_open(&stream, &o, 0, 0), "a global batch of 8 samples cannot be cut");
    o = usual(*state);
    o.micro_batch = 3;
    assert_fails(stream_open(&stream, &o, 0, 0), "micro-batches of 3");
    o = usual(*state);
    o.prefetch = 1;
    assert_fails(stream_open(&stream, &o, 0, 0), "data.prefetch is 1, expected at least 2");
    o = usual(*state);
    o.global_batch = 104;
    o.drop_last = true;
    assert_fails(stream_open(&stream, &o, 0, 0),
                 "the training data has 103 samples, fewer than one global batch of 104");

    struct tokenizer *without;
    const struct wordpiece_options options = {.split = true};
    assert_ok(tokenizer_create_wordpiece(&without, "[PAD]\n[UNK]\na\n", 14, "small", &options));
    o = usual(*state);
    struct world *const w = *state;
    w->rows.tokenizer = without;
    assert_fails(stream_open(&stream, &o, 0, 0), "no start token [BOS]");
    tokenizer_destroy(without);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rows_are_those_of_kerashub),
        TEST(test_batches_do_not_depend_on_ranks_threads_or_prefetch),
        TEST(test_a_stream_begins_anywhere),
        TEST(test_an_epoch_has_every_sample_once_and_another_order),
        TEST(test_a_short_last_batch_can_be_left_out),
        TEST(test_nothing_is_allocated_after_opening),
        TEST(test_no_more_is_made_ahead_than_asked),
        TEST(test_a_failure_in_a_thread_reaches_the_reader),
        TEST(test_closing_while_threads_are_busy_is_clean),
        TEST(test_impossible_options_are_refused),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
