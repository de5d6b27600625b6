/*
 * stragglers.h - which rank the others wait for.
 *
 * A sum over ranks takes as long as the slowest of them lets it, and looks slow on every rank but
 * that one. So each rank measures its own computing, before the sum, and all compare: the slowest
 * one's excess is what the run could gain, and the shortest wait for the sum is what communication
 * itself costs.
 */
#ifndef GALLEY_TRAIN_STRAGGLERS_H
#define GALLEY_TRAIN_STRAGGLERS_H

#include "comm/comm.h"

/* Of one rank, over some steps. */
struct rank_times {
    double compute_s;          /* forward and backward, until its gradients were ready */
    double data_wait_s;        /* for samples */
    double comm_wait_s;        /* for the sum of gradients, while it did nothing else */
};

struct stragglers {
    int slowest;               /* the rank that computed longest */
    double slowest_s, usual_s; /* its time, and the median over ranks; of an even number the lower
                                * one */
    double exposed_comm_s;     /* the shortest wait for sums of any rank */
    int data_rank;             /* the rank that waited longest for samples */
    double data_wait_s;        /* and its wait */
};

/* Collective. `all` (world_size) is scratch. */
MUST_USE struct error *stragglers_find(struct stragglers *out, struct comm *comm,
                                       const struct rank_times *mine, struct rank_times *all);

#endif
