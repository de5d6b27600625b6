/* token_files.c - token files of every format for the tests of the data layer. */
#include "token_files.h"

#include "data_files.h"
#include "testing.h"

int32_t token_at(int64_t i)
{
    uint64_t state = (uint64_t)i * UINT64_C(0x9E3779B97F4A7C15);
    return (int32_t)(noise(&state) % 50257);
}

/* Little-endian tokens of this width, for free(). */
static char *make_tokens(int64_t first, int64_t count, int width)
{
    char *const data = malloc((size_t)count * (size_t)width + 1);
    assert_non_null(data);
    for (int64_t i = 0; i < count; i++) {
        const uint32_t token = (uint32_t)token_at(first + i);
        const uint16_t narrow = (uint16_t)token;
        memcpy(data + i * width, width == 2 ? (const void *)&narrow : &token, (size_t)width);
    }
    return data;
}

char *write_shard(const char *folder, const char *name, int64_t first, int64_t count,
                  int64_t vocabulary_size)
{
    enum { DOCUMENT = 100 };
    char *const path = path_in(folder, name);
    const int width = shard_width(vocabulary_size);
    char *const tokens = make_tokens(first, count, width);
    struct shard_writer *w;
    const int64_t documents = (count + DOCUMENT - 1) / DOCUMENT;
    assert_ok(shard_create(&w, path, &(struct shard_facts){
        .width = width, .tokens = count, .documents = documents, .first_token = first, .shards = 1,
        .vocabulary_size = vocabulary_size, .end_token = 50256, .start_token = -1,
        .tokenizer = 42, .tokenizer_kind = "bpe", .part = "train"}));
    for (int64_t done = 0; done < count;) {    /* in pieces of odd lengths */
        const int64_t n = count - done < 70001 ? count - done : 70001;
        assert_ok(shard_write_tokens(w, tokens + done * width, n));
        done += n;
    }
    int32_t most = 0;
    for (int64_t i = 0; i < count; i++)
        most = token_at(first + i) > most ? token_at(first + i) : most;
    for (int64_t i = 0; i < documents; i++) {
        const int64_t place = i * DOCUMENT;
        assert_ok(shard_write_documents(w, &place, 1));
    }
    assert_ok(shard_finish(w, most));
    free(tokens);
    return path;
}

static char *write_with_header(const char *folder, const char *name, const void *header,
                               size_t header_bytes, int64_t first, int64_t count, int width)
{
    char *const tokens = make_tokens(first, count, width);
    const struct bytes all = join((struct bytes){(char *)(uintptr_t)header, header_bytes},
                                  (struct bytes){tokens, (size_t)count * (size_t)width});
    char *const path = file_write(folder, name, all.data, all.count);
    free(all.data);
    free(tokens);
    return path;
}

char *write_llmc(const char *folder, const char *name, int64_t first, int64_t count, int width)
{
    const int32_t header[256] = {width == 2 ? 20240520 : 20240801, width == 2 ? 1 : 7,
                                 (int32_t)count};
    return write_with_header(folder, name, header, sizeof header, first, count, width);
}

char *write_bare(const char *folder, const char *name, int64_t first, int64_t count)
{
    return write_with_header(folder, name, "", 0, first, count, 2);
}

char *write_megatron(const char *folder, const char *name, int64_t first, int64_t count, int width)
{
    enum { SEQUENCE = 100 };
    const int64_t sequences = (count + SEQUENCE - 1) / SEQUENCE;
    struct bytes index = {0};
    FILE *f = open_memstream(&index.data, &index.count);
    const uint64_t version = 1;
    const uint8_t type = width == 2 ? 8 : 4;
    const int64_t documents = sequences + 1;
    fwrite("MMIDIDX\0\0", 1, 9, f);
    fwrite(&version, 8, 1, f);
    fwrite(&type, 1, 1, f);
    fwrite(&sequences, 8, 1, f);
    fwrite(&documents, 8, 1, f);
    for (int64_t i = 0; i < sequences; i++) {
        const int64_t left = count - i * SEQUENCE;
        const int32_t length = (int32_t)(left < SEQUENCE ? left : SEQUENCE);
        fwrite(&length, 4, 1, f);
    }
    for (int64_t i = 0; i < sequences; i++) {
        const int64_t begin = i * SEQUENCE * width;
        fwrite(&begin, 8, 1, f);
    }
    for (int64_t i = 0; i <= sequences; i++)
        fwrite(&i, 8, 1, f);
    fclose(f);
    char file[64];
    snprintf(file, sizeof file, "%s.idx", name);
    free(file_write(folder, file, index.data, index.count));
    free(index.data);
    snprintf(file, sizeof file, "%s.bin", name);
    return write_with_header(folder, file, "", 0, first, count, width);
}
