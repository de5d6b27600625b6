/* test_packed_stream.c - the global batches of token files, blended by weight, are the same on any
 * number of ranks and wherever a run was resumed; memory does not grow with the data. */
#include "testing.h"

#include "base/memory.h"
#include "data/corpus.h"
#include "data/stream.h"
#include "data_files.h"
#include "token_files.h"

#include <stdbool.h>
#include <unistd.h>

enum { T = 16, G = 24, BATCHES = 1000, VOCABULARY = 50257 };

struct world {
    char *folder, *paths[4];
    struct corpus *plain, *blended;    /* all files as one source; three sources by weight */
};

/* Files of 50,000 tokens in all: an epoch of 130 batches. */
static int enter(void **state)
{
    struct world *const w = calloc(1, sizeof *w);
    static const char *const weights[] = {"0.5", "0.2", "0.3"};
    w->folder = folder_create();
    w->paths[0] = write_shard(w->folder, "a-0.h5", 0, 20000, VOCABULARY);
    w->paths[1] = write_shard(w->folder, "a-1.h5", 20000, 20001, VOCABULARY);
    w->paths[2] = write_llmc(w->folder, "b.bin", 50000, 5000, 2);
    w->paths[3] = write_megatron(w->folder, "c", 60000, 4999, 4);
    char *const glob = path_in(w->folder, "a-*.h5");
    const char *const inputs[] = {glob, w->paths[2], w->paths[3]};
    struct corpus_options options = {
        .data = {.inputs = inputs, .input_count = 3, .name = "training"}, .T = T,
        .vocabulary_size = VOCABULARY, .seed = 11, .shuffle = true, .global_batch = G,
    };
    assert_ok(corpus_open(&w->plain, &options));
    options.weights = weights;
    options.weight_count = 3;
    assert_ok(corpus_open(&w->blended, &options));
    assert_true(corpus_fingerprint(w->plain) != corpus_fingerprint(w->blended));
    free(glob);
    *state = w;
    return 0;
}

static int leave(void **state)
{
    struct world *const w = *state;
    corpus_close(w->plain);
    corpus_close(w->blended);
    for (int i = 0; i < 4; i++)
        free(w->paths[i]);
    folder_remove(w->folder);
    free(w);
    return 0;
}

/* The place, in the sequence that token_at gives, of the first token of a sample by its number. */
static int64_t token_of(const struct corpus *c, int64_t number)
{
    const struct samples *const s = corpus_blend(c)->sources;
    static const int64_t starts[] = {0, 50000, 60000};
    if (corpus_blend(c)->count == 1)    /* all files are one sequence */
        return number * T;
    int k = 0;
    for (; number >= s[k].count; k++)
        number -= s[k].count;
    return starts[k] + number * T;
}

static int32_t token_in(const struct corpus *c, int64_t place)
{
    if (corpus_blend(c)->count > 1 || place < 40001)
        return token_at(place);
    return place < 45001 ? token_at(50000 + place - 40001) : token_at(60000 + place - 45001);
}

static struct stream_options options_of(const struct corpus *c, int rank, int world_size)
{
    return (struct stream_options){
        .blend = corpus_blend(c), .T = T, .global_batch = G,
        .micro_batch = world_size == 2 ? G / 4 : G / world_size, .rank = rank,
        .world_size = world_size, .threads = 1 + rank % 2, .prefetch = 2 + rank % 3,
    };
}

/* Reads `steps` global batches from `first` on, on so many ranks, and checks ids and tokens against
 * the definition: what blend_at says. */
static void assert_batches(const struct corpus *c, int world_size, int64_t first, int64_t steps)
{
    struct stream *streams[8];
    const struct blend *const blend = corpus_blend(c);
    const int64_t samples = blend_samples(blend);
    struct stream_options o = options_of(c, 0, world_size);
    const int64_t per_epoch = stream_steps_per_epoch(&o);
    for (int rank = 0; rank < world_size; rank++) {
        o = options_of(c, rank, world_size);
        assert_ok(stream_open(&streams[rank], &o, first / per_epoch, first % per_epoch));
    }
    for (int64_t step = first; step < first + steps; step++) {
        int row_of_batch = 0;
        for (int rank = 0; rank < world_size; rank++)
            for (int row = 0; row < G / world_size; row++, row_of_batch++) {
                struct batch batch;
                double waited_s;
                const int B = options_of(c, rank, world_size).micro_batch, b = row % B;
                if (b == 0)
                    assert_ok(stream_read(streams[rank], &batch, &waited_s));
                assert_null(batch.key_mask);    /* nothing is padded */
                const int64_t position = step % per_epoch * G + row_of_batch;
                if (position >= samples) {
                    assert_int_equal(stream_sample(streams[rank], b), -1);
                    continue;
                }
                const int64_t expected = blend_at(blend, step / per_epoch, position).number;
                if (stream_sample(streams[rank], b) != expected)
                    fail_msg("batch %lld, row %d on %d ranks: sample %lld, expected %lld",
                             (long long)step, row_of_batch, world_size,
                             (long long)stream_sample(streams[rank], b), (long long)expected);
                const int64_t place = token_of(c, expected);
                for (int t = 0; t < T; t++) {
                    assert_int_equal(batch.tokens[b * T + t], token_in(c, place + t));
                    assert_int_equal(batch.targets[b * T + t], token_in(c, place + t + 1));
                }
            }
    }
    for (int rank = 0; rank < world_size; rank++)
        stream_close(streams[rank]);
}

static void test_1000_batches_are_the_same_on_1_2_3_and_4_ranks(void **state)
{
    const struct world *const w = *state;
    for (int world_size = 1; world_size <= 4; world_size++) {
        assert_batches(w->plain, world_size, 0, BATCHES);
        assert_batches(w->blended, world_size, 0, BATCHES);
    }
}

static void test_20_resumes_on_changing_ranks_go_on_at_the_next_batch(void **state)
{
    const struct world *const w = *state;
    static const int worlds[] = {1, 2, 3, 4, 6, 8};
    uint64_t seed = 3;
    for (int blended = 0; blended < 2; blended++) {
        int64_t step = 0;
        for (int resume = 0; resume < 20; resume++) {
            const int64_t steps = resume == 19 ? BATCHES - step
                                               : (int64_t)(noise(&seed) % (BATCHES / 20));
            assert_batches(blended ? w->blended : w->plain, worlds[noise(&seed) % 6], step, steps);
            step += steps;
        }
        assert_int_equal(step, BATCHES);
    }
    assert_batches(w->plain, 4, 1000000000, 3);    /* as quickly from far on */
}

static void test_an_epoch_has_every_sample_once(void **state)
{
    const struct world *const w = *state;
    const struct blend *const blend = corpus_blend(w->plain);
    const int64_t samples = blend_samples(blend);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        bool *const seen = calloc((size_t)samples, sizeof *seen);
        for (int64_t p = 0; p < samples; p++) {
            const int64_t number = blend_at(blend, epoch, p).number;
            assert_true(number >= 0 && number < samples && !seen[number]);
            seen[number] = true;
        }
        free(seen);
    }
}

static void test_a_shard_truncated_while_it_is_read_is_named(void **state)
{
    struct world *const w = *state;
    struct stream *stream;
    const struct stream_options o = options_of(w->plain, 0, 1);
    assert_ok(stream_open(&stream, &o, 0, 0));
    assert_int_equal(truncate(w->paths[1], 30000), 0);
    struct error *e = NULL;
    for (int reads = 0; !e && reads < 100; reads++) {
        struct batch batch;
        double waited_s;
        e = stream_read(stream, &batch, &waited_s);
    }
    assert_non_null(e);
    if (!strstr(error_message(e), "a-1.h5 changed while it was used"))
        fail_msg("%s", error_message(e));
    error_destroy(e);
    stream_close(stream);
}

/* 2 GB of tokens, as a file with a hole: no disk, but every byte is read. */
static void test_memory_does_not_grow_with_the_data(void **state)
{
    const struct world *const w = *state;
    enum { LONG = 1024, ROWS = 64 };
    const int64_t bytes = (int64_t)1 << 31;
    char *const path = write_bare(w->folder, "large.bin", 0, 4096);
    assert_int_equal(truncate(path, bytes), 0);
    struct corpus *c;
    struct stream *stream;
    const size_t before = memory_resident_bytes();
    assert_ok(corpus_open(&c, &(struct corpus_options){
        .data = {.inputs = (const char *const *)&path, .input_count = 1, .name = "training"},
        .T = LONG, .vocabulary_size = VOCABULARY, .seed = 1, .shuffle = true,
        .global_batch = ROWS}));
    assert_ok(stream_open(&stream, &(struct stream_options){
        .blend = corpus_blend(c), .T = LONG, .global_batch = ROWS, .micro_batch = ROWS,
        .world_size = 1, .threads = 2, .prefetch = 8, .epochs = 1}, 0, 0));
    struct batch batch;
    double waited_s;
    size_t most = 0;
    for (int64_t read = 0;; read++) {
        assert_ok(stream_read(stream, &batch, &waited_s));
        if (batch.rows < 0)
            break;
        const size_t now = read % 256 ? 0 : memory_resident_bytes();
        most = now > most ? now : most;
    }
    stream_close(stream);
    corpus_close(c);
    free(path);
    print_message("2 GB of tokens: %.1f MB resident, %.1f MB before\n", 1e-6 * (double)most,
                  1e-6 * (double)before);
    assert_true(most < 256 << 20);
    assert_true(most < before + (32 << 20));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_1000_batches_are_the_same_on_1_2_3_and_4_ranks),
        TEST(test_20_resumes_on_changing_ranks_go_on_at_the_next_batch),
        TEST(test_an_epoch_has_every_sample_once),
        TEST(test_a_shard_truncated_while_it_is_read_is_named),
        TEST(test_memory_does_not_grow_with_the_data),
    };
    return cmocka_run_group_tests_name("packed stream", tests, NULL, NULL);
}
