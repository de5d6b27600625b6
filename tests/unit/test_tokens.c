/* test_tokens.c - token files of every format are one sequence, cut into samples; what is damaged,
 * foreign or changed is refused by name. */
#include "testing.h"

#include "data/corpus.h"
#include "data/packed_tokens.h"
#include "data/stream.h"
#include "data/token_file.h"
#include "data_files.h"
#include "token_files.h"

#include <hdf5.h>
#include <unistd.h>

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

/* ---- Files ---- */

static void assert_tokens(const char *path, const char *format, int64_t first, int64_t count)
{
    bool tokens;
    assert_ok(token_file_is_one(path, &tokens));
    assert_true(tokens);
    struct token_file *f;
    assert_ok(token_file_open(&f, path, 50257));
    assert_string_equal(token_file_format(f), format);
    assert_int_equal(token_file_tokens(f), count);
    static const int64_t lengths[] = {1, 2, 1000, 131072, 200000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const int64_t n = lengths[i] < count ? lengths[i] : count;
        int32_t *const got = malloc((size_t)n * sizeof *got);
        void *const scratch = malloc(token_file_scratch_bytes(n));
        const int64_t places[] = {0, count - n, (count - n) / 2, (count - n) / 3};
        for (int k = 0; k < 4; k++) {
            assert_ok(token_file_read(f, places[k], n, got, scratch));
            for (int64_t t = 0; t < n; t++)
                if (got[t] != token_at(first + places[k] + t))
                    fail_msg("%s: token %lld is %d, expected %d", format,
                             (long long)(places[k] + t), got[t], token_at(first + places[k] + t));
        }
        free(scratch);
        free(got);
    }
    token_file_close(f);
}

static void test_every_format_is_recognised_and_read(void **state)
{
    static const int64_t counts[] = {1, 99, 131072, 131073, 300000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const int64_t n = counts[i];
        char *const paths[] = {
            write_shard(*state, "s16.h5", 7, n, 50257), write_shard(*state, "s32.h5", 7, n, 100000),
            write_llmc(*state, "l16.bin", 7, n, 2),     write_llmc(*state, "l32.bin", 7, n, 4),
            write_bare(*state, "b.bin", 7, n < 4096 ? 4096 : n),
            write_megatron(*state, "m16", 7, n, 2),     write_megatron(*state, "m32", 7, n, 4),
        };
        assert_tokens(paths[0], "Galley shard, uint16", 7, n);
        assert_tokens(paths[1], "Galley shard, uint32", 7, n);
        assert_tokens(paths[2], "llm.c, uint16", 7, n);
        assert_tokens(paths[3], "llm.c, uint32", 7, n);
        assert_tokens(paths[4], "bare uint16", 7, n < 4096 ? 4096 : n);
        assert_tokens(paths[5], "Megatron, uint16", 7, n);
        assert_tokens(paths[6], "Megatron, int32", 7, n);
        memcpy(paths[5] + strlen(paths[5]) - 4, ".idx", 4);
        assert_tokens(paths[5], "Megatron, uint16", 7, n);
        for (int k = 0; k < 7; k++)
            free(paths[k]);
    }
}

static void test_text_is_not_taken_for_tokens(void **state)
{
    static const struct { const char *name, *content; size_t bytes; } files[] = {
        {"a.txt", "text\n", 5}, {"a.bin", "text\n", 5}, {"nul.txt", "a\0b\0", 4}, {"e.txt", "", 0},
        {"gz.bin", "\x1f\x8b\x08\0\0\0", 6},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        bool tokens;
        char *const path = file_write(*state, files[i].name, files[i].content, files[i].bytes);
        assert_ok(token_file_is_one(path, &tokens));
        assert_false(tokens);
        free(path);
    }
}

/* What h5py sees: the library itself reads the same tokens and documents. */
static void test_a_shard_is_an_hdf5_file_for_anybody(void **state)
{
    char *const path = write_shard(*state, "a.h5", 3, 200000, 50257);
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t tokens = H5Dopen2(file, "/tokens", H5P_DEFAULT);
    const hid_t documents = H5Dopen2(file, "/documents", H5P_DEFAULT);
    const hid_t plist = H5Dget_create_plist(tokens);
    assert_int_equal(H5Pget_layout(plist), H5D_CHUNKED);
    int32_t *const got = malloc(200000 * sizeof *got);
    int64_t places[2000];
    assert_true(H5Dread(tokens, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, got) >= 0);
    assert_true(H5Dread(documents, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, places) >= 0);
    for (int64_t i = 0; i < 200000; i++)
        assert_int_equal(got[i], token_at(3 + i));
    for (int64_t i = 0; i < 2000; i++)
        assert_int_equal(places[i], 100 * i);
    free(got);
    H5Pclose(plist);
    H5Dclose(tokens);
    H5Dclose(documents);
    H5Fclose(file);

    struct shard *shard;
    char scratch[SHARD_CHUNK_BYTES];
    assert_ok(shard_open(&shard, path));
    assert_int_equal(shard_facts(shard)->documents, 2000);
    assert_int_equal(shard_facts(shard)->first_token, 3);
    assert_string_equal(shard_facts(shard)->tokenizer_kind, "bpe");
    assert_ok(shard_read_documents(shard, 1990, 10, places, scratch));
    assert_int_equal(places[9], 199900);
    shard_close(shard);
    free(path);
}

static void test_the_same_tokens_make_the_same_bytes(void **state)
{
    char *const a = write_shard(*state, "a.h5", 0, 300000, 50257);
    sleep(1);    /* HDF5 counts times in seconds */
    char *const b = write_shard(*state, "b.h5", 0, 300000, 50257);
    struct bytes x = file_read(a), y = file_read(b);
    assert_int_equal(x.count, y.count);
    assert_memory_equal(x.data, y.data, x.count);
    free(x.data);
    free(y.data);
    free(a);
    free(b);
}

/* Opens the file and reads it whole. */
static struct error *read_whole(const char *path)
{
    struct token_file *f;
    TRY(token_file_open(&f, path, 50257));
    const int64_t n = token_file_tokens(f);
    int32_t *const got = malloc((size_t)n * sizeof *got);
    void *const scratch = malloc(token_file_scratch_bytes(n));
    struct error *e = token_file_read(f, 0, n, got, scratch);
    free(got);
    free(scratch);
    token_file_close(f);
    return e;
}

static void test_every_damaged_byte_of_a_shard_is_found(void **state)
{
    char *const path = write_shard(*state, "a.h5", 0, 1000, 50257);
    const struct bytes whole = file_read(path);
    struct bytes copy = file_read(path);
    uint64_t seed = 4;
    for (int trial = 0; trial < 400; trial++) {
        /* All of the manifest and HDF5's structures are before and between the chunks. */
        const size_t at = trial % 2 ? noise(&seed) % 4096 : noise(&seed) % whole.count;
        copy.data[at] ^= (char)(1 << noise(&seed) % 8);
        free(file_write(*state, "b.h5", copy.data, copy.count));
        char *const damaged = path_in(*state, "b.h5");
        struct error *e = read_whole(damaged);
        if (!e)    /* only where nothing is read: the documents */
            e = shard_verify(damaged);
        if (!e)
            fail_msg("byte %zu changed, and nobody noticed", at);
        if (!strstr(error_message(e), "b.h5"))
            fail_msg("\"%s\" does not name the file", error_message(e));
        error_destroy(e);
        free(damaged);
        copy.data[at] = whole.data[at];
    }
    for (int trial = 0; trial < 100; trial++) {
        free(file_write(*state, "b.h5", whole.data, noise(&seed) % whole.count));
        char *const cut = path_in(*state, "b.h5");
        struct error *e = shard_verify(cut);
        assert_non_null(e);
        error_destroy(e);
        free(cut);
    }
    free(whole.data);
    free(copy.data);
    free(path);
}

static void assert_refused(const char *path, const char *expected)
{
    struct error *e = read_whole(path);
    if (!e || !strstr(error_message(e), expected))
        fail_msg("\"%s\" does not speak of \"%s\"", e ? error_message(e) : "no error", expected);
    error_destroy(e);
}

static void test_foreign_files_that_lie_are_refused(void **state)
{
    char *path = write_llmc(*state, "a.bin", 0, 1000, 2);
    assert_int_equal(truncate(path, 3000), 0);
    assert_refused(path, "says that it holds 1000 tokens, which makes 3024 bytes; it has 3000");
    free(path);

    const int32_t version[256] = {20240520, 2, 0};
    path = file_write(*state, "v.bin", version, sizeof version);
    assert_refused(path, "is of version 2 of its format (magic number 20240520), expected 1");
    free(path);

    path = write_bare(*state, "odd.bin", 0, 1000);
    assert_int_equal(truncate(path, 1999), 0);
    assert_refused(path, "odd number of bytes (1999)");
    free(path);

    path = write_megatron(*state, "m", 0, 1000, 2);
    assert_int_equal(truncate(path, 1998), 0);
    assert_refused(path, "lists 2000 bytes of tokens,");
    char *const index = path_in(*state, "m.idx");
    struct bytes content = file_read(index);
    content.data[34 + 4 * 10 + 8 * 3] ^= 2;    /* where sequence 3 begins */
    free(file_write(*state, "m.idx", content.data, content.count));
    assert_refused(path, "m.idx: sequence 3 begins at byte 602 with 100 tokens, expected byte 600");
    content.data[17] = 7;
    free(file_write(*state, "m.idx", content.data, content.count));
    assert_refused(path, "holds tokens of type 7");
    free(file_write(*state, "m.idx", content.data, 60));
    content.data[17] = 8;
    free(file_write(*state, "m.idx", content.data, 60));
    assert_refused(path, "its 60 bytes are too few");
    free(content.data);
    free(index);
    free(path);
}

static void test_a_token_the_vocabulary_does_not_have_is_named(void **state)
{
    const uint16_t tokens[] = {1, 2, 50256, 50257, 3};
    char *const path = file_write(*state, "a.bin", tokens, sizeof tokens);
    assert_refused(path, "holds token 50257 at place 3; the vocabulary has only 50257 entries");
    free(path);
    char *const shard = write_shard(*state, "a.h5", 0, 1000, 50257);
    struct token_file *f;
    assert_fails(token_file_open(&f, shard, 1000), "the vocabulary has only 1000 entries");
    free(shard);
}

/* While it is open a file is cut, rewritten or grown. */
static void test_a_file_that_changes_while_it_is_read_is_named(void **state)
{
    char *const paths[] = {write_shard(*state, "a.h5", 0, 300000, 50257),
                           write_bare(*state, "a.bin", 0, 300000)};
    for (int i = 0; i < 2; i++) {
        struct token_file *f;
        int32_t got[100];
        void *const scratch = malloc(token_file_scratch_bytes(100));
        assert_ok(token_file_open(&f, paths[i], 50257));
        assert_ok(token_file_read(f, 0, 100, got, scratch));
        assert_int_equal(truncate(paths[i], 300000), 0);
        assert_fails(token_file_read(f, 200000, 100, got, scratch),
                     i ? "a.bin changed while it was used, from 600000 to 300000 bytes"
                       : "a.h5 changed while it was used");
        token_file_close(f);
        free(scratch);
        free(paths[i]);
    }
}

/* ---- Samples ---- */

enum { T = 32, FILES = 4 };

static struct packed_tokens_options usual(const struct inputs *inputs)
{
    return (struct packed_tokens_options){
        .inputs = inputs, .name = "training", .vocabulary_size = 50257, .T = T};
}

/* Four files of different formats that hold tokens 0 to 2999 together. */
static void make_inputs(const char *folder, struct inputs *inputs)
{
    char *const paths[FILES] = {
        write_shard(folder, "0.h5", 0, 1001, 50257), write_llmc(folder, "1.bin", 1001, 3, 4),
        write_megatron(folder, "2", 1004, 996, 2), write_bare(folder, "3.bin", 2000, 1000),
    };
    assert_ok(inputs_expand(inputs, (const char *const *)paths, FILES, "training"));
    for (int i = 0; i < FILES; i++)
        free(paths[i]);
}

static void test_samples_are_windows_across_files(void **state)
{
    struct inputs inputs;
    make_inputs(*state, &inputs);
    struct packed_tokens *p;
    const struct packed_tokens_options options = usual(&inputs);
    assert_ok(packed_tokens_open(&p, &options));
    assert_int_equal(packed_tokens_count(p), 3000);
    const struct samples s = packed_tokens_samples(p);
    assert_int_equal(s.count, 93);    /* 93 * 32 + 1 = 2977 of 3000 tokens */
    assert_int_equal(s.block, 16384);    /* part of the order: never changes */
    void *reader;
    assert_ok(s.operations->open_reader(&reader, s.self, T));
    for (int64_t i = 0; i < s.count; i++) {
        int32_t tokens[T], targets[T];
        uint8_t masks[3][T] = {{0}};
        const struct row row = {tokens, targets, masks[0], masks[1], masks[2], NULL, NULL};
        assert_ok(s.operations->read(reader, i, &row));
        for (int t = 0; t < T; t++) {
            assert_int_equal(tokens[t], token_at(i * T + t));
            assert_int_equal(targets[t], token_at(i * T + t + 1));
            assert_true(masks[0][t] == 1 && masks[1][t] == 1 && masks[2][t] == 1);
        }
        const char *path;
        int64_t place;
        packed_tokens_where(p, i, &path, &place);
        static const int64_t starts[] = {0, 1001, 1004, 2000};
        const int file = i * T < 1001 ? 0 : i * T < 1004 ? 1 : i * T < 2000 ? 2 : 3;
        assert_string_equal(path, inputs.files[file].path);
        assert_int_equal(place, i * T - starts[file]);
    }
    s.operations->close_reader(reader);
    packed_tokens_close(p);

    struct packed_tokens_options long_ones = usual(&inputs);
    long_ones.T = 3000;
    assert_fails(packed_tokens_open(&p, &long_ones), "has 3000 tokens, fewer than one sample");
    inputs_release(&inputs);
}

static void test_the_fingerprint_is_of_content_not_names(void **state)
{
    struct inputs inputs;
    struct packed_tokens *p;
    make_inputs(*state, &inputs);
    const struct packed_tokens_options options = usual(&inputs);
    assert_ok(packed_tokens_open(&p, &options));
    const uint64_t before = packed_tokens_fingerprint(p);
    packed_tokens_close(p);

    char *const other = path_in(*state, "renamed.bin");
    assert_int_equal(rename(inputs.files[3].path, other), 0);
    free(inputs.files[3].path);
    inputs.files[3].path = other;
    assert_ok(packed_tokens_open(&p, &options));
    assert_true(packed_tokens_fingerprint(p) == before);
    packed_tokens_close(p);

    struct bytes content = file_read(other);
    content.data[1200] ^= 1;
    free(file_write(*state, "renamed.bin", content.data, content.count));
    assert_ok(packed_tokens_open(&p, &options));
    assert_true(packed_tokens_fingerprint(p) != before);
    packed_tokens_close(p);
    free(content.data);
    inputs_release(&inputs);
}

/* Ten documents of WordPiece, each begun by [BOS] (id 2). */
static void test_attention_and_positions_can_stay_in_documents(void **state)
{
    static const char vocabulary[] = "[PAD]\n[UNK]\n[BOS]\na\nb\n";
    struct tokenizer *tokenizer;
    const struct wordpiece_options split = {.split = true};
    assert_ok(tokenizer_create_wordpiece(&tokenizer, vocabulary, strlen(vocabulary), "five",
                                         &split));
    uint16_t content[201];
    for (int i = 0; i < 201; i++)
        content[i] = i % 20 == 0 || i % 20 == 3 ? 2 : 3;
    char *const path = file_write(*state, "a.bin", content, sizeof content);
    for (int asked = 0; asked < 4; asked++) {
        struct corpus *c;
        struct stream *stream;
        assert_ok(corpus_open(&c, &(struct corpus_options){
            .data = {.inputs = (const char *const *)&path, .input_count = 1, .name = "training"},
            .tokenizer = tokenizer, .T = 40, .vocabulary_size = 5, .mask_documents = asked & 1,
            .restart_positions = asked & 2}));
        assert_int_equal(corpus_samples(c), 5);
        assert_ok(stream_open(&stream, &(struct stream_options){
            .blend = corpus_blend(c), .T = 40, .global_batch = 4, .micro_batch = 4, .world_size = 1,
            .threads = 1, .prefetch = 2, .epochs = 1}, 0, 0));
        struct batch batch;
        double waited_s;
        for (int step = 0; step < 2; step++) {
            assert_ok(stream_read(stream, &batch, &waited_s));
            assert_int_equal(!batch.first_key, !(asked & 1));
            assert_int_equal(!batch.positions, !(asked & 2));
            for (int i = 0; i < 160; i++) {
                const int t = i % 40, begin = i / 40 >= batch.rows ? 0 : t / 20 * 20 + (t % 20 >= 3) * 3;
                if (batch.first_key)
                    assert_int_equal(batch.first_key[i], begin);
                if (batch.positions)
                    assert_int_equal(batch.positions[i], i / 40 >= batch.rows ? 0 : t - begin);
            }
        }
        stream_close(stream);
        corpus_close(c);
    }
    tokenizer_destroy(tokenizer);
    free(path);
}

static void test_text_and_tokens_do_not_mix(void **state)
{
    char *const text = file_write(*state, "a.txt", "some text\n", 10);
    char *const tokens = write_bare(*state, "b.bin", 0, 5000);
    const char *const inputs[] = {text, tokens};
    const char *const weights[] = {"1", "2.5"};
    struct corpus_options options = {
        .data = {.inputs = inputs, .input_count = 2, .name = "training", .min_bytes = 1},
        .T = 8, .vocabulary_size = 50257};
    struct corpus *c;
    assert_fails(corpus_open(&c, &options), "a.txt holds text");
    options.weights = weights;
    options.weight_count = 2;
    assert_fails(corpus_open(&c, &options), "input 2 of the training data holds tokens");
    options.weight_count = 1;
    assert_fails(corpus_open(&c, &options), "data.weights has 1 numbers for 2 inputs");
    options.data.inputs = &inputs[1];
    options.data.input_count = 1;
    options.weights = (const char *const[]){"0"};
    assert_fails(corpus_open(&c, &options), "weights are numbers over 0");
    options.kind = CORPUS_LINES;
    options.weight_count = 0;
    assert_fails(corpus_open(&c, &options), "b.bin, line 1, byte");
    free(text);
    free(tokens);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_format_is_recognised_and_read),
        TEST(test_text_is_not_taken_for_tokens),
        TEST(test_a_shard_is_an_hdf5_file_for_anybody),
        TEST(test_the_same_tokens_make_the_same_bytes),
        TEST(test_every_damaged_byte_of_a_shard_is_found),
        TEST(test_foreign_files_that_lie_are_refused),
        TEST(test_a_token_the_vocabulary_does_not_have_is_named),
        TEST(test_a_file_that_changes_while_it_is_read_is_named),
        TEST(test_samples_are_windows_across_files),
        TEST(test_the_fingerprint_is_of_content_not_names),
        TEST(test_attention_and_positions_can_stay_in_documents),
        TEST(test_text_and_tokens_do_not_mix),
    };
    return cmocka_run_group_tests_name("tokens", tests, NULL, NULL);
}
