/*
 * corpus.h - what data.train or data.validation name, opened as one blend of samples.
 *
 * Without weights all inputs are one source; with weights each input (a glob, too, is one) is a source
 * of its own. Immutable once open; any thread.
 */
#ifndef GALLEY_DATA_CORPUS_H
#define GALLEY_DATA_CORPUS_H

#include "data/blend.h"
#include "data/dataset.h"
#include "text/tokenizer.h"

struct corpus;

struct corpus_options {
    struct dataset_options data;            /* inputs and how text is read */
    const char *const *weights;             /* numbers over 0, one an input; NULL: none */
    int weight_count;
    const struct tokenizer *tokenizer;      /* borrowed */
    uint64_t seed;
    bool shuffle;
};

MUST_USE struct error *corpus_open(struct corpus **out, const struct corpus_options *options);
void corpus_close(struct corpus *corpus);

/* For a stream to read; valid until the corpus is closed. */
const struct blend *corpus_blend(const struct corpus *corpus);
/* Samples of an epoch. */
int64_t corpus_samples(const struct corpus *corpus);
/* 64-bit hash of what is trained on: content and weights, not names. */
uint64_t corpus_fingerprint(const struct corpus *corpus);

#endif
