/* job_callbacks.c - what a run does beside its steps, as its configuration says. */
#include "train/job_inside.h"

#include "train/progress.h"
#include "train/sampling.h"
#include "train/saving.h"
#include "train/time_limit.h"
#include "train/validation.h"

#include <math.h>
#include <string.h>

#define SLOW_DISK_BYTES_S 100e6    /* what a checkpoint is thought to be written with, before one was */

/* What runs now and then also runs at the end; what never does, does not. */
static struct cadence cadence_of(const struct config_cadence *when, bool at_start)
{
    return (struct cadence){
        .every_steps = when->every_steps, .every_epochs = when->every_epochs,
        .at_start = at_start, .at_end = when->every_steps > 0 || when->every_epochs > 0,
    };
}

static struct error *add_validation(struct job *j)
{
    const struct cadence when =
        cadence_of(&j->config->validation.when, j->config->validation.at_start);
    return validation_callback(&j->callbacks[j->callback_count++], &when,
                               &(struct evaluation_options){
        .comm = j->comm, .model = j->model, .data = corpus_blend(j->validation),
        .T = (int)j->config->data.sequence_length,
        .sample_positions = job_sample_positions(j->config), .micro_batch = j->micro_batch,
        .threads = (int)j->config->data.threads, .prefetch = (int)j->config->data.prefetch},
                               &j->history, j->folder);
}

/* What rank 0 alone does now and then, with the model as it is after the step. */
static void note_callback(struct job *j, const struct cadence *exact)
{
    j->callbacks[j->callback_count++] = (struct callback){.who = RANK_0, .exact = *exact};
}

/* Whether the rows of all the others could be written. */
static struct error *check_logs(void *self, const struct step_report *report)
{
    (void)report;
    return run_folder_check(self);
}

struct error *job_add_callbacks(struct job *job)
{
    struct job *j = job;
    const struct config *c = j->config;
    const struct cadence sampling = cadence_of(&c->sampling.when, c->sampling.at_start);
    struct cadence saving = cadence_of(&c->checkpoint.when, false);
    saving.at_end = saving.at_stop = true;
    TRY(progress_callback(&j->callbacks[j->callback_count++], j->comm, j->folder,
                          c->train.log_every_steps, stdout));
    if (j->validation)
        TRY(add_validation(j));
    if (!j->is_rank_0) {
        if (c->sampling.sample_count > 0)
            note_callback(j, &sampling);
        note_callback(j, &saving);
        return NULL;
    }
    if (c->sampling.sample_count > 0)
        TRY(sampling_callback(&j->callbacks[j->callback_count++], &(struct sampling_options){
            .when = sampling, .samples = c->sampling.samples,
            .sample_count = c->sampling.sample_count,
            .sequence_length = (int)c->data.sequence_length, .model = j->model,
            .tokenizer = j->tokenizer, .folder = j->folder, .out = stdout}));
    j->callbacks[j->callback_count++] = (struct callback){
        .name = "logs", .when = {.every_steps = 1, .at_start = true}, .who = RANK_0,
        .run = check_logs, .self = j->folder};
    TRY(checkpoint_check_space(c->run.folder, model_parameters(j->model)));
    TRY(saver_create(&j->saver, c->run.folder, (int)c->checkpoint.keep));
    TRY(saving_callback(&j->callbacks[j->callback_count++], &(struct saving_options){
        .when = saving, .stop_on_error = !strcmp(c->checkpoint.on_error, "stop"),
        .loss_scaling = job_scales_losses(j),
        .saver = j->saver, .snapshot = j->snapshot, .tokenizer = j->tokenizer,
        .config_yaml = j->config_yaml, .history = &j->history,
        .counts = guard_counts(j->guard), .train_fingerprint = job_fingerprint(j), .pipe = j->pipe,
        .seed = (uint64_t)c->run.seed, .world_size = comm_world_size(j->comm),
        .saved_step = j->resumed ? j->progress.step : -1}));
    if (isinf(j->end_s))
        return NULL;
    return time_limit_callback(&j->callbacks[j->callback_count++], &(struct time_limit_options){
        .end_s = j->end_s, .margin_s = (double)c->run.time_margin_s, .saver = j->saver,
        .first_write_s = 3.0 * (double)j->snapshot->bytes / SLOW_DISK_BYTES_S});
}
