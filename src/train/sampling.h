/*
 * sampling.h - the callback that lets the model write, now and then.
 */
#ifndef GALLEY_TRAIN_SAMPLING_H
#define GALLEY_TRAIN_SAMPLING_H

#include "base/config.h"
#include "model/gpt.h"
#include "text/tokenizer.h"
#include "train/callback.h"
#include "train/run_folder.h"

#include <stdio.h>

struct sampling_options {
    struct cadence when;
    const struct config_sample *samples;
    int sample_count;
    int sequence_length;             /* tokens of a sample whose max_length is 0 */
    struct model *model;
    const struct tokenizer *tokenizer;
    struct run_folder *folder;       /* its samples.jsonl gets a row a text */
    FILE *out;                       /* and people read them here */
};

/*
 * Rank 0. Samplers and prompts are checked and encoded here, before the first step: what is wrong
 * with one names it as the configuration does; a prompt that is cut is warned of. All but `options`
 * itself is borrowed.
 */
MUST_USE struct error *sampling_callback(struct callback *callback,
                                         const struct sampling_options *options);

#endif
