/*
 * job.h - everything a training run is made of, opened from a configuration in the right order.
 *
 * Collective throughout. Every stage ends with an agreement of all ranks, so that what is wrong on
 * one (a missing file, a damaged checkpoint, no memory) is one error on all, before the first step.
 */
#ifndef GALLEY_TRAIN_JOB_H
#define GALLEY_TRAIN_JOB_H

#include "base/config.h"
#include "comm/comm.h"
#include "model/spec.h"

struct job;

/* The model a configuration asks for. */
struct model_spec job_wanted_spec(const struct config *config);

/* Opens all: run folder, tokenizer, data, device, model, and what a checkpoint holds if there is
 * one. comm and config are borrowed. Sizes that config leaves open (config_adopt) are taken from
 * the model it starts from. The run is to have ended by `end_s` of rank 0's clock_now_s(), which
 * may be INFINITY. */
MUST_USE struct error *job_open(struct job **out, struct comm *comm, struct config *config,
                                double end_s);
void job_close(struct job *job);

/* How many ranks a plan is for. */
struct job_ranks {
    int ranks, per_node;
};

/*
 * Collective; one rank is enough. Tells what the run would be, for any number of ranks: parameters,
 * bytes of every buffer, size of a checkpoint, steps, tokens, fingerprint of the data. Reads the
 * data, and the sizes of the model it starts from; writes nothing, and allocates nothing of what it
 * plans. What does not fit into this node's memory, or on the disk, is an error.
 */
MUST_USE struct error *job_plan(struct comm *comm, struct config *config,
                                const struct job_ranks *ranks);

/* Trains to the end of the run, callbacks and checkpoints included. Where any rank was asked to
 * stop (base/stop.h) or time is up, the state is saved, and it is an agreed ERROR_INTERRUPTED. */
MUST_USE struct error *job_run(struct job *job);

#endif
