/* job_data.c - the data of a run: files that every rank reads, or a pipe that rank 0 reads. */
#include "train/job_inside.h"

#include "base/log.h"
#include "train/run_data.h"

#include <stdio.h>
#include <string.h>

/* ---- opening ---- */

/* On rank 0: another node may have no such fifo. */
static struct error *find_pipe(struct job *j)
{
    TRY(run_data_find_pipe(j->config, &j->piped));
    if (j->piped && !*j->config->tokenizer.vocabulary && !j->file && !j->source)
        return error_new(ERROR_USAGE, "data.train is a pipe, from which no vocabulary can be "
                         "learned before the run; give one as tokenizer.vocabulary (galley "
                         "vocab makes it)");
    if (j->piped && j->config->data.train.items[0][0] == '-')
        TRY(comm_check_standard_input());
    return NULL;
}

struct error *job_find_pipe(struct job *job)
{
    TRY(comm_agree(job->comm, job->is_rank_0 ? find_pipe(job) : NULL));
    return comm_broadcast(job->comm, &job->piped, sizeof job->piped);
}

/* The cache is rank 0's to make; a plan leaves nothing behind. */
static enum run_data_cache cache_of(const struct job *j)
{
    return j->plan_only ? RUN_DATA_UNCACHED : j->is_rank_0 ? RUN_DATA_MAKE : RUN_DATA_READ;
}

struct error *job_open_corpora(struct job *job)
{
    struct job *const j = job;
    if (j->config->data.train.count == 0)
        return error_new(ERROR_USAGE, "data.train is empty; give text files or globs in the "
                         "configuration or as --data.train=FILE");
    if (!j->piped)
        TRY(run_data_open(&j->train, j->config, false, j->tokenizer, cache_of(j)));
    if (j->config->data.validation.count > 0)
        TRY(run_data_open(&j->validation, j->config, true, j->tokenizer, cache_of(j)));
    return NULL;
}

static struct error *check_fingerprint(const struct job *j)
{
    const struct config *c = j->config;
    if (!j->resumed || c->run.allow_changed_data)
        return NULL;
    if (j->piped)
        return !j->progress.train_fingerprint ? NULL : error_new(ERROR_INPUT,
            "the run in %s was trained "
                         "on files, and data.train is a pipe; give the files, choose another "
                         "run.folder, or set run.allow_changed_data", c->run.folder);
    if (j->progress.older_order && corpus_has_lanes(j->train))
        return error_new(ERROR_INPUT, "the run in %s was begun by an earlier version, which took "
                         "the samples of token files and of blends in another order; finish it "
                         "with that one, choose another run.folder, or set run.allow_changed_data "
                         "to go on in the new order",
                         c->run.folder);
    if (j->progress.train_fingerprint == job_fingerprint(j))
        return NULL;
    return error_new(ERROR_INPUT, "the training text is not what the run in %s was trained on "
                     "(fingerprint %016llx, expected %016llx); restore it, choose another "
                     "run.folder, or set run.allow_changed_data", c->run.folder,
                     (unsigned long long)job_fingerprint(j),
                     (unsigned long long)j->progress.train_fingerprint);
}

struct error *job_check_data(struct job *job)
{
    const struct job *j = job;
    const int64_t G = j->config->train.global_batch;
    if (!j->piped && corpus_samples(j->train) < G)
        return error_new(ERROR_INPUT, "the training text has %lld samples, fewer than one global "
                         "batch of %lld; lower train.global_batch or data.min_bytes, or give more "
                         "text", (long long)corpus_samples(j->train), (long long)G);
    return check_fingerprint(j);
}

struct error *job_open_data(struct job *job)
{
    struct job *const j = job;
    char description[160];
    TRY(comm_agree(j->comm, j->is_rank_0 ? job_open_corpora(j) : NULL));
    TRY(comm_agree(j->comm, j->is_rank_0 ? NULL : job_open_corpora(j)));
    TRY(comm_check_equal(j->comm, "the training text", job_fingerprint(j)));
    TRY(job_check_data(j));
    job_describe_data(j, description, sizeof description);
    log_info("data  %s", description);
    return NULL;
}

/* ---- facts ---- */

uint64_t job_fingerprint(const struct job *job)
{
    return job->piped ? 0 : corpus_fingerprint(job->train);
}

void job_describe_data(const struct job *job, char *out, size_t bytes)
{
    const long long validation = job->validation ? corpus_samples(job->validation) : 0;
    char train[96];
    if (job->piped) {
        const char *path = job->config->data.train.items[0];
        snprintf(out, bytes, "%s to train on as it comes, %lld samples to validate",
                 path[0] == '-' ? "standard input" : path, validation);
        return;
    }
    corpus_describe(job->train, train, sizeof train);
    snprintf(out, bytes, "%s to train on, %lld to validate; fingerprint %016llx", train, validation,
             (unsigned long long)corpus_fingerprint(job->train));
}

static struct stream_options stream_options(const struct job *j)
{
    const struct config *c = j->config;
    return (struct stream_options){
        .blend = corpus_blend(j->train), .T = (int)c->data.sequence_length,
        .global_batch = (int)c->train.global_batch,
        .micro_batch = j->micro_batch, .rank = comm_rank(j->comm),
        .world_size = j->ranks, .threads = (int)c->data.threads,
        .prefetch = (int)c->data.prefetch, .drop_last = c->data.drop_last,
    };
}

static struct pipe_feed_options pipe_options(const struct job *j)
{
    return (struct pipe_feed_options){
        .comm = j->comm, .windows = run_data_pipe(j->config, j->tokenizer),
        .micro_batch = j->micro_batch, .first_step = j->progress.step,
        .mask_documents = j->config->data.mask_documents,
        .restart_positions = j->config->data.restart_positions,
    };
}

/* A pipe has one epoch, and nobody knows how long it is. */
int64_t job_steps_per_epoch(const struct job *job)
{
    if (job->piped)
        return job->config->train.steps;
    const struct stream_options options = stream_options(job);
    return stream_steps_per_epoch(&options);
}

size_t job_feed_bytes(const struct job *job)
{
    if (job->piped) {
        const struct pipe_feed_options options = pipe_options(job);
        return pipe_feed_bytes(&options);
    }
    const struct stream_options options = stream_options(job);
    return stream_bytes(&options);
}

/* ---- what trains ---- */

struct error *job_open_feed(struct job *job)
{
    struct job *const j = job;
    const int64_t step = j->progress.step;
    if (!j->piped) {
        const struct stream_options options = stream_options(j);
        return stream_open(&j->stream, &options, step / j->steps_per_epoch,
                           step % j->steps_per_epoch);
    }
    const struct pipe_feed_options options = pipe_options(j);
    return pipe_feed_open(&j->pipe, &options, &j->progress.stream);
}

struct feed job_feed(const struct job *job)
{
    return job->piped ? pipe_feed_feed(job->pipe) : feed_of_stream(job->stream);
}
