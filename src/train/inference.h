/* inference.h - a model loaded from a checkpoint or preset, to generate or evaluate with. */
#ifndef GALLEY_TRAIN_INFERENCE_H
#define GALLEY_TRAIN_INFERENCE_H

#include "model/gpt.h"
#include "train/model_source.h"

struct inference {
    struct model_source *source;
    const struct tokenizer *tokenizer;    /* the source's; NULL where it has none */
    struct device *device;
    struct model *model;
};

struct inference_options {
    struct model_source_options source;
    struct device_options device;
    enum dtype precision;       /* of activations and matrix operands */
    int B, T;                   /* the largest batch to evaluate; T 0: all positions of the model */
};

/* Opens the source, makes a model on the device, loads its weights. */
MUST_USE struct error *inference_open(struct inference *out,
                                      const struct inference_options *options);
void inference_close(struct inference *inference);

#endif
