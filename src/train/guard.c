/* guard.c - judges steps that updated nothing. */
#include "train/guard.h"

#include "base/log.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOLD_SAMPLES = 8, ROW_BYTES = 512, SAMPLE_BYTES = 24 };

struct guard {
    struct guard_options options;
    struct guard_counts counts;
    size_t record_bytes;       /* of what a rank tells the others: its micro-batch, its samples */
    int64_t *mine, *all;       /* (1 + micro_batch), (world_size, 1 + micro_batch) */
    char *row;
    size_t row_bytes;
};

struct error *guard_create(struct guard **out, const struct guard_options *options)
{
    struct guard *g = calloc(1, sizeof *g);
    if (!g)
        return error_new(ERROR_MEMORY, "no memory to judge steps (%zu bytes)", sizeof *g);
    g->options = *options;
    g->counts = options->counts;
    g->record_bytes = (size_t)(1 + options->micro_batch) * sizeof *g->mine;
    g->mine = malloc(g->record_bytes);
    g->all = calloc((size_t)comm_world_size(options->comm), g->record_bytes);
    g->row_bytes = ROW_BYTES + (size_t)options->micro_batch * SAMPLE_BYTES;
    g->row = malloc(g->row_bytes);
    if (!g->mine || !g->all || !g->row) {
        guard_destroy(g);
        return error_new(ERROR_MEMORY, "no memory to judge steps of %d samples a rank",
                         options->micro_batch);
    }
    *out = g;
    return NULL;
}

void guard_destroy(struct guard *guard)
{
    if (!guard)
        return;
    free(guard->mine);
    free(guard->all);
    free(guard->row);
    free(guard);
}

const struct guard_counts *guard_counts(const struct guard *guard)
{
    return &guard->counts;
}

/* ---- whose fault ---- */

/* Of the lowest rank that has one. */
struct culprit {
    int rank;                  /* -1: of none; each rank's gradient was finite, their sum is not */
    int ranks;                 /* that have one */
    int micro_batch;
    const int64_t *samples;
};

static struct error *find_culprit(struct guard *g, const struct guard_suspect *suspect,
                                  struct culprit *out)
{
    const int samples = g->options.micro_batch;
    g->mine[0] = suspect->micro_batch;
    for (int i = 0; i < samples; i++)
        g->mine[1 + i] = suspect->micro_batch >= 0 ? suspect->samples[i] : -1;
    TRY(comm_all_gather(g->options.comm, g->mine, g->all, g->record_bytes));
    *out = (struct culprit){.rank = -1};
    for (int r = comm_world_size(g->options.comm) - 1; r >= 0; r--) {
        const int64_t *record = g->all + (ptrdiff_t)r * (1 + samples);
        if (record[0] < 0)
            continue;
        out->ranks++;
        out->rank = r;
        out->micro_batch = (int)record[0];
        out->samples = record + 1;
    }
    return NULL;
}

/* ---- what is told ---- */

struct text {
    char *at;
    size_t left;
};

static void PRINTF_LIKE(2, 3) add(struct text *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(t->at, t->left, format, arguments);
    va_end(arguments);
    const size_t written = n < 0 ? 0 : (size_t)n < t->left ? (size_t)n : t->left - 1;
    t->at += written;
    t->left -= written;
}

/* The first `most` of a micro-batch, commas between. */
static void add_samples(struct text *t, const struct guard *g, const struct culprit *c, int most)
{
    int told = 0;
    for (int i = 0; i < g->options.micro_batch; i++) {
        if (c->samples[i] < 0)
            continue;
        if (told++ == most) {
            add(t, ", ...");
            return;
        }
        add(t, "%s%lld", told > 1 ? ", " : "", (long long)c->samples[i]);
    }
}

/* "loss nan, gradient norm inf; first in ..." */
static void describe(char *text, size_t bytes, const struct guard *g,
                     const struct step_report *report, const struct culprit *c)
{
    struct text t = {text, bytes};
    add(&t, "loss %g, norm %g; ", fabs(report->loss), fabs(report->grad_norm));    /* no "-nan" */
    if (c->rank < 0) {
        add(&t, "every micro-batch was finite, their sum is not");
        return;
    }
    add(&t, "it comes from micro-batch %d of rank %d on %s, samples ", c->micro_batch, c->rank,
        comm_rank_host(g->options.comm, c->rank));
    add_samples(&t, g, c, TOLD_SAMPLES);
    if (c->ranks > 1)
        add(&t, ", and from %d other ranks", c->ranks - 1);
}

static void add_number(struct text *t, const char *name, double value)
{
    if (isfinite(value))
        add(t, ", \"%s\": %.9g", name, value);
    else
        add(t, ", \"%s\": null", name);
}

/* `culprit` is NULL for a spike, in which all samples have a part. */
static void add_row(const struct guard *g, const struct step_report *report,
                             const char *event, const char *action, const struct culprit *culprit)
{
    struct text t = {g->row, g->row_bytes};
    if (!g->options.folder)
        return;
    add(&t, "{\"step\": %lld, \"event\": \"%s\", \"action\": \"%s\"", (long long)report->step,
        event, action);
    add_number(&t, "event_loss", report->loss);
    add_number(&t, "event_norm", report->grad_norm);
    if (culprit && culprit->rank >= 0) {
        add(&t, ", \"rank\": %d, \"micro_batch\": %d, \"ranks\": %d, \"samples\": [", culprit->rank,
            culprit->micro_batch, culprit->ranks);
        add_samples(&t, g, culprit, g->options.micro_batch);
        add(&t, "]");
    }
    if (!culprit) {
        add_number(&t, "loss_sigmas", report->loss_sigmas);
        add_number(&t, "norm_sigmas", report->norm_sigmas);
    }
    add(&t, "}");
    run_folder_add_metrics(g->options.folder, g->row);
}

static bool is_rank_0(const struct guard *g)
{
    return comm_rank(g->options.comm) == 0;
}

/* ---- the judgement ---- */

/* The run ends in the words of all ranks: what they know is the same. */
static struct error *give_up(struct guard *g, const struct step_report *report, const char *text)
{
    const long long step = (long long)report->step;
    struct error *e;
    if (g->options.on_nan == ON_NAN_STOP)
        e = error_new(ERROR_DEVICE, "the gradient of step %lld is not finite (%s); lower "
                      "optimizer.learning_rate, set optimizer.clip_norm, look at the samples with "
                      "galley inspect --batch %lld, or pass such steps over with "
                      "train.on_nan=skip or rollback",
                      step, text, step - 1);
    else
        e = error_new(ERROR_DEVICE, "the gradient of step %lld is not finite (%s), after %lld "
                      "steps in a row that were not and %lld rollbacks, and train.nan_limit is "
                      "%lld; lower optimizer.learning_rate or set optimizer.clip_norm", step, text,
                      (long long)g->counts.in_a_row - 1, (long long)g->counts.rollbacks,
                      (long long)g->options.limit);
    return comm_agree(g->options.comm, e);
}

static struct error *judge_not_finite(struct guard *g, const struct step_report *report,
                                      const struct guard_suspect *suspect, bool *roll_back)
{
    struct culprit culprit;
    char text[512];
    const bool back = g->options.on_nan == ON_NAN_ROLL_BACK;
    g->counts.in_a_row++;
    TRY(find_culprit(g, suspect, &culprit));
    describe(text, sizeof text, g, report, &culprit);
    const bool over = g->options.on_nan == ON_NAN_STOP ||
                      g->counts.in_a_row > g->options.limit ||
                      (back && g->counts.rollbacks >= g->options.limit);
    add_row(g, report, "not_finite", over ? "stop" : back ? "rollback" : "skip", &culprit);
    if (over)
        return give_up(g, report, text);
    if (is_rank_0(g))
        log_warning("the gradient of step %lld is not finite (%s); nothing was updated%s",
                    (long long)report->step, text,
                    back ? ", and the model goes back to the last checkpoint" : "");
    *roll_back = back;
    g->counts.rollbacks += back;
    return NULL;
}

static void judge_spike(struct guard *g, const struct step_report *report)
{
    if (is_rank_0(g))
        log_warning("step %lld is a spike: loss %.4f, %.1f standard deviations above the steps "
                    "before, norm %.4g, %.1f above; nothing was updated", (long long)report->step,
                    report->loss, report->loss_sigmas, report->grad_norm, report->norm_sigmas);
    add_row(g, report, "spike", "skip", NULL);
}

struct error *guard_judge(struct guard *guard, const struct step_report *report,
                          const struct guard_suspect *suspect, bool *roll_back)
{
    *roll_back = false;
    if (report->skip == SKIP_NOT_FINITE)
        return judge_not_finite(guard, report, suspect, roll_back);
    if (report->skip != SKIP_OVERFLOW)
        guard->counts.in_a_row = 0;
    if (report->skip == SKIP_SPIKE)
        judge_spike(guard, report);
    return NULL;
}
