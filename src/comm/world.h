/* world.h - MPI's communicator for gradients, which buckets.c alone uses. */
#ifndef GALLEY_COMM_WORLD_H
#define GALLEY_COMM_WORLD_H

#include "comm/comm.h"

#include <mpi.h>

MPI_Comm comm_gradient_world(const struct comm *comm);

#endif
