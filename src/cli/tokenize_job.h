/* tokenize_job.h - tokenizing shared by ranks: what `galley tokenize` does once it knows what. */
#ifndef GALLEY_CLI_TOKENIZE_JOB_H
#define GALLEY_CLI_TOKENIZE_JOB_H

#include "comm/comm.h"
#include "data/tokenize.h"

struct tokenize_job_options {
    const char *output;                   /* folder; made if missing, its parent is not */
    const char *const *inputs;
    int input_count;
    int64_t shard_tokens;
    int64_t piece_bytes;                  /* of input, worked on at a time: what a kill costs a rank */
    struct tokenize_options tokenize;     /* inputs, folder and text_bytes are filled in here */
};

/*
 * Collective. Tokenizes the inputs into OUTPUT/train-*.h5 and validation-*.h5, the same bytes for
 * any number of ranks. What an interrupted run left in OUTPUT/unfinished is used, once it is whole
 * and of the same inputs and options; what is finished already is left as it is.
 */
MUST_USE struct error *tokenize_job_run(struct comm *comm,
                                        const struct tokenize_job_options *options);

#endif
