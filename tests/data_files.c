/* data_files.c - text files for the tests of the data layer. */
#include "data_files.h"

#include "testing.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>
#include <zstd.h>

char *folder_create(void)
{
    const char *const base = getenv("TMPDIR");
    char *folder = NULL;
    if (asprintf(&folder, "%s/galley-test.XXXXXX", base && *base ? base : "/tmp") < 0 ||
        !mkdtemp(folder))
        fail_msg("cannot create a folder for the test");
    return folder;
}

static int remove_one(const char *path, const struct stat *facts, int flag, struct FTW *where)
{
    (void)facts, (void)flag, (void)where;
    return remove(path);
}

void folder_remove(char *folder)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

char *path_in(const char *folder, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        fail_msg("out of memory");
    return path;
}

char *file_write(const char *folder, const char *name, const void *data, size_t bytes)
{
    char *const path = path_in(folder, name);
    FILE *const f = fopen(path, "w");
    if (!f || fwrite(data, 1, bytes, f) != bytes || fclose(f))
        fail_msg("cannot write %s", path);
    return path;
}

struct bytes file_read(const char *path)
{
    struct stat facts;
    FILE *const f = fopen(path, "r");
    if (!f || fstat(fileno(f), &facts))
        fail_msg("cannot read %s", path);
    struct bytes read = {.data = malloc((size_t)facts.st_size + 1), .count = (size_t)facts.st_size};
    if (!read.data || fread(read.data, 1, read.count, f) != read.count)
        fail_msg("cannot read %s", path);
    read.data[read.count] = 0;
    fclose(f);
    return read;
}

char *shared_data(const char *name)
{
    const char *const source = getenv("GALLEY_SOURCE");
    char *path = NULL;
    if (asprintf(&path, "%s/../shared/data/%s", source ? source : ".", name) < 0)
        fail_msg("out of memory");
    if (!access(path, R_OK))
        return path;
    free(path);
    return NULL;
}

struct bytes pack_gzip(const void *data, size_t bytes)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                                  Z_DEFAULT_STRATEGY), Z_OK);
    const uLong bound = deflateBound(&z, bytes);
    struct bytes packed = {.data = malloc(bound)};
    assert_non_null(packed.data);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)bytes;
    z.next_out = (Bytef *)packed.data;
    z.avail_out = (uInt)bound;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    packed.count = z.total_out;
    deflateEnd(&z);
    return packed;
}

struct bytes pack_zstd(const void *data, size_t bytes)
{
    const size_t bound = ZSTD_compressBound(bytes);
    struct bytes packed = {.data = malloc(bound)};
    assert_non_null(packed.data);
    packed.count = ZSTD_compress(packed.data, bound, data, bytes, 3);
    assert_false(ZSTD_isError(packed.count));
    return packed;
}

struct bytes join(struct bytes a, struct bytes b)
{
    struct bytes both = {.data = malloc(a.count + b.count + 1), .count = a.count + b.count};
    assert_non_null(both.data);
    if (a.count)
        memcpy(both.data, a.data, a.count);
    if (b.count)
        memcpy(both.data + a.count, b.data, b.count);
    both.data[both.count] = 0;
    return both;
}

uint64_t noise(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}
