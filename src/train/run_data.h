/* run_data.h - the data of a run, as its configuration says. */
#ifndef GALLEY_TRAIN_RUN_DATA_H
#define GALLEY_TRAIN_RUN_DATA_H

#include "base/config.h"
#include "data/corpus.h"
#include "data/pipe_windows.h"

/* The run folder's cache of unpacked text and index: made where it is missing, only used, or left
 * alone. */
enum run_data_cache { RUN_DATA_MAKE, RUN_DATA_READ, RUN_DATA_UNCACHED };

/* Opens what data.train names, or data.validation. The tokenizer is borrowed. */
MUST_USE struct error *run_data_open(struct corpus **out, const struct config *config,
                                     bool validation, const struct tokenizer *tokenizer,
                                     enum run_data_cache use);

/* Whether data.train is a pipe: standard input, or a fifo on this node. What a pipe cannot be is an
 * error: one of several inputs, read in several epochs, or what is validated on. */
MUST_USE struct error *run_data_find_pipe(const struct config *config, bool *piped);
/* How it is read. The configuration and the tokenizer are borrowed. */
struct pipe_windows_options run_data_pipe(const struct config *config,
                                          const struct tokenizer *tokenizer);

#endif
