/* job.c - opens the parts of a training run, one stage after the other, and runs it. */
#include "train/job_inside.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/stop.h"
#include "base/tell.h"
#include "train/checkpoint.h"
#include "train/origin.h"
#include "train/resume.h"
#include "train/run_folder.h"
#include "train/run_state.h"
#include "train/run_tokenizer.h"
#include "train/trainer.h"

#include <stdlib.h>
#include <string.h>

/* ---- the run folder and its checkpoint ---- */

static struct error *open_checkpoint(struct job *j)
{
    char *path = NULL;
    if (!j->config->checkpoint.resume)
        return checkpoint_expect_none(j->config->run.folder);
    TRY(checkpoint_find_newest(j->config->run.folder, &path));
    if (!path)
        return NULL;
    struct error *e = checkpoint_open(&j->file, path);
    free(path);
    TRY(e);
    j->resumed = true;
    j->progress = *checkpoint_progress(j->file);
    return NULL;
}

static struct error *open_folder(struct job *j)
{
    if (!j->is_rank_0)
        return NULL;
    TRY(run_folder_open(&j->folder, j->config->run.folder));
    error_destroy(run_state_read(j->config->run.folder, &j->found));    /* a bad one is written anew */
    TRY(run_state_write(j->config->run.folder, RUN_RUNNING));
    TRY(open_checkpoint(j));
    if (j->resumed || !*j->config->run.start_from)
        return NULL;
    struct error *e = model_source_open(
        &j->source, &(struct model_source_options){.path = j->config->run.start_from});
    return e ? error_context(e, "opening run.start_from") : NULL;
}

static struct error *start_logs(struct job *j)
{
    TRY(config_print(j->config, &j->config_yaml));
    if (!j->is_rank_0)
        return NULL;
    if (j->file)
        TRY(resume_check(j->file, j->config));
    const struct model_spec wanted = job_wanted_spec(j->config);
    if (j->source)
        TRY(origin_check(j->source, &wanted));
    TRY(run_folder_write_config(j->folder, j->config_yaml));
    return run_folder_start_logs(j->folder, j->resumed ? j->progress.step : -1);
}

/* What the other ranks need to know of the checkpoint. */
static struct error *share_progress(struct job *j)
{
    int rows = 0;
    const struct history_row *history = j->file ? checkpoint_history(j->file, &rows) : NULL;
    TRY(comm_broadcast(j->comm, &j->resumed, sizeof j->resumed));
    TRY(comm_broadcast(j->comm, &j->progress, sizeof j->progress));
    TRY(comm_broadcast(j->comm, &rows, sizeof rows));
    for (int i = 0; i < rows; i++) {
        struct history_row row = {0};
        if (history)
            row = history[i];
        TRY(comm_broadcast(j->comm, &row, sizeof row));
        TRY(history_add(&j->history, &row));
    }
    return NULL;
}

int job_sample_positions(const struct config *c)
{
    return strcmp(c->train.loss_mean, "positions") ? 0 : (int)c->data.sequence_length;
}

struct error *job_plan_steps(struct job *j)
{
    const struct config *c = j->config;
    const int64_t share = c->train.global_batch / j->ranks;
    j->micro_batch = (int)(c->train.micro_batch > 0 ? c->train.micro_batch : share);
    j->micro_batches = (int)(share / j->micro_batch);
    j->steps_per_epoch = job_steps_per_epoch(j);
    j->last_step = c->train.steps > 0 ? c->train.steps : c->train.epochs * j->steps_per_epoch;
    j->schedule = (struct schedule){
        .learning_rate = c->optimizer.learning_rate,
        .end_learning_rate = c->schedule.end_learning_rate, .power = c->schedule.power,
        .warmup_steps = c->schedule.warmup_steps,
        .decay_steps = c->schedule.decay_steps > 0 ? c->schedule.decay_steps : j->last_step,
    };
    if (j->schedule.warmup_steps >= j->schedule.decay_steps && j->schedule.warmup_steps > 0)
        return error_new(ERROR_USAGE, "schedule.warmup_steps %lld leaves none of the run's %lld "
                         "steps", (long long)j->schedule.warmup_steps, (long long)j->last_step);
    return schedule_parse(&j->schedule.kind, c->schedule.kind);
}

/* ---- the model ---- */

struct model_spec job_wanted_spec(const struct config *c)
{
    enum model_family family = MODEL_MINI_GPT;
    if (!spec_family_find(&family, c->model.family))
        BUG("model.family is %s", c->model.family);
    return (struct model_spec){
        .family = family, .V = (int)c->model.vocabulary_size,
        .positions = (int)(c->model.max_positions > 0 ? c->model.max_positions
                                                       : c->data.sequence_length),
        .C = (int)c->model.channels, .NH = (int)c->model.heads, .F = (int)c->model.feed_forward,
        .L = (int)c->model.layers, .dropout = (float)c->model.dropout,
    };
}

/* Gradients of fp16 activations would vanish, or overflow, without. */
bool job_scales_losses(const struct job *j)
{
    return j->kernels->activation == DTYPE_F16;
}

/* Whether a step's kernels are the same every time: dropout's get the number of the step from the
 * host. */
static bool repeats_steps(const struct job *j)
{
    return j->config->device.graphs && device_has_graphs(j->device) &&
           model_spec(j->model)->dropout <= 0;
}

struct error *job_open_device(struct job *j)
{
    const struct config *c = j->config;
    j->resident_before = memory_resident_bytes();
    return device_open(&j->device, &(struct device_options){
        .kind = c->device.kind, .threads = (int)c->device.threads,
        .local_rank = comm_local_rank(j->comm), .local_size = j->local_ranks,
        .tf32 = c->device.tf32, .tune = c->device.tune, .plan_only = j->plan_only});
}

struct error *job_make_model(struct job *j)
{
    const struct config *c = j->config;
    const struct model_spec spec = job_wanted_spec(c);
    const bool adamw = !strcmp(c->optimizer.kind, "adamw");
    if (j->file) {
        struct error *e = spec_compare(checkpoint_spec(j->file), &spec);
        if (e)
            return error_context(e, "%s holds another model than the configuration; set model.* "
                                 "back, or choose another run.folder", checkpoint_path(j->file));
    }
    TRY(kernels_for(&j->kernels, j->device, dtype_named(c->train.precision)));
    TRY(model_create(&j->model, j->device, j->kernels, &spec, &(struct model_options){
        .B = j->micro_batch, .T = (int)c->data.sequence_length, .training = true,
        .token_squares = !strcmp(c->optimizer.token_moment, "by_occurrence"),
        .seed = (uint64_t)c->run.seed}));
    TRY(optimizer_create(&j->optimizer, j->device, j->kernels, j->model,
                         &(struct optimizer_options){
        .beta1 = c->optimizer.beta1, .beta2 = c->optimizer.beta2, .epsilon = c->optimizer.epsilon,
        .weight_decay = adamw ? c->optimizer.weight_decay : 0,
        .decay_matrices_only = !strcmp(c->optimizer.decay_on, "matrices"),
        .sample_positions = job_sample_positions(c), .clip_norm = c->optimizer.clip_norm,
        .scaled_positions = job_scales_losses(j)
                                ? c->train.global_batch * c->data.sequence_length : 0,
        .spike_sigma = c->train.spike_sigma, .spike_window = c->train.spike_window}));
    return snapshot_create(&j->snapshot, j->device, j->model, j->optimizer);
}

/* What gradients go through, and what comes in, from where the run stands. */
static struct error *open_exchange(struct job *j)
{
    const size_t bucket_bytes = (size_t)(j->config->comm.bucket_megabytes * 1e6);
    int64_t count;
    float *summed = model_summed(j->model, &count);
    TRY(buckets_create(&j->buckets, j->comm, j->device, summed, count, bucket_bytes,
                       j->config->train.reproducible));
    return job_open_feed(j);
}

static struct error *make_guard(struct job *j)
{
    const struct config *c = j->config;
    return guard_create(&j->guard, &(struct guard_options){
        .comm = j->comm, .on_nan = !strcmp(c->train.on_nan, "stop") ? ON_NAN_STOP
                                   : !strcmp(c->train.on_nan,
                                             "skip") ? ON_NAN_SKIP : ON_NAN_ROLL_BACK,
        .limit = c->train.nan_limit, .micro_batch = j->micro_batch, .folder = j->folder,
        .counts = {.in_a_row = j->progress.nan_in_a_row, .rollbacks = j->progress.rollbacks}});
}

struct error *job_make_trainer(struct job *j)
{
    return trainer_create(&j->trainer, &(struct trainer_parts){
        .comm = j->comm, .device = j->device, .kernels = j->kernels, .model = j->model,
        .optimizer = j->optimizer, .buckets = j->buckets, .feed = job_feed(j),
        .schedule = &j->schedule, .micro_batch = j->micro_batch,
        .micro_batches = j->micro_batches, .T = (int)j->config->data.sequence_length,
        .sample_positions = job_sample_positions(j->config),
        .steps_per_epoch = j->steps_per_epoch, .last_step = j->last_step,
        .check_every_steps = j->config->train.check_every_steps,
        .steps_ahead = device_runs_behind(j->device) ? 1 : 0, .guard = j->guard,
        .roll_back = job_roll_back, .roll_back_self = j,
        .reproducible = j->config->train.reproducible, .graphs = repeats_steps(j),
        .stop_asked = stop_asked,
        .callbacks = j->callbacks, .callback_count = j->callback_count},
        &(struct trainer_start){.step = j->progress.step, .updates = j->progress.updates,
                                .samples = j->progress.samples, .tokens = j->progress.tokens});
}

/* ---- the whole ---- */

static void set_deadlines(const struct job *j)
{
    const struct config *c = j->config;
    comm_set_deadlines(j->comm, &(struct comm_deadlines){
        .answer_s = (double)c->deadline.answer, .init_s = (double)c->deadline.init,
        .data_s = (double)c->deadline.data, .step_s = (double)c->deadline.step,
        .validation_s = (double)c->deadline.validation, .save_s = (double)c->deadline.save});
}

/* Without its record a run goes on all the same. */
static void begin_record(const struct job *j)
{
    struct error *e = comm_record(j->comm, j->config->run.folder);
    if (e)
        log_warning("%s", error_message(e));
    error_destroy(e);
}

/* A wish to stop that came during all that; nothing was done that could be saved. */
static struct error *check_stop(const struct job *j)
{
    double asked = stop_asked();
    TRY(comm_max(j->comm, &asked, 1));
    if (asked > 0)
        return error_new(ERROR_INTERRUPTED, "asked to stop before the first step; the same command "
                         "begins it again");
    return NULL;
}

/* In the words of a rank that was asked; at least one was. */
static struct error *tell_stop(const struct job *j)
{
    struct error *mine = NULL;
    if (stop_asked())
        mine = error_new(ERROR_INTERRUPTED, "asked to stop by %s; the state is saved, the same "
                         "command goes on from it", stop_reason());
    return comm_agree(j->comm, mine);
}

static struct error *open_stages(struct job *j, struct config *config)
{
    set_deadlines(j);
    TRY(comm_agree(j->comm, config_check_ranks(j->config, j->ranks)));
    TRY(comm_agree(j->comm, open_folder(j)));
    TRY(comm_agree(j->comm, origin_complete(config, j->comm, j->file, j->source)));
    TRY(job_find_pipe(j));
    TRY(comm_agree(j->comm, start_logs(j)));
    TRY(share_progress(j));
    begin_record(j);
    TRY(comm_agree(j->comm,
                   run_tokenizer_open(&j->tokenizer, j->comm, j->config, j->file, j->source)));
    TRY(comm_agree(j->comm, job_open_data(j)));
    TRY(comm_agree(j->comm, job_plan_steps(j)));
    TRY(comm_agree(j->comm, job_open_device(j)));
    TRY(comm_agree(j->comm, buckets_prepare(j->comm, j->device)));
    TRY(comm_agree(j->comm, job_make_model(j)));
    TRY(comm_share_device(j->comm, device_description(j->device)));
    TRY(job_load_values(j));
    TRY(comm_agree(j->comm, open_exchange(j)));
    TRY(comm_agree(j->comm, make_guard(j)));
    TRY(comm_agree(j->comm, job_add_callbacks(j)));
    TRY(comm_agree(j->comm, job_make_trainer(j)));
    return comm_agree(j->comm, check_stop(j));
}

static struct error *tell_plan(const struct job *j)
{
    if (j->is_rank_0)
        tell(stderr, "%s", j->config_yaml);
    log_info("ranks  %d; rank 0 on %s: %s", comm_world_size(j->comm), comm_host(j->comm),
             device_description(j->device));
    log_info("kernels  %s", j->kernels->name);
    log_info("model  %lld parameters; %lld steps an epoch, %lld in all",
             (long long)model_parameters(j->model)->count, (long long)j->steps_per_epoch,
             (long long)j->last_step);
    TRY(job_tell_memory(j, NULL));
    if (*j->config->run.start_from && !j->resumed)
        log_info("starting from  %s", j->config->run.start_from);
    if (j->resumed)
        log_info("resuming  after step %lld (epoch %.2f)", (long long)j->progress.step,
                 (double)j->progress.step / (double)j->steps_per_epoch);
    if (j->progress.step >= j->last_step)
        log_info("done  nothing is left to train: step %lld of %lld; to go on, raise train.steps "
                 "or train.epochs", (long long)j->progress.step, (long long)j->last_step);
    return NULL;
}

/* On rank 0, once the folder is its own; takes what the run ends with, `e` or NULL, and returns it,
 * or why that cannot be noted. `failed` is what an error makes of the run. One that the others do
 * not have is how a lost rank looks from here: the run stays RUNNING, and may be started again. */
static struct error *note_end(const struct job *j, struct error *e, enum run_state failed)
{
    if (!j->folder || (e && !comm_agreed(j->comm)))
        return e;
    const bool stopped = e && error_kind(e) == ERROR_INTERRUPTED;
    struct error *note = run_state_write(j->config->run.folder,
                                         stopped ? RUN_STOPPED : e ? failed : RUN_DONE);
    if (!e)
        return note;
    error_destroy(note);    /* the first error is the one to tell */
    return e;
}

struct error *job_open(struct job **out, struct comm *comm, struct config *config,
                       double end_s)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return error_new(ERROR_MEMORY, "no memory for the run (%zu bytes)", sizeof *j);
    j->comm = comm;
    j->config = config;
    j->end_s = end_s;
    j->is_rank_0 = comm_rank(comm) == 0;
    j->ranks = comm_world_size(comm);
    j->local_ranks = comm_local_size(comm);
    history_init(&j->history);
    struct error *e = open_stages(j, config);
    if (!e)
        e = comm_agree(comm, tell_plan(j));
    if (e) {
        /* What was done stays so when it is started again in a way that cannot be; but not where
         * there is more to train now. */
        const bool done = j->found == RUN_DONE &&
                          (j->last_step == 0 || j->progress.step >= j->last_step);
        e = note_end(j, e, done ? RUN_DONE : RUN_FAILED);
        job_close(j);
        return e;
    }
    *out = j;
    return NULL;
}

void job_close(struct job *job)
{
    if (!job)
        return;
    for (int i = 0; i < job->callback_count; i++)
        if (job->callbacks[i].destroy)
            job->callbacks[i].destroy(job->callbacks[i].self);
    saver_destroy(job->saver);    /* while what it writes is still there */
    trainer_destroy(job->trainer);
    stream_close(job->stream);
    pipe_feed_close(job->pipe);
    guard_destroy(job->guard);
    buckets_destroy(job->buckets);
    snapshot_destroy(job->snapshot);
    optimizer_destroy(job->optimizer);
    model_destroy(job->model);
    device_close(job->device);
    corpus_close(job->validation);
    corpus_close(job->train);
    tokenizer_destroy(job->tokenizer);
    checkpoint_close(job->file);
    model_source_close(job->source);
    run_folder_close(job->folder);
    history_release(&job->history);
    free(job->config_yaml);
    free(job);
}

static struct error *run_to_end(struct job *j)
{
    struct error *e = trainer_run(j->trainer);
    if (e) {
        buckets_abandon(j->buckets);
        return e;
    }
    TRY(buckets_end(j->buckets));
    if (trainer_stopped(j->trainer))
        return tell_stop(j);
    double resident = (double)memory_resident_bytes();
    TRY(comm_max(j->comm, &resident, 1));
    log_info("memory  %.1f MB resident at the end, the most of any rank", 1e-6 * resident);
    return NULL;
}

struct error *job_run(struct job *job)
{
    return note_end(job, run_to_end(job), RUN_FAILED);
}
