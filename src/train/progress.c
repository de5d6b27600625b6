/* progress.c - the bar, the lines and the rows of a run's steps. */
#include "train/progress.h"

#include "base/clock.h"
#include "base/tell.h"
#include "base/terminal.h"
#include "train/stragglers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BAR_WIDTH = 24 };

struct progress_bar {
    struct comm *comm;
    struct run_folder *folder;       /* NULL: not rank 0, which alone tells */
    struct rank_times *all;          /* (world_size) */
    FILE *out;
    bool terminal;
    int64_t log_every_steps;
    double drawn_s;                  /* when the bar was last drawn */

    /* Since the last row. */
    int64_t steps, skipped, tokens;
    double step_s;
    struct rank_times times;
    double smooth_step_s;            /* over the last steps, for the time left */
};

static void add_step(struct progress_bar *p, const struct step_report *r)
{
    p->steps++;
    p->skipped += r->skip != SKIP_NONE;
    p->tokens += r->step_tokens;
    p->step_s += r->step_s;
    p->times.compute_s += r->compute_s;
    p->times.data_wait_s += r->data_wait_s;
    p->times.comm_wait_s += r->comm_wait_s;
    p->smooth_step_s =
        p->smooth_step_s > 0 ? 0.95 * p->smooth_step_s + 0.05 * r->step_s : r->step_s;
}

/* "1:02:03" or "4:05". */
static void format_duration(char *text, size_t bytes, double seconds)
{
    const long long s = (long long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, bytes, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, bytes, "%lld:%02lld", s / 60, s % 60);
}

static void draw_bar(struct progress_bar *p, const struct step_report *r)
{
    char bar[BAR_WIDTH + 1], left[32];
    const int64_t done = r->step * BAR_WIDTH / r->last_step;
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < done ? '=' : (i == done ? '>' : '.');
    bar[BAR_WIDTH] = '\0';
    format_duration(left, sizeof left, (double)(r->last_step - r->step) * p->smooth_step_s);
    tell(p->out, "\r[%s] %lld/%lld  loss %.4f  %.0f tokens/s  %s left \033[K", bar,
         (long long)r->step, (long long)r->last_step, r->loss, (double)r->step_tokens / r->step_s,
         left);
    p->drawn_s = clock_now_s();
}

/* "  slowest rank 3 on n2 +12.5 %  exposed comm 1.0 %"; a world of one rank has none. */
static void format_stragglers(char *text, size_t bytes, const struct progress_bar *p,
                              const struct stragglers *s)
{
    text[0] = '\0';
    if (comm_world_size(p->comm) > 1)
        snprintf(text, bytes, "slowest rank %d on %s +%.1f %%  exposed comm %.1f %%  ", s->slowest,
                 comm_rank_host(p->comm, s->slowest), 100 * (s->slowest_s / s->usual_s - 1),
                 100 * s->exposed_comm_s / p->step_s);
}

static void print_line(struct progress_bar *p, const struct step_report *r,
                       const struct stragglers *s)
{
    char left[32], slowest[256];
    format_duration(left, sizeof left, (double)(r->last_step - r->step) * p->smooth_step_s);
    format_stragglers(slowest, sizeof slowest, p, s);
    tell(p->out, "%sstep %lld/%lld  epoch %.2f  loss %.4f  perplexity %.2f  lr %.3g  "
         "grad norm %.3f  %.0f tokens/s  %.0f ms  data wait %.1f %%  comm wait %.1f %%  %s%s left\n",
         p->terminal ? "\r\033[K" : "", (long long)r->step, (long long)r->last_step,
         report_epochs(r), r->loss, r->perplexity, r->learning_rate, r->grad_norm,
         (double)p->tokens / p->step_s, 1e3 * p->step_s / (double)p->steps,
         100 * p->times.data_wait_s / p->step_s, 100 * p->times.comm_wait_s / p->step_s, slowest,
         left);
}

/* JSON knows no infinity, which the gradient of a skipped step is. */
static const char *json_number(char text[32], double value)
{
    if (!isfinite(value))
        return "null";
    snprintf(text, 32, "%.9g", value);
    return text;
}

/* What only a world of several ranks, or a run that skipped steps, has to say. */
static void format_more(char *text, size_t bytes, const struct progress_bar *p,
                        const struct step_report *r, const struct stragglers *s)
{
    const double ms = 1e3 / (double)p->steps;
    size_t n = 0;
    text[0] = '\0';
    if (comm_world_size(p->comm) > 1)
        n += (size_t)snprintf(text, bytes, ", \"compute_ms\": %.6g, \"slowest_rank\": %d, "
                              "\"slowest_compute_ms\": %.6g, \"exposed_comm_ms\": %.6g, "
                              "\"slowest_data_rank\": %d, \"slowest_data_wait_ms\": %.6g",
                              ms * s->usual_s, s->slowest, ms * s->slowest_s,
                              ms * s->exposed_comm_s, s->data_rank, ms * s->data_wait_s);
    if (r->loss_scale != 1 || p->skipped > 0)
        snprintf(text + n, bytes - n, ", \"loss_scale\": %.9g, \"skipped_steps\": %lld",
                 r->loss_scale, (long long)p->skipped);
}

static void add_row(struct progress_bar *p, const struct step_report *r,
                             const struct stragglers *s)
{
    char row[1152], loss[32], perplexity[32], norm[32], more[384];
    const double steps = (double)p->steps;
    format_more(more, sizeof more, p, r, s);
    snprintf(row, sizeof row,
             "{\"step\": %lld, \"epoch\": %.6g, \"loss\": %s, \"perplexity\": %s, "
             "\"accuracy\": %.9g, \"learning_rate\": %.9g, \"grad_norm\": %s, "
             "\"samples\": %lld, \"tokens\": %lld, \"tokens_per_s\": %.6g, \"step_ms\": %.6g, "
             "\"data_wait_ms\": %.6g, \"comm_wait_ms\": %.6g%s}",
             (long long)r->step, report_epochs(r), json_number(loss, r->loss),
             json_number(perplexity, r->perplexity), r->accuracy, r->learning_rate,
             json_number(norm, r->grad_norm), (long long)r->samples, (long long)r->tokens,
             (double)p->tokens / p->step_s, 1e3 * p->step_s / steps,
             1e3 * p->times.data_wait_s / steps, 1e3 * p->times.comm_wait_s / steps, more);
    run_folder_add_metrics(p->folder, row);
}

static struct error *tell_steps(struct progress_bar *p, const struct step_report *report)
{
    struct stragglers stragglers;
    TRY(stragglers_find(&stragglers, p->comm, &p->times, p->all));
    if (p->folder) {
        print_line(p, report, &stragglers);
        add_row(p, report, &stragglers);
    }
    p->steps = p->skipped = p->tokens = 0;
    p->step_s = 0;
    p->times = (struct rank_times){0};
    return NULL;
}

static struct error *progress_run(void *self, const struct step_report *report)
{
    struct progress_bar *p = self;
    add_step(p, report);
    if (report->step % p->log_every_steps == 0 || (report->last && !report->stopped))
        TRY(tell_steps(p, report));
    if (p->terminal && !report->last && clock_now_s() - p->drawn_s > 0.1)
        draw_bar(p, report);
    return NULL;
}

static void progress_destroy(void *self)
{
    struct progress_bar *p = self;
    free(p->all);
    free(p);
}

struct error *progress_callback(struct callback *callback, struct comm *comm,
                                struct run_folder *folder, int64_t log_every_steps, FILE *out)
{
    struct progress_bar *p = calloc(1, sizeof *p);
    if (p)
        p->all = calloc((size_t)comm_world_size(comm), sizeof *p->all);
    if (!p || !p->all) {
        free(p);
        return error_new(ERROR_MEMORY, "no memory for the progress of %d ranks",
                         comm_world_size(comm));
    }
    p->comm = comm;
    p->folder = folder;
    p->out = out;
    p->terminal = folder && terminal_watched(out);
    p->log_every_steps = log_every_steps;
    *callback = (struct callback){
        .name = "progress", .when = {.every_steps = 1}, .who = EVERY_RANK,
        .run = progress_run, .destroy = progress_destroy, .self = p,
    };
    return NULL;
}
