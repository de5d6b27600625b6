/*
 * buckets.h - gradients summed over ranks while backward still runs.
 *
 * The flat gradient buffer is cut into buckets of about `bucket_bytes`. Gradients become final from
 * the end of the buffer to its start (the head first, the embedding last); backward says so with
 * buckets_ready(), and a bucket's sum begins as soon as all of it is final. A few scalars ride with
 * the last bucket. What is queued on the device after buckets_finish() finds all sums done.
 *
 * Per step and rank, in this order: buckets_ready() with falling `first`, then buckets_finish(). A
 * world of one rank has nothing to sum.
 */
#ifndef GALLEY_COMM_BUCKETS_H
#define GALLEY_COMM_BUCKETS_H

#include "comm/comm.h"
#include "device/device.h"

#include <stdbool.h>
#include <stdint.h>

struct buckets;

/* Collective, once the device is open and before the gradients are allocated: what takes part in
 * sums is allocated with device_allocate_shared from now on. Checks that all ranks compute on the
 * same kind of device, each on its own. */
MUST_USE struct error *buckets_prepare(struct comm *comm, struct device *device);

/* Collective. `gradients` (count) is device memory that outlives the buckets, and holds nothing of
 * worth yet. All memory is allocated here; `bucket_bytes` 0: as suits the device. Checks that all
 * ranks have the same count. With `in_tree`, on CPU ranks, sums are those of a binary tree over the ranks, a power of
 * two (collectives_tree.c), and do not go on beside the computation. */
MUST_USE struct error *buckets_create(struct buckets **out, struct comm *comm,
                                      struct device *device, float *gradients, int64_t count,
                                      size_t bucket_bytes, bool in_tree);
/* Without buckets_end before it, sums that go on are given up. NULL is fine. */
void buckets_destroy(struct buckets *buckets);
int buckets_count(const struct buckets *buckets);
/* What summing `count` gradients takes of host memory beside them, for the memory plan. */
MUST_USE struct error *buckets_extra_bytes(size_t *bytes, const struct device *device,
                                           int64_t count, int world_size, bool in_tree);

/* Elements [first, end of buffer) are final on this rank once the device has done what is queued;
 * begins the buckets that lie wholly in it and have not begun. May wait, under the watch, until
 * every rank has begun them. */
void buckets_ready(struct buckets *buckets, int64_t first);

/*
 * Collective. What the device computes after it finds every bucket, and the `count` doubles at
 * `scalars` (device memory), to be the sums over all ranks, the same bits on each; begins what was
 * not begun.
 */
MUST_USE struct error *buckets_finish(struct buckets *buckets, double *scalars, int count);

/* Local. Whether sums that the device still works on came to grief; to be asked while waiting for
 * it. */
MUST_USE struct error *buckets_check(struct buckets *buckets);

/* Local. After a failure: ends the sums under way, which may wait for ranks that never come. Before
 * any memory of a GPU is given back, for that waits for all its work. Graphs that hold sums must be
 * destroyed before: NCCL waits for them. */
void buckets_abandon(struct buckets *buckets);

/* Collective. After the last step, when the device has done it and graphs that hold sums are
 * destroyed. */
MUST_USE struct error *buckets_end(struct buckets *buckets);

#endif
