/* batch.h - the samples of one micro-batch, as the model takes them. Plain data. */
#ifndef GALLEY_DATA_BATCH_H
#define GALLEY_DATA_BATCH_H

#include <stdint.h>

/*
 * Row-major arrays of (B, T), borrowed from whoever filled them: in host memory from a stream, in
 * device memory once they are with the model. Rows beyond
 * the last sample of a short global batch are all padding: token 0, masks 0.
 */
struct batch {
    int B, T;
    int rows;                     /* samples in it, the first rows; 0..B */
    const int32_t *tokens;        /* what the model reads */
    const int32_t *targets;       /* what it shall predict */
    const uint8_t *key_mask;      /* 1: attention may look at this position; NULL: at every one, as no
                                   * sample has padding (and rows without a sample count for nothing) */
    const uint8_t *loss_mask;     /* 1: this position's cross entropy is part of the loss */
    const uint8_t *metric_mask;   /* 1: it is part of the perplexity */
    const int32_t *first_key;     /* position t attends to keys first_key[t]..t; NULL: from 0 on */
    const int32_t *positions;     /* rows of the position table; NULL: 0..T-1 */
    int64_t step;                 /* of the run: which global batch it is part of */
    int64_t first_sample;         /* row b is sample first_sample + b of that global batch */
    const int64_t *samples;       /* (B) their numbers in the data; -1: padding; NULL: of a pipe's, that has
                                   * none */
};

#endif
