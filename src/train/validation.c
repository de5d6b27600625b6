/* validation.c - evaluates the validation set and tells what came out. */
#include "train/validation.h"

#include "base/tell.h"
#include "base/terminal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct validation {
    struct evaluation_options options;
    struct history *history;
    struct run_folder *folder;    /* rank 0 only */
};

static void report_result(struct validation *v, const struct step_report *report,
                                   const struct evaluation *result)
{
    char row[256];
    tell(stdout, "%svalidation  step %lld  epoch %.2f  loss %.4f  perplexity %.2f  accuracy %.4f  "
         "(%lld samples, %.1f s)\n", terminal_watched(stdout) ? "\r\033[K" : "",
         (long long)report->step, report_epochs(report), result->loss, result->perplexity,
         result->accuracy, (long long)result->samples, result->seconds);
    snprintf(row, sizeof row,
             "{\"step\": %lld, \"epoch\": %.6g, \"validation_loss\": %.9g, "
             "\"validation_perplexity\": %.9g, \"validation_accuracy\": %.9g}",
             (long long)report->step, report_epochs(report), result->loss, result->perplexity,
             result->accuracy);
    run_folder_add_metrics(v->folder, row);
}

static struct error *validation_run(void *self, const struct step_report *report)
{
    struct validation *v = self;
    struct evaluation result;
    TRY(evaluate_dataset(&v->options, &result));
    TRY(history_add(v->history, &(struct history_row){
        .step = report->step, .epoch = report_epochs(report), .validation_loss = result.loss,
        .validation_perplexity = result.perplexity, .validation_accuracy = result.accuracy,
    }));
    if (v->folder)
        report_result(v, report, &result);
    return NULL;
}

struct error *validation_callback(struct callback *callback, const struct cadence *when,
                                  const struct evaluation_options *options,
                                  struct history *history, struct run_folder *folder)
{
    struct validation *v = calloc(1, sizeof *v);
    if (!v)
        return error_new(ERROR_MEMORY, "no memory for the validation (%zu bytes)", sizeof *v);
    v->options = *options;
    v->history = history;
    v->folder = folder;
    *callback = (struct callback){
        .name = "validation", .phase = COMM_VALIDATION, .when = *when, .exact = *when,
        .who = EVERY_RANK, .run = validation_run, .destroy = free, .self = v,
    };
    return NULL;
}
