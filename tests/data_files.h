/* data_files.h - text files for the tests of the data layer: a folder of their own, packing,
 * noise. */
#ifndef GALLEY_TESTS_DATA_FILES_H
#define GALLEY_TESTS_DATA_FILES_H

#include <stddef.h>
#include <stdint.h>

/* Bytes with their length; `data` is for free(). */
struct bytes {
    char *data;
    size_t count;
};

/* A new empty folder under $TMPDIR or /tmp, and its removal with all it holds. The path is for the
 * caller to free. */
char *folder_create(void);
void folder_remove(char *folder);

/* "FOLDER/NAME", for the caller to free. */
char *path_in(const char *folder, const char *name);
/* Writes a file and returns its path, for the caller to free. */
char *file_write(const char *folder, const char *name, const void *data, size_t bytes);
struct bytes file_read(const char *path);
/* A file of the data folder beside the repository ("novels/valid.txt.gz"); NULL if it is not there:
 * the test must then skip, visibly. For the caller to free. */
char *shared_data(const char *name);

struct bytes pack_gzip(const void *data, size_t bytes);
struct bytes pack_zstd(const void *data, size_t bytes);
/* "a" then "b". */
struct bytes join(struct bytes a, struct bytes b);

/* Deterministic noise: splitmix64. */
uint64_t noise(uint64_t *state);

#endif
