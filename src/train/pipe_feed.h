/*
 * pipe_feed.h - a pipe that rank 0 reads, as the feed of all ranks.
 *
 * Rank 0 takes a global batch at a time from the stream (data/pipe_windows.h) and sends its ids to
 * all; every rank makes the rows of its own share of them. So the samples of a step do not depend
 * on the number of ranks. What is wrong with the stream, all ranks hear.
 */
#ifndef GALLEY_TRAIN_PIPE_FEED_H
#define GALLEY_TRAIN_PIPE_FEED_H

#include "comm/comm.h"
#include "data/pipe_windows.h"
#include "train/feed.h"

struct pipe_feed;

struct pipe_feed_options {
    struct comm *comm;
    struct pipe_windows_options windows;       /* but for `hear` */
    int micro_batch;                           /* rows of a read */
    int64_t first_step;                        /* of the run */
    bool mask_documents, restart_positions;    /* of windows of tokens */
};

/* Collective. Begins at a position, of which only rank 0's matters. */
MUST_USE struct error *pipe_feed_open(struct pipe_feed **out,
                                      const struct pipe_feed_options *options,
                                      const struct pipe_position *from);
void pipe_feed_close(struct pipe_feed *feed);

struct feed pipe_feed_feed(struct pipe_feed *feed);
/* Rank 0: behind the step begun last. */
struct pipe_position pipe_feed_position(const struct pipe_feed *feed);

/* The memory on rank 0, where it is most. */
size_t pipe_feed_bytes(const struct pipe_feed_options *options);

#endif
