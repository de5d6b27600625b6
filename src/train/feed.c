/* feed.c - a stream of files as a feed. */
#include "train/feed.h"

static struct error *read_stream(void *self, struct batch *batch, double *waited_s)
{
    TRY(stream_read(self, batch, waited_s));
    if (batch->rows < 0)
        BUG("the stream ended before the run");
    return NULL;
}

struct feed feed_of_stream(struct stream *stream)
{
    return (struct feed){.self = stream, .read = read_stream};
}
