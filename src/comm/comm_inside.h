/* comm_inside.h - the inside of a communicator, shared by comm.c and agree.c. */
#ifndef GALLEY_COMM_COMM_INSIDE_H
#define GALLEY_COMM_COMM_INSIDE_H

#include "comm/comm.h"
#include "comm/watch.h"

#include <mpi.h>
#include <stdbool.h>

struct comm {
    MPI_Comm control, gradients;
    int rank, world_size, local_rank, local_size;
    char host[MPI_MAX_PROCESSOR_NAME + 1];
    uint64_t *hashes;    /* (world_size): what comm_check_equal gathers, between steps */
    bool agreed;    /* the error on its way to main is the same on every rank */
    struct watch_place *places;    /* of every rank */
    struct watch *watch;           /* NULL in a world of one */
};

/* Collective, in place. The one place where control collectives of numbers wait. */
MUST_USE struct error *comm_reduce(struct comm *comm, void *values, int count, MPI_Datatype type,
                                   MPI_Op op, const char *what);

#endif
