/* datasets.h - datasets for the tests of the data layer: opened, read, and what they leave in
 * folders. */
#ifndef GALLEY_TESTS_DATASETS_H
#define GALLEY_TESTS_DATASETS_H

#include "data/dataset.h"
#include "data_files.h"

#include <sys/types.h>

struct error *open_dataset(struct dataset **out, const char *input, int64_t min_bytes,
                           const char *cache, const char *temporary);
void assert_sample(const struct dataset *dataset, int64_t index, const char *expected);
struct error *try_sample(const struct dataset *dataset, int64_t index);
/* All samples, each followed by a line feed. */
struct bytes all_samples(const struct dataset *dataset);

/* 0: there is no such file. */
ino_t inode_of(const char *folder, const char *name);
int files_in(const char *folder);
/* Lines of noise, each another. */
struct bytes lines_of_text(int lines);

#endif
