/*
 * fuzz_source.c - damaged text, gzip, zstd and cache files: no crash, no hang, nothing wrong
 * accepted.
 *
 *     fuzz_source [SEED [CASES]]
 *
 * Each case is a function of seed and number. When one crashes, the folder that was printed still
 * holds its input.
 */
#include "testing.h"

#include "data/dataset.h"
#include "data/source.h"
#include "data/utf8.h"
#include "data_files.h"

#include <unistd.h>

enum { CASES = 3000, CASE_SECONDS = 20 };

enum kind { PLAIN, GZIP, ZSTD, CACHED_INDEX, CACHED_TEXT, KINDS };

struct fuzz {
    uint64_t random;
    const char *folder;
    struct bytes text;     /* valid; what the packed inputs unpack to */
    int64_t accepted[KINDS], refused[KINDS];
};

static size_t below(struct fuzz *f, size_t n)
{
    return n ? (size_t)(noise(&f->random) % n) : 0;
}

static struct bytes make_text(struct fuzz *f)
{
    static const char *const pieces[] = {"a", "word ", "\n", "\r\n", "\xc3\xa9", "\xe2\x80\x99",
                                         "\xf0\x9f\x98\x80", "The quick brown fox. ", "\n\n", "0"};
    struct bytes text = {0};
    FILE *out = open_memstream(&text.data, &text.count);
    for (size_t n = 1 + below(f, 600); n; n--)
        fputs(pieces[below(f, sizeof pieces / sizeof *pieces)], out);
    fclose(out);
    return text;
}

/* One to three changes: a byte, a cut, a stretch removed, repeated or overwritten. */
static void mutate(struct fuzz *f, struct bytes *b)
{
    for (size_t changes = 1 + below(f, 3); changes && b->count; changes--) {
        const size_t at = below(f, b->count), length = 1 + below(f, b->count - at);
        switch (below(f, 6)) {
        case 0:
            b->data[at] = (char)below(f, 256);
            break;
        case 1:
            b->data[at] ^= (char)(1 << below(f, 8));
            break;
        case 2:
            b->count = at;
            break;
        case 3:
            memmove(b->data + at, b->data + at + length, b->count - at - length);
            b->count -= length;
            break;
        case 4: {
            struct bytes twice = join((struct bytes){b->data, at + length},
                                      (struct bytes){b->data + at, b->count - at});
            free(b->data);
            *b = twice;
            break;
        }
        default:
            for (size_t i = 0; i < length && i < 16; i++)
                b->data[at + i] = (char)below(f, 256);
        }
    }
}

/* Everything the source gives; NULL data if it refuses. */
static struct bytes read_source(struct fuzz *f, const char *path, enum packing *packing)
{
    struct source *source;
    struct source_block block = {0};
    struct bytes all = {0};
    struct error *e = source_open(&source, &(struct source_options){
        .inputs = &path, .input_count = 1, .name = "fuzzed", .block_bytes = 1 + below(f, 3000)});
    if (e) {
        error_destroy(e);
        return all;
    }
    FILE *out = open_memstream(&all.data, &all.count);
    while (!(e = source_read(source, &block)) && block.bytes) {
        assert_int_equal(utf8_valid_prefix(block.text, block.bytes), block.bytes);
        fwrite(block.text, 1, block.bytes, out);
    }
    fclose(out);
    *packing = source_facts(source)->packing;
    source_block_release(&block);
    source_close(source);
    if (e) {
        assert_true(strlen(error_message(e)) > 20);
        error_destroy(e);
        free(all.data);
        return (struct bytes){0};
    }
    return all;
}

/* The samples that the definition gives: lines without CR, of at least min_bytes. */
static void assert_samples(const struct dataset *d, struct bytes text, int64_t min_bytes)
{
    char *const line = malloc(text.count + 1), *const scratch = malloc(dataset_scratch_bytes(d));
    int64_t index = 0;
    for (size_t at = 0; at < text.count;) {
        size_t bytes = 0;
        for (; at < text.count && text.data[at] != '\n'; at++)
            if (text.data[at] != '\r')
                line[bytes++] = text.data[at];
        at++;
        if ((int64_t)bytes < min_bytes)
            continue;
        const char *got;
        size_t got_bytes;
        assert_true(index < dataset_samples(d));
        assert_ok(dataset_sample(d, index++, scratch, &got, &got_bytes));
        assert_int_equal(got_bytes, bytes);
        assert_memory_equal(got, line, bytes);
    }
    assert_int_equal(index, dataset_samples(d));
    free(scratch);
    free(line);
}

static struct error *open_dataset(struct dataset **d, const char *path, int64_t min_bytes,
                                  const char *cache, const char *temporary)
{
    return dataset_open(d, &(struct dataset_options){
        .inputs = &path, .input_count = 1, .min_bytes = min_bytes, .cache_folder = cache,
        .temporary_folder = temporary, .name = "fuzzed",
    });
}

/* A damaged input: what is accepted must be text, and samples those of the text. */
static void run_input(struct fuzz *f, enum kind kind)
{
    struct bytes input = kind == GZIP ? pack_gzip(f->text.data, f->text.count)
                       : kind == ZSTD ? pack_zstd(f->text.data, f->text.count)
                                      : join(f->text, (struct bytes){0});
    if (kind != PLAIN && below(f, 4) == 0) {    /* a second member or frame */
        const struct bytes both = join(input, input);
        free(input.data);
        input = both;
    }
    mutate(f, &input);
    char *const path = file_write(f->folder, "input", input.data, input.count);

    enum packing packing = PACKING_NONE;
    struct bytes got = read_source(f, path, &packing);
    if (got.data && packing == PACKING_NONE) {
        assert_int_equal(got.count, input.count);
        assert_memory_equal(got.data, input.data, got.count);
    } else if (kind == PLAIN && !got.data) {
        /* Refused: because it is empty, invalid, or begins like something else. */
        assert_true(!input.count || utf8_valid_prefix(input.data, input.count) < input.count ||
                    !memcmp(input.data, "PK", 2) || !memcmp(input.data, "BZ", 2));
    } else if (got.data && packing == PACKING_GZIP) {
        /* Every member has a checksum, so only whole ones may be left. */
        assert_int_equal(got.count % f->text.count, 0);
        for (size_t at = 0; at < got.count; at += f->text.count)
            assert_memory_equal(got.data + at, f->text.data, f->text.count);
    }

    struct dataset *d;
    const int64_t min_bytes = (int64_t)below(f, 20);
    struct error *e = open_dataset(&d, path, min_bytes, NULL, f->folder);
    f->accepted[kind] += !e;
    f->refused[kind] += e != NULL;
    if (!e) {
        assert_non_null(got.data);
        assert_samples(d, got, min_bytes);
        dataset_close(d);
    } else if (got.data && !strstr(error_message(e), "none of the")) {
        fail_msg("the dataset refuses what the source takes: %s", error_message(e));
    }
    error_destroy(e);
    free(got.data);
    free(input.data);
    free(path);
}

/* A damaged cache: made anew, or an error when the damaged sample is read. */
static void run_cache(struct fuzz *f, enum kind kind)
{
    struct bytes packed = pack_zstd(f->text.data, f->text.count);
    char *const path = file_write(f->folder, "input", packed.data, packed.count);
    char *const cache = path_in(f->folder, "cache");
    struct dataset *d;
    assert_ok(open_dataset(&d, path, 0, cache, NULL));
    dataset_close(d);

    const char *const name = kind == CACHED_INDEX ? "fuzzed.index" : "fuzzed.text";
    char *const victim = path_in(cache, name);
    struct bytes damaged = file_read(victim);
    mutate(f, &damaged);
    free(file_write(cache, name, damaged.data, damaged.count));

    assert_ok(open_dataset(&d, path, 0, cache, NULL));
    f->accepted[kind]++;
    if (kind == CACHED_INDEX) {
        assert_samples(d, f->text, 0);
    } else {
        char *const scratch = malloc(dataset_scratch_bytes(d));
        for (int64_t i = 0; i < dataset_samples(d); i++) {
            const char *text;
            size_t bytes;
            struct error *e = dataset_sample(d, i, scratch, &text, &bytes);
            f->refused[kind] += e != NULL;
            error_destroy(e);
        }
        free(scratch);
    }
    dataset_close(d);
    free(damaged.data);
    free(packed.data);
    free(victim);
    free(cache);
    free(path);
}

static uint64_t seed = 1;
static int64_t cases = CASES;

static void test_damaged_input_is_refused_or_read_right(void **state)
{
    (void)state;
    char *const folder = folder_create();
    struct fuzz f = {.random = seed, .folder = folder};
    print_message("seed %llu, %lld cases, in %s\n", (unsigned long long)seed, (long long)cases,
                  folder);
    for (int64_t i = 0; i < cases; i++) {
        alarm(CASE_SECONDS);    /* a hang ends the program */
        f.text = make_text(&f);
        const enum kind kind = (enum kind)(i % KINDS);
        if (kind == CACHED_INDEX || kind == CACHED_TEXT)
            run_cache(&f, kind);
        else
            run_input(&f, kind);
        free(f.text.data);
    }
    alarm(0);
    static const char *const names[] = {"plain", "gzip", "zstd", "index", "text"};
    for (int kind = 0; kind < KINDS; kind++)
        print_message("%s: %lld accepted, %lld refused\n", names[kind],
                      (long long)f.accepted[kind], (long long)f.refused[kind]);
    folder_remove(folder);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        cases = strtoll(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged_input_is_refused_or_read_right),
    };
    return cmocka_run_group_tests_name("fuzz_source", tests, NULL, NULL);
}
