/* token_files.h - token files of every format for the tests of the data layer. */
#ifndef GALLEY_TESTS_TOKEN_FILES_H
#define GALLEY_TESTS_TOKEN_FILES_H

#include "formats/shard_file.h"

/* The token at place i of the sequence that all these files hold a stretch of; under 50257. */
int32_t token_at(int64_t i);

/* Each writes tokens [first, first + count) to FOLDER/NAME and returns the path, for free(). */
char *write_shard(const char *folder, const char *name, int64_t first, int64_t count,
                  int64_t vocabulary_size);
char *write_llmc(const char *folder, const char *name, int64_t first, int64_t count, int width);
char *write_bare(const char *folder, const char *name, int64_t first, int64_t count);
/* NAME.bin and NAME.idx, in sequences of 100 tokens; the path of the .bin. */
char *write_megatron(const char *folder, const char *name, int64_t first, int64_t count, int width);

#endif
