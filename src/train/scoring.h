/*
 * scoring.h - how probable a model finds the tokens of examples, shared by all ranks.
 *
 * Which sequences are computed together depends on the examples and the size of a batch alone,
 * never on the number of ranks; ranks take turns with the batches. So every number of ranks gives
 * the same numbers, on a device that computes the same with each. Sequences of about a length go
 * together, for a row of a batch is as long as its longest.
 *
 * A text longer than the context T is scored in windows, as lm-evaluation-harness rolls them: the
 * first scores T tokens, each further one `stride` more, with as much of the text before them as
 * has room. Of the other examples the end has to fit; what does not fit before it is left out.
 */
#ifndef GALLEY_TRAIN_SCORING_H
#define GALLEY_TRAIN_SCORING_H

#include "comm/comm.h"
#include "data/examples.h"
#include "model/gpt.h"

/* What came out for a sequence: of its tokens from `first` on, `count` of them. */
struct sequence_scores {
    const double *losses;     /* -ln of the probability */
    const double *correct;    /* 1 where no token is more probable, else 0 */
    int count;
    bool cut;                 /* something before them was left out */
};

/* Told of every example in their order, on every rank. `scores`: one a sequence, borrowed. */
typedef struct error *scored_example(void *self, int64_t index, const struct example *example,
                                     const struct sequence_scores *scores);

struct scoring_options {
    struct comm *comm;
    struct model *model;
    struct examples *examples;
    int B, T;                 /* the model's: a batch has at most B * T tokens */
    int stride;               /* 1 to T */
    bool show_progress;
    scored_example *scored;
    void *self;
};

/* Collective. */
MUST_USE struct error *score_examples(const struct scoring_options *options);

#endif
