/* job_values.c - weights, moments and what else the device keeps, from where they are to every
 * rank. */
#include "train/job_inside.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* Rank 0: of a checkpoint, to its snapshot. */
static struct error *read_checkpoint(const struct job *j, struct checkpoint_file *file)
{
    const struct snapshot *s = j->snapshot;
    const struct progress *p = checkpoint_progress(file);
    *s->state = (struct update_state){
        .updates = p->updates, .loss_scale = p->loss_scale, .finite_steps = p->finite_steps,
        .spikes = *checkpoint_spikes(file)};
    return checkpoint_read(file, model_parameters(j->model), s->weights, s->m, s->v);
}

/* Rank 0: what the run starts from, to its snapshot. */
static struct error *read_start(const struct job *j)
{
    const struct parameters *p = model_parameters(j->model);
    if (j->file)
        return read_checkpoint(j, j->file);
    *j->snapshot->state = (struct update_state){.updates = 0};
    if (j->source)
        return model_source_read(j->source, p, j->snapshot->weights);
    parameters_initialize(p, (uint64_t)j->config->run.seed, j->snapshot->weights);
    return NULL;
}

/* Collective. Rank 0's snapshot to every device; only rank 0 saves, so that the others' goes. */
static struct error *hand_out(struct job *j)
{
    TRY(snapshot_broadcast(j->snapshot, j->comm));
    TRY(comm_agree(j->comm, snapshot_restore(j->snapshot)));
    if (!j->is_rank_0) {
        snapshot_destroy(j->snapshot);
        j->snapshot = NULL;
    }
    return NULL;
}

struct error *job_load_values(struct job *job)
{
    struct job *j = job;
    TRY(comm_agree(j->comm, j->is_rank_0 ? read_start(j) : NULL));
    TRY(hand_out(j));
    checkpoint_close(j->file);
    model_source_close(j->source);
    j->file = NULL;
    j->source = NULL;
    return NULL;
}

/* ---- back to the last checkpoint ---- */

/* Of this run: one that was there before it began anew is none. */
static int64_t last_step(const struct job *j)
{
    const int64_t written = saver_last_step(j->saver);
    return written >= 0 ? written : j->resumed ? j->progress.step : -1;
}

/* Rank 0. The saver uses the snapshot, and HDF5, until it has done what it was given. */
static struct error *read_last(const struct job *j, struct progress *progress)
{
    char *path;
    struct checkpoint_file *file = NULL;
    struct error *e = saver_wait(j->saver);
    if (e && strcmp(j->config->checkpoint.on_error, "stop")) {
        log_warning("%s; the checkpoint before this one is used", error_message(e));
        error_destroy(e);
        e = NULL;
    }
    TRY(e);
    if (last_step(j) < 0)
        return error_new(ERROR_INPUT, "train.on_nan is rollback, and there is no checkpoint yet to "
                         "go back to; set checkpoint.every_steps lower, or train.on_nan=skip");
    TRY(checkpoint_path_of(j->config->run.folder, last_step(j), &path));
    e = checkpoint_open(&file, path);
    if (!e)
        e = read_checkpoint(j, file);
    if (!e)
        *progress = *checkpoint_progress(file);
    checkpoint_close(file);
    free(path);
    return e;
}

struct error *job_roll_back(void *job, struct trainer_start *start)
{
    struct job *j = job;
    struct progress progress = {.step = 0};
    struct error *e = j->snapshot ? NULL : snapshot_create(&j->snapshot, j->device, j->model,
                                                           j->optimizer);
    TRY(comm_agree(j->comm, e));
    TRY(comm_agree(j->comm, j->is_rank_0 ? read_last(j, &progress) : NULL));
    TRY(comm_broadcast(j->comm, &progress, sizeof progress));
    TRY(hand_out(j));
    log_info("rolled back  to the checkpoint of step %lld", (long long)progress.step);
    *start = (struct trainer_start){
        .step = progress.step, .updates = progress.updates, .samples = progress.samples,
        .tokens = progress.tokens};
    return NULL;
}
