/*
 * job.h - everything a training run is made of, opened from a configuration in the right order.
 *
 * Collective throughout. Every stage ends with an agreement of all ranks, so that what is wrong on one
 * (a missing file, a damaged checkpoint, no memory) is one error on all, before the first step.
 */
#ifndef GALLEY_TRAIN_JOB_H
#define GALLEY_TRAIN_JOB_H

#include "base/config.h"
#include "comm/comm.h"

struct job;

/* Opens all: run folder, tokenizer, data, device, model, and what a checkpoint holds if there is one.
 * comm and config are borrowed. */
MUST_USE struct error *job_open(struct job **out, struct comm *comm, const struct config *config);
void job_close(struct job *job);

/* Trains to the end of the run, callbacks and checkpoints included. */
MUST_USE struct error *job_run(struct job *job);

#endif
