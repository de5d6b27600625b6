/* run_tokenizer.h - the tokenizer of a training run, the same on every rank. */
#ifndef GALLEY_TRAIN_RUN_TOKENIZER_H
#define GALLEY_TRAIN_RUN_TOKENIZER_H

#include "base/config.h"
#include "comm/comm.h"
#include "train/model_source.h"

/*
 * Collective. Rank 0 takes it from the checkpoint the run goes on from (`file`, NULL on other ranks
 * and in a new run), from the files of the configuration, from the model a new run starts from
 * (`source`, NULL on other ranks and where there is none), or learns it from the training text; the
 * others get its texts. Files that are configured must be those the checkpoint holds.
 */
MUST_USE struct error *run_tokenizer_open(struct tokenizer **out, struct comm *comm,
                                          const struct config *config,
                                          const struct checkpoint_file *file,
                                          const struct model_source *source);

#endif
