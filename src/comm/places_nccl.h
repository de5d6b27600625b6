/* places_nccl.h - which GPUs the ranks of a run have, before NCCL joins them; for src/comm only. */
#ifndef GALLEY_COMM_PLACES_NCCL_H
#define GALLEY_COMM_PLACES_NCCL_H

#include "comm/comm.h"
#include "device/device.h"

/* Collective, once a process, before any other call of NCCL. Loads it; an error where two ranks
 * have the same GPU, or not the same version of NCCL. Chooses by NCCL_NVLS_ENABLE, unless it is
 * set, whether the switches between GPUs may add. */
MUST_USE struct error *places_nccl_prepare(struct comm *comm, struct device *device);

#endif
