/*
 * corpus.h - what data.train or data.validation name, opened as one blend of samples.
 *
 * Without weights all inputs are one source; with weights each input (a glob, too, is one) is a
 * source of its own. Immutable once open; any thread.
 */
#ifndef GALLEY_DATA_CORPUS_H
#define GALLEY_DATA_CORPUS_H

#include "data/blend.h"
#include "data/dataset.h"
#include "data/text_rows.h"
#include "text/tokenizer.h"

struct corpus;

/* What the inputs are. */
enum corpus_kind {
    CORPUS_AUTO,      /* what the first file's content says */
    CORPUS_LINES,     /* text: a line, or a field of a JSON object, is a sample (text_rows.h) */
    CORPUS_TOKENS,    /* token files: windows of one long sequence (packed_tokens.h) */
};

struct corpus_options {
    enum corpus_kind kind;
    struct dataset_options data;            /* inputs, and how text is read */
    const char *const *weights;             /* numbers over 0, one an input; NULL: none */
    int weight_count;
    const struct tokenizer *tokenizer;      /* borrowed */
    int T;                                  /* tokens of a sample */
    enum text_format format;                /* of text, see text_rows.h */
    bool add_start, add_end;
    int64_t vocabulary_size;                /* of the model */
    bool mask_documents, restart_positions; /* of token files, see packed_tokens.h */
    uint64_t seed;
    bool shuffle;
    int global_batch;                       /* see blend.h: lanes */
};

MUST_USE struct error *corpus_open(struct corpus **out, const struct corpus_options *options);
void corpus_close(struct corpus *corpus);

/* For a stream to read; valid until the corpus is closed. */
const struct blend *corpus_blend(const struct corpus *corpus);
/* Samples of an epoch. */
int64_t corpus_samples(const struct corpus *corpus);
/* Whether its order is that of blend.h's lanes: token files', and of blends. */
bool corpus_has_lanes(const struct corpus *corpus);
/* 64-bit hash of what is trained on: content and weights, not names. */
uint64_t corpus_fingerprint(const struct corpus *corpus);
/* "97736 samples", "5000 samples of 640001 tokens": for the log. */
void corpus_describe(const struct corpus *corpus, char *out, size_t bytes);
/* Where the sample of a number (blend_place.number) stands: a file, and the line or token in it. */
void corpus_where(const struct corpus *corpus, int64_t number, char *out, size_t bytes);

#endif
