/*
 * stream.h - samples as prefetched micro-batches for one rank.
 *
 * Step s of an epoch takes positions [s*G, (s+1)*G) of the epoch's order, G the global batch; the
 * last one may be short. Rank r of R owns rows [r*G/R, (r+1)*G/R) of it, cut into micro-batches of
 * B rows; a row beyond the end of the data is padding. Background threads read and tokenize ahead
 * into a fixed ring of micro-batches, so memory is bounded and a step does not wait unless reading
 * is slower than training. Nothing is allocated after stream_open.
 *
 * Local to the rank; one consumer thread.
 */
#ifndef GALLEY_DATA_STREAM_H
#define GALLEY_DATA_STREAM_H

#include "data/batch.h"
#include "data/blend.h"

#include <stddef.h>

struct stream;

struct stream_options {
    const struct blend *blend;    /* the samples and their order; borrowed */
    int T;                 /* sequence length */
    int global_batch;      /* G: samples a step, all ranks */
    int micro_batch;       /* B: rows of one read on this rank; divides G / world_size */
    int rank, world_size;
    int threads;           /* that read ahead, at least 1 */
    int prefetch;          /* micro-batches ahead, at least 2 */
    int64_t epochs;        /* ends before this one, counted from 0 wherever it began; 0: never */
    bool drop_last;        /* leave out a short last global batch */
};

/* Starts reading at the beginning of step `step` of `epoch`; both from 0, in no time wherever it
 * is. */
MUST_USE struct error *stream_open(struct stream **out, const struct stream_options *options,
                                   int64_t epoch, int64_t step);
void stream_close(struct stream *stream);

/* The memory of the micro-batches read ahead. */
size_t stream_bytes(const struct stream_options *options);

/* Steps of an epoch with these options: ceil or floor of samples / G. */
int64_t stream_steps_per_epoch(const struct stream_options *options);

/*
 * The next micro-batch in order: global_batch / world_size / micro_batch reads are one step. Valid
 * until the next read. `*waited_s` is how long it was not ready. After the last epoch batch->rows
 * is
 * -1. What a row holds is for its source to say (text_rows.h, packed_tokens.h).
 */
MUST_USE struct error *stream_read(struct stream *stream, struct batch *batch, double *waited_s);

/* The number, through all sources, of the sample in row b of the batch last read; -1: padding. */
int64_t stream_sample(const struct stream *stream, int row);

#endif
