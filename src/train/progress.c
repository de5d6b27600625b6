/* progress.c - the bar, the lines and the rows of a run's steps. */
#include "train/progress.h"

#include "base/clock.h"
#include "base/tell.h"
#include "base/terminal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BAR_WIDTH = 24 };

struct progress_bar {
    struct run_folder *folder;
    FILE *out;
    bool terminal;
    int64_t log_every_steps;
    double drawn_s;                  /* when the bar was last drawn */

    /* Since the last row. */
    int64_t steps, skipped, tokens;
    double step_s, data_wait_s, comm_wait_s;
    double smooth_step_s;            /* over the last steps, for the time left */
};

static void add_step(struct progress_bar *p, const struct step_report *r)
{
    p->steps++;
    p->skipped += r->skip != SKIP_NONE;
    p->tokens += r->step_tokens;
    p->step_s += r->step_s;
    p->data_wait_s += r->data_wait_s;
    p->comm_wait_s += r->comm_wait_s;
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
         (long long)r->step, (long long)r->last_step, r->loss, (double)r->step_tokens / r->step_s, left);
    p->drawn_s = clock_now_s();
}

static void print_line(struct progress_bar *p, const struct step_report *r)
{
    char left[32];
    format_duration(left, sizeof left, (double)(r->last_step - r->step) * p->smooth_step_s);
    tell(p->out, "%sstep %lld/%lld  epoch %.2f  loss %.4f  perplexity %.2f  lr %.3g  "
         "grad norm %.3f  %.0f tokens/s  %.0f ms  data wait %.1f %%  comm wait %.1f %%  %s left\n",
         p->terminal ? "\r\033[K" : "", (long long)r->step, (long long)r->last_step,
         report_epochs(r), r->loss, r->perplexity, r->learning_rate, r->grad_norm,
         (double)p->tokens / p->step_s, 1e3 * p->step_s / (double)p->steps,
         100 * p->data_wait_s / p->step_s, 100 * p->comm_wait_s / p->step_s, left);
}

/* JSON knows no infinity, which the gradient of a skipped step is. */
static const char *json_number(char text[32], double value)
{
    if (!isfinite(value))
        return "null";
    snprintf(text, 32, "%.9g", value);
    return text;
}

static struct error *add_row(struct progress_bar *p, const struct step_report *r)
{
    char row[768], loss[32], perplexity[32], norm[32], scale[96] = "";
    const double steps = (double)p->steps;
    if (r->loss_scale != 1 || p->skipped > 0)
        snprintf(scale, sizeof scale, ", \"loss_scale\": %.9g, \"skipped_steps\": %lld",
                 r->loss_scale, (long long)p->skipped);
    snprintf(row, sizeof row,
             "{\"step\": %lld, \"epoch\": %.6g, \"loss\": %s, \"perplexity\": %s, "
             "\"accuracy\": %.9g, \"learning_rate\": %.9g, \"grad_norm\": %s, "
             "\"samples\": %lld, \"tokens\": %lld, \"tokens_per_s\": %.6g, \"step_ms\": %.6g, "
             "\"data_wait_ms\": %.6g, \"comm_wait_ms\": %.6g%s}",
             (long long)r->step, report_epochs(r), json_number(loss, r->loss),
             json_number(perplexity, r->perplexity), r->accuracy, r->learning_rate,
             json_number(norm, r->grad_norm), (long long)r->samples, (long long)r->tokens,
             (double)p->tokens / p->step_s, 1e3 * p->step_s / steps,
             1e3 * p->data_wait_s / steps, 1e3 * p->comm_wait_s / steps, scale);
    return run_folder_add_metrics(p->folder, row);
}

static struct error *progress_run(void *self, const struct step_report *report)
{
    struct progress_bar *p = self;
    add_step(p, report);
    if (report->step % p->log_every_steps == 0 || (report->last && !report->stopped)) {
        print_line(p, report);
        TRY(add_row(p, report));
        p->steps = p->skipped = p->tokens = 0;
        p->step_s = p->data_wait_s = p->comm_wait_s = 0;
    }
    if (p->terminal && !report->last && clock_now_s() - p->drawn_s > 0.1)
        draw_bar(p, report);
    return NULL;
}

struct error *progress_callback(struct callback *callback, struct run_folder *folder,
                                int64_t log_every_steps, FILE *out)
{
    struct progress_bar *p = calloc(1, sizeof *p);
    if (!p)
        return error_new(ERROR_MEMORY, "no memory for the progress bar (%zu bytes)", sizeof *p);
    p->folder = folder;
    p->out = out;
    p->terminal = terminal_watched(out);
    p->log_every_steps = log_every_steps;
    *callback = (struct callback){
        .name = "progress", .when = {.every_steps = 1}, .who = RANK_0,
        .run = progress_run, .destroy = free, .self = p,
    };
    return NULL;
}
