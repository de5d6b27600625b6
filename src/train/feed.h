/* feed.h - where a step's micro-batches come from, whatever is behind it. */
#ifndef GALLEY_TRAIN_FEED_H
#define GALLEY_TRAIN_FEED_H

#include "data/batch.h"
#include "data/stream.h"

/* What is known of a step before it is begun; the same on every rank. */
enum feed_step {
    FEED_WHOLE,      /* a step of whole global batches */
    FEED_SHORT,      /* of a global batch that may be short */
    FEED_NOTHING,    /* the data has ended: there is no such step */
    FEED_STOPPED,    /* the run was to stop before it had data: there is no such step */
};

struct feed_news {
    enum feed_step step;
    bool last;           /* nothing comes behind this step */
    double waited_s;
};

struct feed {
    void *self;
    /* Collective. Before the reads of each step; NULL where the data never ends, and which steps
     * may be short follows from the steps of an epoch. `stop`: rank 0 wants no more steps, and
     * will not wait for data; what other ranks give counts nothing. */
    struct error *(*begin_step)(void *self, bool stop, struct feed_news *news);
    /* The next micro-batch of this rank, valid until the next read. */
    struct error *(*read)(void *self, struct batch *batch, double *waited_s);
};

/* The stream is borrowed. */
struct feed feed_of_stream(struct stream *stream);

#endif
