/*
 * fuzz_tokens.c - damaged shards, token files, indices and JSON: no crash, no hang, no damaged
 * shard taken for good; and what is taken is read as its bytes say, from a file or through a pipe.
 *
 *     fuzz_tokens [SEED [CASES]]      100,000 cases take about three minutes
 *
 * Each case is a function of seed and number. When one crashes, the folder that was printed still
 * holds its input.
 */
#include "testing.h"

#include "data/packed_tokens.h"
#include "data/pipe_tokens.h"
#include "data/source.h"
#include "data/utf8.h"
#include "data_files.h"
#include "token_files.h"

#include <stdbool.h>
#include <unistd.h>

enum { CASES = 3000, CASE_SECONDS = 20, T = 64, VOCABULARY = 50257, HEAD = 4096 };

enum kind { SHARD, LLMC, BARE, MEGATRON_INDEX, MEGATRON_TOKENS, JSON_LIST, JSON_ROWS, KINDS };

static const struct { const char *name, *fuzzed, *opened; } files[KINDS] = {
    [SHARD] = {"shard", "shard.h5", "shard.h5"},
    [LLMC] = {"llm.c", "llmc.bin", "llmc.bin"},
    [BARE] = {"bare", "bare.bin", "bare.bin"},
    [MEGATRON_INDEX] = {"Megatron index", "pair.idx", "pair.bin"},
    [MEGATRON_TOKENS] = {"Megatron tokens", "pair.bin", "pair.idx"},
    [JSON_LIST] = {"JSON", "list.json", "list.json"},
    [JSON_ROWS] = {"JSON lines", "rows.jsonl", "rows.jsonl"},
};

struct fuzz {
    uint64_t random;
    char *folder;
    struct bytes whole[KINDS];    /* as they are undamaged */
    int never[2];                 /* a pipe into which nothing is written */
    int64_t accepted[KINDS], refused[KINDS];
};

static size_t below(struct fuzz *f, size_t n)
{
    return n ? (size_t)(noise(&f->random) % n) : 0;
}

/* Half of the places are near the beginning, where headers and structures are. */
static size_t place_in(struct fuzz *f, size_t bytes)
{
    return below(f, below(f, 2) && bytes > HEAD ? HEAD : bytes);
}

static struct bytes mutated(struct fuzz *f, struct bytes whole)
{
    struct bytes b = join(whole, (struct bytes){0});
    for (size_t changes = 1 + below(f, 3); changes && b.count; changes--) {
        const size_t at = place_in(f, b.count), left = b.count - at;
        const size_t length = 1 + below(f, left < 64 ? left : 64);
        switch (below(f, 6)) {
        case 0:
            b.data[at] = (char)below(f, 256);
            break;
        case 1:
            b.data[at] ^= (char)(1 << below(f, 8));
            break;
        case 2:
            b.count = below(f, 4) ? b.count : at;
            break;
        case 3:
            memmove(b.data + at, b.data + at + length, left - length);
            b.count -= length;
            break;
        case 4: {    /* an extreme number where one may stand */
            static const int64_t extremes[] = {0, -1, INT64_MAX, INT64_MIN, 1 << 30, 0xFFFFFFFF};
            const size_t width = left < 8 ? left : 8;
            memcpy(b.data + at, &extremes[below(f, 6)], width);
            break;
        }
        default:
            for (size_t i = 0; i < length; i++)
                b.data[at + i] = (char)below(f, 256);
        }
    }
    return b;
}

/* ---- files of tokens ---- */

/* What a file's bytes are as tokens: from `data` on, `width` bytes each. */
struct decoded {
    const char *data;
    int width;
    int64_t count;
    bool header;    /* stands before it */
};

static int64_t token_in(const struct decoded *d, int64_t i)
{
    uint8_t b1;
    uint16_t b2;
    uint32_t b4;
    const char *const at = d->data + i * d->width;
    memcpy(&b1, at, 1);
    if (d->width == 1)
        return b1;
    memcpy(&b2, at, 2);
    if (d->width == 2)
        return b2;
    memcpy(&b4, at, 4);
    return b4;
}

/* By the formats' definitions alone, of a file that is taken. */
static struct decoded decode_file(struct bytes file)
{
    int32_t magic = 0;
    memcpy(&magic, file.data, file.count < sizeof magic ? file.count : sizeof magic);
    const bool header = magic == 20240520 || magic == 20240801;
    const int width = magic == 20240801 ? 4 : 2;
    const int64_t before = header ? 1024 : 0;
    return (struct decoded){.data = file.data + before, .width = width, .header = header,
                            .count = ((int64_t)file.count - before) / width};
}

static struct decoded decode_pair(struct bytes index, struct bytes tokens)
{
    const int type = index.count > 17 ? index.data[17] : 0;
    const int width = type == 8 ? 2 : type == 4 ? 4 : 1;
    return (struct decoded){.data = tokens.data, .width = width,
        .count = (int64_t)tokens.count / width};
}

static struct decoded decode(const struct fuzz *f, enum kind kind, struct bytes damaged)
{
    return kind == MEGATRON_INDEX    ? decode_pair(damaged, f->whole[MEGATRON_TOKENS])
           : kind == MEGATRON_TOKENS ? decode_pair(f->whole[MEGATRON_INDEX], damaged)
                                     : decode_file(damaged);
}

static void assert_token(const char *path, int64_t place, int64_t got, int64_t expected)
{
    if (got != expected)
        fail_msg("%s: token %lld is %lld, expected %lld", path, (long long)place, (long long)got,
                 (long long)expected);
}

/* Opens a file of tokens and reads all its samples. Those of a file that is taken must be what its
 * bytes say; of a shard, what was written. */
static struct error *read_tokens(const char *path, const struct decoded *expected)
{
    struct inputs inputs;
    struct packed_tokens *p = NULL;
    void *reader = NULL;
    bool tokens;
    TRY(token_file_is_one(path, &tokens));
    TRY(inputs_expand(&inputs, &path, 1, "fuzzed"));
    struct error *e = packed_tokens_open(&p, &(struct packed_tokens_options){
        .inputs = &inputs, .name = "fuzzed", .vocabulary_size = VOCABULARY, .T = T});
    if (!e) {
        const struct samples s = packed_tokens_samples(p);
        if (expected)
            assert_int_equal(packed_tokens_count(p), expected->count);
        e = s.operations->open_reader(&reader, s.self, T);
        for (int64_t i = 0; i < s.count && !e; i++) {
            int32_t ids[2][T];
            uint8_t masks[3][T];
            const struct row row = {ids[0], ids[1], masks[0], masks[1], masks[2], NULL, NULL};
            e = s.operations->read(reader, i, &row);
            for (int64_t t = 0; t < T && !e; t++) {
                const int64_t at = i * T + t;
                assert_token(path, at, ids[0][t], expected ? token_in(expected, at) : token_at(at));
                assert_token(path, at + 1, ids[1][t],
                             expected ? token_in(expected, at + 1) : token_at(at + 1));
            }
        }
        s.operations->close_reader(reader);
    }
    packed_tokens_close(p);
    inputs_release(&inputs);
    return e;
}

/* What may come through a pipe is the same tokens there. */
static void assert_piped(const struct fuzz *f, const char *path, const struct decoded *expected)
{
    struct reader *reader;
    struct pipe_tokens *tokens;
    int32_t *const ids = malloc((size_t)(expected->count + 1) * sizeof *ids);
    int got;
    assert_non_null(ids);
    assert_ok(reader_open_pipe(&reader, path, f->never[0], NULL));
    assert_ok(pipe_tokens_open(&tokens, reader, VOCABULARY, expected->header));
    assert_ok(pipe_tokens_read(tokens, ids, (int)expected->count + 1, &got));
    assert_int_equal(got, expected->count);
    for (int i = 0; i < got; i++)
        assert_token(path, i, ids[i], token_in(expected, i));
    pipe_tokens_close(tokens);
    free(ids);
}

static struct error *read_documents(struct fuzz *f, const char *path)
{
    struct source *source;
    struct source_block block = {0};
    struct error *e;
    TRY(source_open(&source, &(struct source_options){
        .inputs = &path, .input_count = 1, .name = "fuzzed", .block_bytes = 1 + below(f, 3000)}));
    while (!(e = source_read(source, &block)) && block.bytes) {
        assert_int_equal(block.text[block.bytes - 1], '\0');
        for (size_t at = 0; at < block.bytes; at += strlen(block.text + at) + 1)
            assert_int_equal(utf8_valid_prefix(block.text + at, strlen(block.text + at)),
                             strlen(block.text + at));
    }
    source_block_release(&block);
    source_close(source);
    return e;
}

static void run_case(struct fuzz *f, enum kind kind)
{
    struct bytes damaged = mutated(f, f->whole[kind]);
    char *const fuzzed = file_write(f->folder, files[kind].fuzzed, damaged.data, damaged.count);
    char *const opened = path_in(f->folder, files[kind].opened);
    const struct decoded says = kind == SHARD ? (struct decoded){0} : decode(f, kind, damaged);
    struct error *e = kind >= JSON_LIST ? read_documents(f, opened)
                                        : read_tokens(opened, kind == SHARD ? NULL : &says);
    const bool same = damaged.count == f->whole[kind].count &&
                      !memcmp(damaged.data, f->whole[kind].data, damaged.count);
    if (!e && kind == SHARD)
        e = shard_verify(opened);    /* what reading tokens does not touch: the documents */
    if (!e && (kind == LLMC || kind == BARE))
        assert_piped(f, opened, &says);
    if (!e && kind == SHARD && !same)
        fail_msg("a damaged shard was taken for good: %s", opened);
    if (e && same)
        fail_msg("an undamaged file was refused: %s", error_message(e));
    if (e && !strstr(error_message(e), f->folder) && !strstr(error_message(e), "fuzzed data"))
        fail_msg("\"%s\" does not say which file", error_message(e));
    f->accepted[kind] += !e;
    f->refused[kind] += e != NULL;
    error_destroy(e);
    free(opened);
    free(fuzzed);
    free(damaged.data);
}

static void keep(struct fuzz *f, enum kind kind, char *path)
{
    f->whole[kind] = file_read(path);
    free(path);
}

static void make_files(struct fuzz *f)
{
    static const char list[] = "[\n {\"text\": [\"a\", \"\\u4e00\"], \"n\": [1, {\"b\": null}]},\n"
                               " {\"text\": \"caf\xc3\xa9 \\ud83d\\ude00\"}\n]\n";
    static const char rows[] = "{\"id\":1,\"text\":\"one\\ntwo\"}\n\n{\"text\":\"\xe4\xb8\x80\",\"x\":"
                               "-1.5e3}\n{\"text\":[\"a\",\"b\"]}\n";
    keep(f, SHARD, write_shard(f->folder, "shard.h5", 0, 1000, VOCABULARY));
    keep(f, LLMC, write_llmc(f->folder, "llmc.bin", 0, 1000, 2));
    keep(f, BARE, write_bare(f->folder, "bare.bin", 0, 3000));
    keep(f, MEGATRON_TOKENS, write_megatron(f->folder, "pair", 0, 1000, 4));
    keep(f, MEGATRON_INDEX, path_in(f->folder, "pair.idx"));
    keep(f, JSON_LIST, file_write(f->folder, "list.json", list, sizeof list - 1));
    keep(f, JSON_ROWS, file_write(f->folder, "rows.jsonl", rows, sizeof rows - 1));
}

static uint64_t seed = 1;
static int64_t cases = CASES;

static void test_damaged_files_are_refused_or_read_right(void **state)
{
    (void)state;
    struct fuzz f = {.random = seed, .folder = folder_create()};
    assert_int_equal(pipe(f.never), 0);
    printf("seed %llu, %lld cases in %s\n", (unsigned long long)seed, (long long)cases, f.folder);
    make_files(&f);
    for (int64_t i = 0; i < cases; i++) {
        const enum kind kind = (enum kind)(i % KINDS);
        alarm(CASE_SECONDS);
        run_case(&f, kind);
        /* The other file of a pair must be whole again. */
        free(file_write(f.folder, files[kind].fuzzed, f.whole[kind].data, f.whole[kind].count));
    }
    alarm(0);
    for (int kind = 0; kind < KINDS; kind++) {
        printf("%s: %lld accepted, %lld refused\n", files[kind].name, (long long)f.accepted[kind],
               (long long)f.refused[kind]);
        assert_true(f.refused[kind] > 0);
        free(f.whole[kind].data);
    }
    close(f.never[0]);
    close(f.never[1]);
    folder_remove(f.folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged_files_are_refused_or_read_right),
    };
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        cases = strtoll(argv[2], NULL, 10);
    return cmocka_run_group_tests_name("fuzz_tokens", tests, NULL, NULL);
}
