/* datasets.c - datasets for the tests of the data layer. */
#include "datasets.h"

#include "testing.h"

#include <dirent.h>
#include <sys/stat.h>

struct error *open_dataset(struct dataset **out, const char *input, int64_t min_bytes,
                                  const char *cache, const char *temporary)
{
    return dataset_open(out, &(struct dataset_options){
        .inputs = &input, .input_count = 1, .min_bytes = min_bytes, .cache_folder = cache,
        .temporary_folder = temporary, .name = "training",
    });
}

void assert_sample(const struct dataset *dataset, int64_t index, const char *expected)
{
    char *const scratch = malloc(dataset_scratch_bytes(dataset));
    const char *text;
    size_t bytes;
    assert_ok(dataset_sample(dataset, index, scratch, &text, &bytes));
    if (bytes != strlen(expected) || memcmp(text, expected, bytes) != 0)
        fail_msg("sample %lld is \"%.*s\", expected \"%s\"", (long long)index, (int)bytes, text,
                 expected);
    free(scratch);
}

struct error *try_sample(const struct dataset *dataset, int64_t index)
{
    char *const scratch = malloc(dataset_scratch_bytes(dataset));
    const char *text;
    size_t bytes;
    struct error *e = dataset_sample(dataset, index, scratch, &text, &bytes);
    free(scratch);
    return e;
}

/* All samples, each followed by a line feed. */
struct bytes all_samples(const struct dataset *dataset)
{
    char *const scratch = malloc(dataset_scratch_bytes(dataset));
    struct bytes all = {0};
    FILE *f = open_memstream(&all.data, &all.count);
    for (int64_t i = 0; i < dataset_samples(dataset); i++) {
        const char *text;
        size_t bytes;
        assert_ok(dataset_sample(dataset, i, scratch, &text, &bytes));
        fwrite(text, 1, bytes, f);
        fputc('\n', f);
    }
    fclose(f);
    free(scratch);
    return all;
}

ino_t inode_of(const char *folder, const char *name)
{
    char *const path = path_in(folder, name);
    struct stat facts = {0};
    if (stat(path, &facts))
        facts.st_ino = 0;
    free(path);
    return facts.st_ino;
}

int files_in(const char *folder)
{
    DIR *const d = opendir(folder);
    assert_non_null(d);
    int count = -2;    /* "." and ".." */
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

struct bytes lines_of_text(int lines)
{
    struct bytes text = {0};
    uint64_t random = 1;
    FILE *f = open_memstream(&text.data, &text.count);
    for (int i = 0; i < lines; i++) {
        fprintf(f, "line %d", i);
        for (uint64_t n = noise(&random) % 60; n; n--)
            fputc('a' + (int)(noise(&random) % 26), f);
        fputc('\n', f);
    }
    fclose(f);
    return text;
}
