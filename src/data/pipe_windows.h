/*
 * pipe_windows.h - the samples that come through a pipe, read ahead and shuffled, as global
 * batches.
 *
 * A window is some thousand samples, whole global batches, in the order in which they come; with
 * `shuffle` they are given out in a keyed permutation of the window (order.h). So the samples of
 * every step are a pure function of the stream, the seed and the sizes. A thread reads and
 * tokenizes; one window is given out while the next is filled, and when both are full the thread,
 * and with it whoever writes into the pipe, waits. That bounds memory.
 *
 * Of the process that has the pipe. One consumer thread.
 */
#ifndef GALLEY_DATA_PIPE_WINDOWS_H
#define GALLEY_DATA_PIPE_WINDOWS_H

#include "data/pipe_samples.h"

/* Where a run stands in a stream; what a checkpoint keeps. All 0: at its beginning. */
struct pipe_position {
    struct pipe_cursor start;    /* of the window */
    int64_t window;              /* its number */
    int64_t samples;             /* in it, where that is known; 0: as many as in others */
    uint64_t end_hash;           /* the cursor's behind it, where `samples` is known; else behind what was
                                  * taken; 0: not known, as a checkpoint of before has it */
    int64_t taken;               /* of them, given out */
};

struct pipe_windows_options {
    struct pipe_samples_options samples;    /* but for wake_fd */
    int global_batch;                       /* G */
    int window;                             /* samples; rounded up to whole global batches */
    bool shuffle;
    uint64_t seed;
    bool drop_last;                         /* leave out a short last global batch */
    bool (*stop_asked)(void);               /* ends a wait for the pipe; NULL: nothing does */
    double silence_s;                       /* a wait in which no byte comes for so long is an error; 0: none
                                             * is */
    void (*hear)(void *self);               /* is called now and then in a wait in which bytes come;
                                             * or NULL */
    void *hear_self;
};

struct pipe_windows;

/* Starts reading at a position. What is wrong with the stream, the first take tells. */
MUST_USE struct error *pipe_windows_open(struct pipe_windows **out,
                                         const struct pipe_windows_options *options,
                                         const struct pipe_position *from);
void pipe_windows_close(struct pipe_windows *windows);

/* The memory of the windows. */
size_t pipe_windows_bytes(const struct pipe_windows_options *options);

struct pipe_take {
    int rows;          /* samples of the global batch; 0: the stream has ended, or the wait was */
    bool last;         /* nothing is left behind them */
    bool stopped;      /* the wait was ended by stop_asked */
    bool windows;      /* as pipe_samples_are_windows */
    double waited_s;
};

/* The next global batch: `ids` is (G, T + 1), `counts` (G). Whether it is the last is known when it
 * is given out, so that takes until what comes behind it has been seen. */
MUST_USE struct error *pipe_windows_take(struct pipe_windows *windows, int32_t *ids,
                                         int32_t *counts, struct pipe_take *take);
/* Behind what was taken. */
struct pipe_position pipe_windows_position(const struct pipe_windows *windows);

#endif
