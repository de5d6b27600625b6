/*
 * samples.h - numbered samples to train on, wherever they come from.
 *
 * A kind of source (lines of text, windows of a token sequence) fills in one table of functions;
 * the stream knows no more of it. A source is immutable and shared by threads; what a thread needs
 * to read it is a reader of its own.
 */
#ifndef GALLEY_DATA_SAMPLES_H
#define GALLEY_DATA_SAMPLES_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* One row of the arrays of a batch: T elements each. */
struct row {
    int32_t *tokens, *targets;
    uint8_t *key_mask, *loss_mask, *metric_mask;
    int32_t *first_key, *positions;    /* NULL where no source of the batch has them */
};

struct samples_operations {
    /* A reader for one thread, for rows of T tokens; all it needs is allocated here. */
    struct error *(*open_reader)(void **reader, const void *self, int T);
    /* Fills a row with a sample, 0 to count - 1. */
    struct error *(*read)(void *reader, int64_t sample, const struct row *row);
    void (*close_reader)(void *reader);    /* NULL is fine */
};

/* Plain data that whoever opens a source gives out; borrowed from it. */
struct samples {
    const struct samples_operations *operations;
    const void *self;
    const char *name;        /* what errors call it: "training" */
    int64_t count;
    int64_t block;           /* samples that stand together in a file and are best read so; 1: any */
    bool has_padding;        /* samples may be shorter than a row */
    bool has_first_key;      /* attention stays inside documents */
    bool has_positions;      /* positions begin anew in each document */
};

#endif
