/* run_data.h - the data of a run, as its configuration says. */
#ifndef GALLEY_TRAIN_RUN_DATA_H
#define GALLEY_TRAIN_RUN_DATA_H

#include "base/config.h"
#include "data/corpus.h"

/* The run folder's cache of unpacked text and index: made where it is missing, only used, or left alone. */
enum run_data_cache { RUN_DATA_MAKE, RUN_DATA_READ, RUN_DATA_UNCACHED };

/* Opens what data.train names, or data.validation. The tokenizer is borrowed. */
MUST_USE struct error *run_data_open(struct corpus **out, const struct config *config,
                                     bool validation, const struct tokenizer *tokenizer,
                                     enum run_data_cache use);

#endif
