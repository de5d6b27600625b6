/* test_source.c - text comes out of files whole and checked, or with an error that says where. */
#include "testing.h"

#include "data/inputs.h"
#include "data/source.h"
#include "data/utf8.h"
#include "data_files.h"

#include <stdbool.h>
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

static struct error *open_source(struct source **out, const char *const *input, size_t block_bytes)
{
    return source_open(out, &(struct source_options){
        .inputs = input, .input_count = 1, .name = "training", .block_bytes = block_bytes});
}

/* All text of one input; the call must succeed. */
static struct bytes read_all(const char *input, size_t block_bytes)
{
    struct source *source;
    struct source_block block = {0};
    struct bytes text = {0};
    assert_ok(open_source(&source, &input, block_bytes));
    for (;;) {
        assert_ok(source_read(source, &block));
        if (!block.bytes)
            break;
        const struct bytes more = join(text, (struct bytes){block.text, block.bytes});
        free(text.data);
        text = more;
    }
    source_block_release(&block);
    source_close(source);
    return text;
}

/* Reads one input to its end or its first error. */
static struct error *read_to_error(const char *input, size_t block_bytes)
{
    struct source *source;
    struct source_block block = {0};
    TRY(open_source(&source, &input, block_bytes));
    struct error *e;
    do
        e = source_read(source, &block);
    while (!e && block.bytes);
    source_block_release(&block);
    source_close(source);
    return e;
}

static void assert_reads_as(const char *folder, struct bytes file, const char *expected)
{
    char *const path = file_write(folder, "packed.txt", file.data, file.count);
    struct bytes text = read_all(path, 64);
    assert_int_equal(text.count, strlen(expected));
    assert_memory_equal(text.data, expected, text.count);
    free(text.data);
    free(path);
}

/* `expected` is part of the message; the file's path stands before it. */
static void assert_refused(const char *folder, const void *data, size_t bytes, const char *expected)
{
    char *const path = file_write(folder, "refused.txt", data, bytes);
    struct error *e = read_to_error(path, 64);
    assert_non_null(e);
    if (strncmp(error_message(e), path, strlen(path)) != 0 || !strstr(error_message(e), expected))
        fail_msg("\"%s\" does not speak of %s and \"%s\"", error_message(e), path, expected);
    error_destroy(e);
    free(path);
}

/* Lines of all lengths from 0 to far beyond a block, ASCII and not; the last without a line
 * feed. */
static struct bytes make_text(uint64_t seed, int lines)
{
    char *data = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&data, &bytes);
    for (int i = 0; i < lines; i++) {
        const uint64_t length = noise(&seed) % (i % 16 ? 40 : 700);
        for (uint64_t j = 0; j < length; j++)
            fputs(noise(&seed) % 8 ? "a" : "\xc3\xa9", f);
        if (i < lines - 1)
            fputc('\n', f);
        else
            fputs("end", f);
    }
    fclose(f);
    return (struct bytes){data, bytes};
}

/* ---- Inputs ---- */

static void test_files_stand_in_order_of_arguments_and_matches_sorted(void **state)
{
    const char *const names[] = {"b.txt", "B.txt", "a10.txt", "a9.txt", "other.md"};
    for (int i = 0; i < 5; i++)
        free(file_write(*state, names[i], "x\n", 2));
    char *const pattern = path_in(*state, "*.txt");
    char *const first = path_in(*state, "other.md");
    const char *const arguments[] = {first, pattern};
    struct inputs inputs;
    assert_ok(inputs_expand(&inputs, arguments, 2, "training"));
    const char *const expected[] = {"other.md", "B.txt", "a10.txt", "a9.txt", "b.txt"};
    assert_int_equal(inputs.count, 5);
    for (int i = 0; i < 5; i++)
        assert_string_equal(strrchr(inputs.files[i].path, '/') + 1, expected[i]);
    inputs_release(&inputs);
    free(pattern);
    free(first);
}

static void test_a_name_with_brackets_is_a_file_where_there_is_one(void **state)
{
    char *const path = file_write(*state, "a[1].txt", "x\n", 2);
    free(file_write(*state, "a1.txt", "y\n", 2));
    struct inputs inputs;
    assert_ok(inputs_expand(&inputs, (const char *const *)&path, 1, "training"));
    assert_int_equal(inputs.count, 1);
    assert_string_equal(inputs.files[0].path, path);
    inputs_release(&inputs);
    free(path);
}

static void assert_no_inputs(const char *argument, const char *expected)
{
    struct inputs inputs;
    assert_fails(inputs_expand(&inputs, &argument, 1, "validation"), expected);
}

static void test_wrong_inputs_are_named(void **state)
{
    struct inputs inputs;
    assert_fails(inputs_expand(&inputs, NULL, 0, "validation"), "no validation data given");

    char *const missing = path_in(*state, "missing.txt");
    char *const pattern = path_in(*state, "*.nothing");
    char *const loop = path_in(*state, "loop.txt");
    char *const fifo = path_in(*state, "fifo.txt");
    assert_int_equal(symlink(loop, loop), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_no_inputs(missing, "missing.txt\", given as validation data: No such file");
    assert_no_inputs(pattern, "no file matches");
    assert_no_inputs(pattern, "*.nothing");
    assert_no_inputs(*state, "is a directory, expected a text file");
    assert_no_inputs(loop, "loop.txt\", given as validation data: Too many levels");
    assert_no_inputs(fifo, "fifo.txt is not a regular file");
    assert_fails(read_to_error(fifo, 64), "not a regular file");
    free(missing);
    free(pattern);
    free(loop);
    free(fifo);
}

static void test_an_unreadable_file_is_named(void **state)
{
    char *const path = file_write(*state, "secret.txt", "x\n", 2);
    assert_int_equal(chmod(path, 0), 0);
    const bool as_root = geteuid() == 0;
    if (!as_root)
        assert_fails(read_to_error(path, 64), "secret.txt: Permission denied");
    free(path);
    if (as_root)    /* who reads every file */
        skip();
}

/* ---- Unpacking ---- */

static void test_packing_is_recognised_by_content(void **state)
{
    const char *const text = "one\ntwo\nthree";
    struct bytes gz = pack_gzip(text, strlen(text)), zst = pack_zstd(text, strlen(text));
    assert_reads_as(*state, (struct bytes){(char *)(uintptr_t)text, strlen(text)}, text);
    assert_reads_as(*state, gz, text);
    assert_reads_as(*state, zst, text);
    free(gz.data);
    free(zst.data);
}

static void test_members_and_frames_are_read_to_the_end(void **state)
{
    struct bytes gz1 = pack_gzip("one\ntw", 6), gz2 = pack_gzip("o\n", 2), none = pack_gzip("", 0);
    struct bytes zst1 = pack_zstd("one\ntw", 6), zst2 = pack_zstd("o\n", 2);
    struct bytes skippable = {.data = (char[]){"\x53\x2a\x4d\x18\3\0\0\0abc"}, .count = 11};
    struct bytes zeros = {.data = (char[64]){0}, .count = 64};

    struct bytes gz = join(gz1, gz2), padded = join(gz, zeros), empty_first = join(none, gz);
    struct bytes zst = join(zst1, zst2), skipping = join(skippable, zst);
    struct bytes skip_last = join(zst, skippable);
    assert_reads_as(*state, gz, "one\ntwo\n");
    assert_reads_as(*state, padded, "one\ntwo\n");
    assert_reads_as(*state, empty_first, "one\ntwo\n");
    assert_reads_as(*state, zst, "one\ntwo\n");
    assert_reads_as(*state, skipping, "one\ntwo\n");
    assert_reads_as(*state, skip_last, "one\ntwo\n");
    struct bytes *const all[] = {&gz1, &gz2, &none, &zst1, &zst2, &gz, &padded, &empty_first, &zst,
                                 &skipping, &skip_last};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->data);
}

/* Cut after any byte, so also within header and checksum. */
static void test_every_truncation_of_packed_text_is_an_error(void **state)
{
    struct bytes text = make_text(1, 60);
    struct bytes gz = pack_gzip(text.data, text.count), zst = pack_zstd(text.data, text.count);
    for (size_t n = 2; n < gz.count; n++)
        assert_refused(*state, gz.data, n, "truncated: its gzip data stops in the middle");
    for (size_t n = 4; n < zst.count; n++)
        assert_refused(*state, zst.data, n, "truncated: its zstd data stops in the middle");
    free(text.data);
    free(gz.data);
    free(zst.data);
}

static void test_damaged_packing_is_an_error(void **state)
{
    struct bytes text = make_text(2, 200);
    struct bytes gz = pack_gzip(text.data, text.count), zst = pack_zstd(text.data, text.count);
    struct bytes rubbish = {.data = (char[]){"rubbish!"}, .count = 8};
    struct bytes gz_more = join(gz, rubbish), zst_more = join(zst, rubbish);
    assert_refused(*state, gz_more.data, gz_more.count, "damaged: its gzip data is wrong");
    assert_refused(*state, zst_more.data, zst_more.count, "damaged: its zstd data is wrong");
    gz.data[gz.count - 6] ^= 1;    /* its checksum */
    zst.data[zst.count / 2] ^= 0x55;
    assert_refused(*state, gz.data, gz.count, "damaged: its gzip data is wrong near byte");
    struct bytes *const all[] = {&text, &gz, &zst, &gz_more, &zst_more};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->data);
}

static void test_files_that_are_no_text_are_named_as_what_they_are(void **state)
{
    assert_refused(*state, "", 0, "is empty, expected text");
    struct bytes nothing = pack_gzip("", 0);
    assert_refused(*state, nothing.data, nothing.count, "holds nothing when unpacked");
    free(nothing.data);
    assert_refused(*state, "\xfd" "7zXZ\0rest", 10, "is xz data, expected UTF-8 text");
    assert_refused(*state, "BZh91AY&SYrest", 14, "is bzip2 data");
    assert_refused(*state, "PK\3\4rest", 8, "is a zip archive");
    assert_refused(*state, "\x89HDF\r\n\x1a\nrest", 12, "is an HDF5 file");
    assert_refused(*state, "\xff\xfe" "a\0b\0", 6, "is UTF-16 text");
    assert_refused(*state, "\x7f" "ELF\2\1\1\0\0", 9,
                   ", line 1, byte 8: a NUL byte, so this is a binary file");
    assert_refused(*state, "one\ntw\xe9 three\n", 14,
                   ", line 2, byte 3: invalid UTF-8 (byte 0xE9); expected UTF-8 text");
}

/* ---- Blocks ---- */

static void test_blocks_are_whole_lines_whatever_their_size(void **state)
{
    struct bytes text = make_text(3, 400);
    char *const path = file_write(*state, "lines.txt", text.data, text.count);
    size_t longest = 0;
    for (size_t at = 0, next; at < text.count; at = next) {
        const char *const feed = memchr(text.data + at, '\n', text.count - at);
        next = feed ? (size_t)(feed - text.data) + 1 : text.count;
        longest = next - at > longest ? next - at : longest;
    }
    for (size_t block_bytes = 1; block_bytes < 3000; block_bytes += 1 + block_bytes / 7) {
        struct source *source;
        struct source_block block = {0};
        assert_ok(open_source(&source, (const char *const *)&path, block_bytes));
        int64_t offset = 0, line = 1, sequence = 0;
        while (offset < (int64_t)text.count) {
            assert_ok(source_read(source, &block));
            assert_true(block.bytes > 0);
            assert_int_equal(block.offset, offset);
            assert_int_equal(block.first_line, line);
            assert_int_equal(block.sequence, sequence++);
            assert_memory_equal(block.text, text.data + offset, block.bytes);
            offset += (int64_t)block.bytes;
            line += count_line_feeds(block.text, block.bytes);
            assert_true(offset == (int64_t)text.count || block.text[block.bytes - 1] == '\n');
            assert_true(block.bytes <= block_bytes || block.bytes <= 2 * longest);
        }
        assert_int_equal(line, 400);
        assert_true(source_progress(source) > 0.99);
        for (int again = 0; again < 2; again++) {
            assert_ok(source_read(source, &block));
            assert_int_equal(block.bytes, 0);
        }
        source_block_release(&block);
        source_close(source);
    }
    free(text.data);
    free(path);
}

static void test_several_blocks_may_be_in_flight(void **state)
{
    struct bytes text = make_text(4, 300);
    free(file_write(*state, "1.txt", text.data, text.count));
    free(file_write(*state, "2.txt", text.data, text.count));
    char *const pattern = path_in(*state, "*.txt");
    struct source *source;
    struct source_block blocks[512] = {0};
    int count = 0;
    assert_ok(open_source(&source, (const char *const *)&pattern, 100));
    assert_int_equal(source_files(source), 2);
    do
        assert_ok(source_read(source, &blocks[count]));
    while (blocks[count++].bytes && count < 512);
    assert_true(count > 50 && count < 512);

    size_t seen[2] = {0};
    for (int i = 0; i < count - 1; i++) {
        const struct source_block *const b = &blocks[i];
        assert_int_equal(b->offset, seen[b->file]);
        assert_memory_equal(b->text, text.data + b->offset, b->bytes);
        assert_true(strstr(source_path(source, b->file), b->file ? "/2.txt" : "/1.txt") != NULL);
        seen[b->file] += b->bytes;
    }
    assert_int_equal(seen[0], text.count);
    assert_int_equal(seen[1], text.count);
    for (int i = 0; i < count; i++)
        source_block_release(&blocks[i]);
    source_close(source);
    free(text.data);
    free(pattern);
}

/* One wrong byte anywhere, for many block sizes: file, line and byte are those of the text. */
static void test_errors_name_line_and_byte(void **state)
{
    struct bytes text = make_text(5, 200);
    uint64_t random = 6;
    for (int trial = 0; trial < 200; trial++) {
        size_t at = noise(&random) % text.count;
        while (text.data[at] != 'a')
            at = noise(&random) % text.count;
        text.data[at] = trial % 2 ? '\0' : '\x80';
        size_t line = 1, byte = 1;
        for (size_t i = 0; i < at; i++) {
            byte = text.data[i] == '\n' ? 1 : byte + 1;
            line += text.data[i] == '\n';
        }
        char expected[80];
        snprintf(expected, sizeof expected, "wrong.txt, line %zu, byte %zu: %s", line, byte,
                 trial % 2 ? "a NUL byte" : "invalid UTF-8 (byte 0x80)");
        char *const path = file_write(*state, "wrong.txt", text.data, text.count);
        assert_fails(read_to_error(path, 1 + noise(&random) % 500), expected);
        free(path);
        text.data[at] = 'a';
    }
    free(text.data);
}

/* ---- UTF-8 ---- */

/* By decoding, where the checked code compares bytes. Length, or 0. */
static size_t reference_length(const unsigned char *p, size_t left)
{
    static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};    /* NUL is not text here */
    const size_t length = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3
                        : p[0] >> 3 == 30 ? 4 : 0;
    if (!length || length > left)
        return 0;
    uint32_t code = length == 1 ? p[0] : p[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        code = code << 6 | (p[i] & 0x3Fu);
    }
    const bool surrogate = code >= 0xD800 && code < 0xE000;
    return code >= least[length] && code <= 0x10FFFF && !surrogate ? length : 0;
}

static size_t reference_prefix(const char *text, size_t bytes)
{
    size_t at = 0, length = 1;
    for (; at < bytes && length; at += length)
        length = reference_length((const unsigned char *)text + at, bytes - at);
    return at;
}

static void test_utf8_is_told_apart_for_all_sequences(void **state)
{
    (void)state;
    /* Every first three bytes; the fourth from the edges of its ranges. */
    static const unsigned char last[] = {0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF};
    for (uint32_t i = 0x10000; i < 0x1000000; i++) {
        if (i >> 16 < 0xC0 && i & 0xFFF)    /* ASCII and continuations first: all look alike */
            continue;
        for (size_t j = 0; j < sizeof last; j++) {
            const char text[4] = {(char)(i >> 16), (char)(i >> 8), (char)i, (char)last[j]};
            if (utf8_valid_prefix(text, 4) != reference_prefix(text, 4))
                fail_msg("%06x %02x: %zu, expected %zu", i, last[j], utf8_valid_prefix(text, 4),
                         reference_prefix(text, 4));
        }
    }
}

static void test_utf8_is_told_apart_at_every_place_of_a_block(void **state)
{
    (void)state;
    static const char *const pieces[] = {"\xc3\xa9", "\xe2\x80\x99", "\xf0\x9f\x98\x80", "\xff",
                                         "\xe2\x80", "\xed\xa0\x80", "\xc0\x80", "\x80"};
    char text[400];
    for (size_t piece = 0; piece < sizeof pieces / sizeof *pieces; piece++)
        for (size_t at = 0; at < 300; at++)
            for (size_t after = 0; after < 8; after++) {
                const size_t length = strlen(pieces[piece]), bytes = at + length + after * 17;
                memset(text, 'x', sizeof text);
                memcpy(text + at, pieces[piece], length);
                if (bytes <= sizeof text)
                    assert_int_equal(utf8_valid_prefix(text, bytes),
                                     piece < 3 ? bytes : reference_prefix(text, bytes));
            }
    memset(text, 'x', sizeof text);
    for (size_t at = 0; at < sizeof text; at++) {
        text[at] = 0;
        assert_int_equal(utf8_valid_prefix(text, sizeof text), at);
        text[at] = 'x';
    }
}

static void test_line_feeds_are_counted(void **state)
{
    (void)state;
    char text[1000];
    memset(text, '\n', sizeof text);
    for (size_t bytes = 0; bytes <= sizeof text; bytes++)
        assert_int_equal(count_line_feeds(text, bytes), bytes);
    memset(text, 'x', sizeof text);
    assert_int_equal(count_line_feeds(text, sizeof text), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files_stand_in_order_of_arguments_and_matches_sorted,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(test_a_name_with_brackets_is_a_file_where_there_is_one,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(test_wrong_inputs_are_named, enter, leave),
        cmocka_unit_test_setup_teardown(test_an_unreadable_file_is_named, enter, leave),
        cmocka_unit_test_setup_teardown(test_packing_is_recognised_by_content, enter, leave),
        cmocka_unit_test_setup_teardown(test_members_and_frames_are_read_to_the_end, enter, leave),
        cmocka_unit_test_setup_teardown(test_every_truncation_of_packed_text_is_an_error, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_damaged_packing_is_an_error, enter, leave),
        cmocka_unit_test_setup_teardown(test_files_that_are_no_text_are_named_as_what_they_are,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(test_blocks_are_whole_lines_whatever_their_size, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_several_blocks_may_be_in_flight, enter, leave),
        cmocka_unit_test_setup_teardown(test_errors_name_line_and_byte, enter, leave),
        cmocka_unit_test(test_utf8_is_told_apart_for_all_sequences),
        cmocka_unit_test(test_utf8_is_told_apart_at_every_place_of_a_block),
        cmocka_unit_test(test_line_feeds_are_counted),
    };
    return cmocka_run_group_tests_name("source", tests, NULL, NULL);
}
