/* inference.h - a model loaded from a checkpoint, to generate or evaluate with. */
#ifndef GALLEY_TRAIN_INFERENCE_H
#define GALLEY_TRAIN_INFERENCE_H

#include "model/gpt.h"
#include "train/checkpoint.h"

struct inference {
    struct checkpoint_file *file;
    struct tokenizer *tokenizer;
    struct device *device;
    struct model *model;
};

struct inference_options {
    const char *run_or_file;
    bool best;                  /* of a run: the best by validation perplexity, not the newest */
    struct device_options device;
    int B, T;                   /* the largest batch to evaluate; T 0: all positions of the model */
};

/* Opens the checkpoint, makes an fp32 model on the device, loads its weights. */
MUST_USE struct error *inference_open(struct inference *out,
                                      const struct inference_options *options);
void inference_close(struct inference *inference);

#endif
