/* origin.h - what a run takes from the model it starts from (run.start_from). */
#ifndef GALLEY_TRAIN_ORIGIN_H
#define GALLEY_TRAIN_ORIGIN_H

#include "base/config.h"
#include "comm/comm.h"
#include "train/model_source.h"

/*
 * Collective. Where the configuration names a model to start from, keys of the sections model and
 * tokenizer that it leaves open become that model's, on every rank, and so does what texts are made
 * into: data.sequence_length, data.start_token and data.end_token. Rank 0 knows them: from the
 * checkpoint that the run goes on from (`file`), as the model may be gone by then, or in a new run
 * from `source`.
 */
MUST_USE struct error *origin_complete(struct config *config, struct comm *comm,
                                       const struct checkpoint_file *file,
                                       const struct model_source *source);

/* Local. An error where the configuration asks for a model of other sizes. */
MUST_USE struct error *origin_check(const struct model_source *source,
                                    const struct model_spec *wanted);

#endif
