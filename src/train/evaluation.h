/*
 * evaluation.h - exact loss, perplexity and accuracy of a model on a whole dataset.
 *
 * All ranks share the samples; sums and counts are added over ranks before anything is divided, so
 * the result does not depend on their number but for rounding.
 */
#ifndef GALLEY_TRAIN_EVALUATION_H
#define GALLEY_TRAIN_EVALUATION_H

#include "comm/comm.h"
#include "data/blend.h"
#include "data/text_rows.h"
#include "model/gpt.h"
#include "text/tokenizer.h"

struct evaluation_options {
    struct comm *comm;
    struct model *model;
    const struct blend *data;
    int T;
    int sample_positions;      /* T: the loss is a mean over all positions; 0: over those that count
                                * in it */
    int micro_batch;           /* rows at a time on this rank; at most the model's B */
    int threads, prefetch;     /* as in stream.h */
    const struct tokenizer *tokenizer;    /* for the bytes of text; NULL: they are not counted */
};

struct evaluation {
    double loss;               /* mean cross entropy */
    double perplexity;         /* exp of the mean over targets that are not padding */
    double bits_per_byte;      /* the bits (-log2 p) of all targets that are not padding, over the bytes
                                * of the text that each sample's targets decode to, in which start
                                * and end tokens stand for nothing; 0 where bytes are not counted */
    double accuracy;           /* share of right predictions over unmasked positions, Keras's masked
                                * one */
    int64_t samples, tokens;   /* tokens: those of the loss */
    double seconds;
};

/* How texts become samples of a model of that family: as KerasHub prepares them for it. */
enum text_format text_format_of(enum model_family family);

/* Collective. */
MUST_USE struct error *evaluate_dataset(const struct evaluation_options *options,
                                        struct evaluation *result);

#endif
