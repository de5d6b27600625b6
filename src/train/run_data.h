/* run_data.h - the data of a run, as its configuration says. */
#ifndef GALLEY_TRAIN_RUN_DATA_H
#define GALLEY_TRAIN_RUN_DATA_H

#include "base/config.h"
#include "data/corpus.h"

/* Opens what data.train names, or data.validation. The run folder's cache is made where it is missing,
 * unless `cache_read_only`. The tokenizer is borrowed. */
MUST_USE struct error *run_data_open(struct corpus **out, const struct config *config,
                                     bool validation, const struct tokenizer *tokenizer,
                                     bool cache_read_only);

#endif
