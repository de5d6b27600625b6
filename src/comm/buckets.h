/*
 * buckets.h - gradients summed over ranks while backward still runs.
 *
 * The flat gradient buffer is cut into buckets of about `bucket_bytes`. Gradients become final from
 * the end of the buffer to its start (the head first, the embedding last); backward says so with
 * buckets_ready(), and a bucket's sum begins as soon as all of it is final. A few scalars ride behind
 * the last bucket. buckets_finish() waits for all.
 *
 * CPU ranks: one helper thread makes MPI progress, for MPI's nonblocking collectives advance only
 * inside MPI calls. It sleeps between looks so as not to take a core from the computation, and stops
 * sleeping once buckets_finish() waits.
 *
 * Per step and rank, in this order: buckets_ready() with falling `first`, then buckets_finish().
 */
#ifndef GALLEY_COMM_BUCKETS_H
#define GALLEY_COMM_BUCKETS_H

#include "comm/comm.h"

#include <stdint.h>

struct buckets;

/* Collective. `gradients` (count) is host memory that outlives the buckets. All memory is allocated
 * here. Checks that all ranks have the same count. */
MUST_USE struct error *buckets_create(struct buckets **out, struct comm *comm, float *gradients,
                                      int64_t count, size_t bucket_bytes);
void buckets_destroy(struct buckets *buckets);
int buckets_count(const struct buckets *buckets);
/* What summing takes of host memory beside the gradients, for the memory plan: Open MPI's nonblocking
 * sum keeps a copy of every bucket under way. */
size_t buckets_extra_bytes(const struct buckets *buckets);

/* Local, returns at once. Elements [first, end of buffer) are final on this rank; begins every bucket
 * that lies wholly in it and has not begun. */
void buckets_ready(struct buckets *buckets, int64_t first);

/*
 * Collective. What the device computes after it finds every bucket, and the `count` doubles at
 * `scalars` (device memory), to be the sums over all ranks, the same bits
 * on each; begins what was not begun.
 */
MUST_USE struct error *buckets_finish(struct buckets *buckets, double *scalars, int count);

#endif
