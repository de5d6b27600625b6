/* saving.c - takes a snapshot, writes it, and lets old checkpoints go. */
#include "train/saving.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

static struct error *saving_run(void *self, const struct step_report *report)
{
    const struct saving_options *o = self;
    if (report->step == o->resumed_step && report->step > 0)
        return NULL;
    const double start_s = clock_now_s();
    TRY(snapshot_take(o->snapshot));

    size_t bytes;
    const int64_t epoch = report->step / report->steps_per_epoch;
    TRY(checkpoint_write(o->run_folder, &(struct checkpoint){
        .spec = model_spec(o->snapshot->model),
        .parameters = model_parameters(o->snapshot->model),
        .weights = o->snapshot->weights, .m = o->snapshot->m, .v = o->snapshot->v,
        .tokenizer = o->tokenizer,
        .config_yaml = o->config_yaml,
        .progress = {
            .step = report->step,
            .epoch = epoch,
            .step_in_epoch = report->step - epoch * report->steps_per_epoch,
            .samples = report->samples, .tokens = report->tokens,
            .train_fingerprint = o->train_fingerprint, .seed = o->seed,
            .world_size = o->world_size,
            .best_perplexity = o->history->best_perplexity, .best_step = o->history->best_step,
        },
        .history = o->history->rows,
        .history_rows = o->history->count,
    }, &bytes));
    const double seconds = clock_now_s() - start_s;
    log_info("checkpoint  step %lld  %.1f MB in %.0f ms (%.0f MB/s)", (long long)report->step,
             1e-6 * (double)bytes, 1e3 * seconds, 1e-6 * (double)bytes / seconds);
    return checkpoint_prune(o->run_folder, o->keep, o->history->best_step);
}

struct error *saving_callback(struct callback *callback, const struct saving_options *options)
{
    struct saving_options *o = malloc(sizeof *o);
    if (!o)
        return error_new(ERROR_MEMORY, "no memory for the checkpoint callback (%zu bytes)",
                         sizeof *o);
    *o = *options;
    *callback = (struct callback){
        .name = "checkpoint", .when = options->when, .who = RANK_0,
        .run = saving_run, .destroy = free, .self = o,
    };
    return NULL;
}
