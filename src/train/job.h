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
#include "model/spec.h"

struct job;

/* The model a configuration asks for. */
struct model_spec job_wanted_spec(const struct config *config);

/* Opens all: run folder, tokenizer, data, device, model, and what a checkpoint holds if there is one.
 * comm and config are borrowed. Sizes that config leaves open (config_adopt) are taken from the model it
 * starts from. The run is to have ended by `end_s` of rank 0's clock_now_s(), which may
 * be INFINITY. */
MUST_USE struct error *job_open(struct job **out, struct comm *comm, struct config *config,
                                double end_s);
void job_close(struct job *job);

/* Trains to the end of the run, callbacks and checkpoints included. Where any rank was asked to stop
 * (base/stop.h) or time is up, the state is saved, and it is an agreed ERROR_INTERRUPTED. */
MUST_USE struct error *job_run(struct job *job);

#endif
