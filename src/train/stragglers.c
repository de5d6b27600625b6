/* stragglers.c - compares the times of all ranks. */
#include "train/stragglers.h"

#include <stdlib.h>

static int shorter_compute_first(const void *x, const void *y)
{
    const double a = ((const struct rank_times *)x)->compute_s;
    const double b = ((const struct rank_times *)y)->compute_s;
    return (a > b) - (a < b);
}

struct error *stragglers_find(struct stragglers *out, struct comm *comm,
                              const struct rank_times *mine, struct rank_times *all)
{
    const int ranks = comm_world_size(comm);
    TRY(comm_all_gather(comm, mine, all, sizeof *mine));
    *out = (struct stragglers){.exposed_comm_s = all[0].comm_wait_s};
    for (int r = 0; r < ranks; r++) {
        if (all[r].compute_s > all[out->slowest].compute_s)
            out->slowest = r;
        if (all[r].data_wait_s > all[out->data_rank].data_wait_s)
            out->data_rank = r;
        if (all[r].comm_wait_s < out->exposed_comm_s)
            out->exposed_comm_s = all[r].comm_wait_s;
    }
    out->slowest_s = all[out->slowest].compute_s;
    out->data_wait_s = all[out->data_rank].data_wait_s;
    qsort(all, (size_t)ranks, sizeof *all, shorter_compute_first);
    out->usual_s = all[(ranks - 1) / 2].compute_s;
    return NULL;
}
