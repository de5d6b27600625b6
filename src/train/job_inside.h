/* job_inside.h - the inside of a job, shared by job.c, which runs one, and job_plan.c, which only plans it. */
#ifndef GALLEY_TRAIN_JOB_INSIDE_H
#define GALLEY_TRAIN_JOB_INSIDE_H

#include "data/corpus.h"
#include "train/checkpoint.h"
#include "train/job.h"
#include "train/model_source.h"
#include "train/run_folder.h"
#include "train/saver.h"
#include "train/snapshot.h"
#include "train/trainer.h"

enum { JOB_CALLBACKS = 5 };

struct job {
    struct comm *comm;
    const struct config *config;
    double end_s;                         /* when the run must have ended */
    bool is_rank_0;
    int ranks, local_ranks;               /* in all; on this node: the world's, or those planned for */
    bool plan_only;                       /* nothing is written or allocated */
    char *config_yaml;

    struct run_folder *folder;            /* rank 0 only, as is the file */
    struct checkpoint_file *file;         /* what the run goes on from; NULL: it begins */
    struct model_source *source;          /* what a new run's weights come from; NULL: chance */
    bool resumed;
    struct progress progress;             /* of the checkpoint, on every rank */
    struct history history;

    struct tokenizer *tokenizer;
    struct corpus *train, *validation;    /* validation may be NULL */
    size_t resident_before;               /* bytes, before what follows is allocated */
    struct device *device;
    const struct kernels *kernels;
    struct model *model;
    struct optimizer *optimizer;
    struct snapshot *snapshot;
    struct saver *saver;                  /* rank 0 only */
    struct buckets *buckets;
    struct stream *stream;
    struct trainer *trainer;

    int micro_batch, micro_batches;       /* rows of one forward pass; passes of one step */
    int64_t steps_per_epoch, last_step;
    struct schedule schedule;
    struct callback callbacks[JOB_CALLBACKS];
    int callback_count;
};

/* The stages that a plan goes through too, in this order. */
MUST_USE struct error *job_open_corpora(struct job *job);
MUST_USE struct error *job_check_data(struct job *job);
MUST_USE struct error *job_plan_steps(struct job *job);
MUST_USE struct error *job_open_device(struct job *job);
MUST_USE struct error *job_make_model(struct job *job);
MUST_USE struct error *job_make_trainer(struct job *job);

struct stream_options job_stream_options(const struct job *job);
/* Tells what a rank's memory is planned to be, in one line; `*bytes` (may be NULL) is its sum. */
MUST_USE struct error *job_tell_memory(const struct job *job, double *bytes);

#endif
