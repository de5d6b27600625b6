/* job_inside.h - the inside of a job, shared by job.c, which runs one, and its parts: job_plan.c,
 * which only plans it, job_data.c, job_values.c, job_callbacks.c. */
#ifndef GALLEY_TRAIN_JOB_INSIDE_H
#define GALLEY_TRAIN_JOB_INSIDE_H

#include "data/corpus.h"
#include "train/checkpoint.h"
#include "train/job.h"
#include "train/model_source.h"
#include "train/pipe_feed.h"
#include "train/run_folder.h"
#include "train/run_state.h"
#include "train/saver.h"
#include "train/snapshot.h"
#include "train/trainer.h"

enum { JOB_CALLBACKS = 6 };

struct job {
    struct comm *comm;
    const struct config *config;
    double end_s;                         /* when the run must have ended */
    bool is_rank_0;
    int ranks, local_ranks;               /* in all; on this node: the world's, or those planned for */
    bool plan_only;                       /* nothing is written or allocated */
    char *config_yaml;

    struct run_folder *folder;            /* rank 0 only, as is the file */
    enum run_state found;                 /* what the last start left there */
    struct checkpoint_file *file;         /* what the run goes on from; NULL: it begins */
    struct model_source *source;          /* what a new run's weights come from; NULL: chance */
    bool resumed;
    struct progress progress;             /* of the checkpoint, on every rank */
    struct history history;

    struct tokenizer *tokenizer;
    bool piped;                           /* data.train is a pipe, and `train` NULL */
    struct corpus *train, *validation;    /* validation may be NULL */
    size_t resident_before;               /* bytes, before what follows is allocated */
    struct device *device;
    const struct kernels *kernels;
    struct model *model;
    struct optimizer *optimizer;
    struct snapshot *snapshot;
    struct saver *saver;                  /* rank 0 only */
    struct guard *guard;
    struct buckets *buckets;
    struct stream *stream;                /* of files; else pipe */
    struct pipe_feed *pipe;
    struct trainer *trainer;

    int micro_batch, micro_batches;       /* rows of one forward pass; passes of one step */
    int64_t steps_per_epoch, last_step;
    struct schedule schedule;
    struct callback callbacks[JOB_CALLBACKS];
    int callback_count;
};

/*
 * Collective. What the run starts from, by rank 0, to every rank's device: its checkpoint, the
 * model it starts from, or chance.
 */
MUST_USE struct error *job_load_values(struct job *job);
/* Collective, as a trainer wants it: the last checkpoint of this run to every rank's device. */
MUST_USE struct error *job_roll_back(void *job, struct trainer_start *start);

/* The stages that a plan goes through too, in this order. */
MUST_USE struct error *job_find_pipe(struct job *job);
MUST_USE struct error *job_open_corpora(struct job *job);
MUST_USE struct error *job_check_data(struct job *job);
MUST_USE struct error *job_plan_steps(struct job *job);
MUST_USE struct error *job_open_device(struct job *job);
MUST_USE struct error *job_make_model(struct job *job);
MUST_USE struct error *job_make_trainer(struct job *job);

/* Those of this rank, and on the others notes of when rank 0 has some. */
MUST_USE struct error *job_add_callbacks(struct job *job);
/* What the loss of a sample is divided by, as optimizer, trainer and validation take it. */
int job_sample_positions(const struct config *config);
/* Whether losses are scaled, as fp16 needs it. */
bool job_scales_losses(const struct job *job);

/* Collective. All ranks' data; rank 0 first, whose cache the others find. */
MUST_USE struct error *job_open_data(struct job *job);
/* What trains from where the run stands. */
MUST_USE struct error *job_open_feed(struct job *job);
struct feed job_feed(const struct job *job);
/* Of files, 0 of a pipe; steps of an epoch, of a pipe those of the run; memory of what is read
 * ahead. */
uint64_t job_fingerprint(const struct job *job);
int64_t job_steps_per_epoch(const struct job *job);
size_t job_feed_bytes(const struct job *job);
/* "97736 samples", and their fingerprint; or that they come through a pipe. */
void job_describe_data(const struct job *job, char *out, size_t bytes);
/* Tells what a rank's memory is planned to be, in one line; `*bytes` (may be NULL) is its sum. */
MUST_USE struct error *job_tell_memory(const struct job *job, double *bytes);

#endif
