/*
 * collectives.h - sums over ranks that go on beside the computation; buckets.h is built on them.
 *
 * `mpi` sums host memory, which is the CPU's own, `tree` the same in a fixed order; `nccl` sums the
 * memory of GPUs. Which one it is follows from the device. For src/comm only, but for
 * collectives_prepare.
 */
#ifndef GALLEY_COMM_COLLECTIVES_H
#define GALLEY_COMM_COLLECTIVES_H

#include "comm/comm.h"
#include "device/device.h"

#include <stdbool.h>

enum sum_type { SUM_FLOAT, SUM_DOUBLE };

/* `count` elements in device memory, each to become its sum over all ranks. */
struct sum {
    void *values;
    int64_t count;
    enum sum_type type;
};

struct collectives_options {
    struct comm *comm;
    struct device *device;
    void *memory;              /* most of what will be summed, of device_allocate_shared */
    size_t memory_bytes;       /* what is in it may be lost */
    int most;                  /* sums begun between two waits */
    /* How the memory, as floats, will be cut: one sum of `first` with scalars, behind it sums of
     * `each`, and one of `last`; 0: there are none. */
    int64_t first, each, last;
};

struct collectives {
    const char *name;          /* as errors call it: "MPI", "NCCL" */
    const char *device_kind;
    bool copies;               /* keeps a copy in host memory of all that is under way */
    /* Before any memory is allocated that will be summed. NULL: nothing to prepare. */
    MUST_USE struct error *(*prepare)(struct comm *comm, struct device *device);
    /* Collective. */
    MUST_USE struct error *(*open)(void **self, const struct collectives_options *options);
    /*
     * Begins n sums together, of what is in their memory after all that is queued in STREAM_COMPUTE
     * by now; may wait, under the watch, until every rank has begun them. Every rank begins the
     * same ones in the same order. What fails is reported by `wait` or latched in the device.
     */
    void (*sum_begin)(void *self, const struct sum *sums, int n);
    /* What is queued in STREAM_COMPUTE from now on finds all sums done. */
    MUST_USE struct error *(*wait)(void *self);
    /* Whether sums that go on after `wait` came to grief. NULL: none do. */
    MUST_USE struct error *(*check)(void *self);
    /* Collective. Takes leave of the others after the last sum, and the last graph with one. NULL: no
     * need to. */
    MUST_USE struct error *(*end)(void *self);
    /* Without `end` before it, gives up what goes on. `self` may be half open. */
    void (*close)(void *self);
};

extern const struct collectives collectives_mpi, collectives_nccl, collectives_tree;
/* What this build has, by device; the last one is NULL. */
extern const struct collectives *const collectives_list[];

/* The ones for a device, or an error that says what to build. With `in_tree` those that add ranks
 * up a binary tree, where there are such: NCCL adds in an order of its own. */
MUST_USE struct error *collectives_for(const struct collectives **out, const struct device *device,
                                       bool in_tree);

/* Collective, after the device was opened and before anything is allocated with
 * device_allocate_shared. */
MUST_USE struct error *collectives_prepare(struct comm *comm, struct device *device);

#endif
