/*
 * pipe_samples.h - the samples that come through a pipe, one after the other, as they come.
 *
 * What comes is recognised by its content, unpacked where it is gzip or zstd:
 * - Text, lines or, where the name ends in .jsonl, .ndjson or .json, a field of JSON objects. A text is a
 *   sample; or, where tokens are asked for, a document of one long sequence, as `galley tokenize` makes it
 *   (its tokens and the end token behind them), of which samples are windows.
 * - Tokens: .bin files of llm.c and modded-nanogpt, one after the other; or bare uint16.
 *
 * Samples are a pure function of the bytes of the stream. Memory is a block of text, its longest
 * record and that one's tokens. One thread.
 */
#ifndef GALLEY_DATA_PIPE_SAMPLES_H
#define GALLEY_DATA_PIPE_SAMPLES_H

#include "data/corpus.h"

#include <stdatomic.h>

/* Where in the stream a sample begins. A stream is taken for the same where these bytes are. */
struct pipe_cursor {
    int64_t bytes;     /* of text before the record it begins in; of tokens before it */
    int64_t tokens;    /* of that record, before it */
    uint64_t hash;     /* of those bytes */
};

struct pipe_samples_options {
    const char *path;              /* a fifo; "-" with or without an ending of a name: standard
                                    * input */
    enum corpus_kind kind;         /* CORPUS_AUTO: text is lines */
    const char *field;             /* of JSON */
    int64_t min_bytes;             /* shorter texts are left out */
    const struct tokenizer *tokenizer;
    enum text_format format;       /* of texts, see rows.h */
    bool add_start, add_end;
    int64_t vocabulary_size;       /* of the model: tokens are below it */
    int T;
    bool allow_changed;            /* goes on behind as many bytes of a stream that is not the same */
    int wake_fd;                   /* see reader_open_pipe, as for the next */
    atomic_llong *heard;
};

/* Whether an input is a pipe: "-", alone or with an ending of a name, or the path of a fifo. */
bool pipe_is_one(const char *input);

struct pipe_samples;

/* Waits for the writer. Everything in the options is borrowed. Goes on from a cursor of an earlier
 * reading of the same stream, which is read again up to there. One that is shorter is refused, as
 * is one that has other bytes unless that is allowed: then it goes on with the next record. */
MUST_USE struct error *pipe_samples_open(struct pipe_samples **out,
                                         const struct pipe_samples_options *options,
                                         const struct pipe_cursor *from);
void pipe_samples_close(struct pipe_samples *samples);

/* Whether samples are windows of T + 1 tokens; else they are texts' ids, at most T + 1
 * (text_encode). */
bool pipe_samples_are_windows(const struct pipe_samples *samples);

/* The ids of the next sample; `*count` is -1 where there is none. */
MUST_USE struct error *pipe_samples_read(struct pipe_samples *samples, int32_t *ids, int *count);
/* The first `bytes` of the stream are not those that the run was trained on: an error, or, where
 * that is allowed, one warning. */
MUST_USE struct error *pipe_samples_differ(struct pipe_samples *samples, int64_t bytes);
/* Where the next one begins. */
struct pipe_cursor pipe_samples_cursor(const struct pipe_samples *samples);

#endif
