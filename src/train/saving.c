/* saving.c - takes a snapshot and has it written. */
#include "train/saving.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

/* A write that failed ends the run, or is told and survived. Takes `e`. */
static struct error *judge(const struct saving_options *o, struct error *e)
{
    if (!e || o->stop_on_error)
        return e;
    log_warning("%s; training goes on, the checkpoint before this one stays", error_message(e));
    error_destroy(e);
    return NULL;
}

/* Takes both. */
static struct error *first_of(struct error *e, struct error *later)
{
    if (!e)
        return later;
    error_destroy(later);
    return e;
}

static struct error *begin_save(const struct saving_options *o, const struct step_report *report)
{
    const double start_s = clock_now_s();
    TRY(judge(o, saver_wait(o->saver)));
    const double waited_s = clock_now_s() - start_s;
    TRY(snapshot_take(o->snapshot));
    const double stall_s = clock_now_s() - start_s;
    if (waited_s > 1)
        log_warning("training waited %.1f s for the checkpoint before; save less often, or to a "
                    "faster disk", waited_s);

    struct pipe_position stream = {.window = 0};
    if (o->pipe)    /* nothing was begun beyond the step: saving needs it exactly */
        stream = pipe_feed_position(o->pipe);
    const int64_t epoch = report->step / report->steps_per_epoch;
    return saver_begin(o->saver, &(struct checkpoint){
        .spec = model_spec(o->snapshot->model),
        .parameters = model_parameters(o->snapshot->model),
        .weights = o->snapshot->weights, .m = o->snapshot->m, .v = o->snapshot->v,
        .tokenizer = o->tokenizer,
        .config_yaml = o->config_yaml,
        .progress = {
            .step = report->step,
            .epoch = epoch,
            .step_in_epoch = report->step - epoch * report->steps_per_epoch,
            .updates = o->snapshot->state->updates,
            .loss_scale = o->loss_scaling ? o->snapshot->state->loss_scale : 0,
            .finite_steps = o->snapshot->state->finite_steps,
            .nan_in_a_row = o->counts->in_a_row, .rollbacks = o->counts->rollbacks,
            .samples = report->samples, .tokens = report->tokens,
            .train_fingerprint = o->train_fingerprint, .stream = stream, .seed = o->seed,
            .world_size = o->world_size,
            .best_perplexity = o->history->best_perplexity, .best_step = o->history->best_step,
        },
        .spikes = &o->snapshot->state->spikes,
        .history = o->history->rows,
        .history_rows = o->history->count,
    }, o->snapshot, stall_s);
}

/* Runs after every step, so that a failed write is heard of soon. */
static struct error *saving_run(void *self, const struct step_report *report)
{
    struct saving_options *o = self;
    const bool due = cadence_due(&o->when, report);
    const bool here_before = report->step == o->saved_step && report->step > 0;
    /* What is saved at the end is, whatever became of the one before. */
    struct error *e = judge(o, report->last ? saver_wait(o->saver) : saver_check(o->saver));
    if (e && !report->last)
        return e;
    if (due && !here_before)
        e = first_of(e, begin_save(o, report));
    if (due)
        o->saved_step = report->step;
    return report->last ? first_of(e, saver_wait(o->saver)) : e;
}

struct error *saving_callback(struct callback *callback, const struct saving_options *options)
{
    struct saving_options *o = malloc(sizeof *o);
    if (!o)
        return error_new(ERROR_MEMORY, "no memory for the checkpoint callback (%zu bytes)",
                         sizeof *o);
    *o = *options;
    *callback = (struct callback){
        .name = "checkpoint", .phase = COMM_SAVE, .who = RANK_0,
        .when = {.every_steps = 1, .at_start = options->when.at_start}, .exact = options->when,
        .run = saving_run, .destroy = free, .self = o,
    };
    return NULL;
}
