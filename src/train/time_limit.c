/* time_limit.c - asks to stop while there is time to save. */
#include "train/time_limit.h"

#include "base/clock.h"
#include "base/stop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Steps whose reports may still be under way when the wish to stop is heard, and the one it rides
 * in. */
enum { STEPS_TO_STOP = 3 };

struct time_limit {
    struct time_limit_options options;
    double longest_step_s;
    double looked_s, longest_gap_s;    /* between two looks: a validation may lie in it */
};

bool time_limit_parse(const char *text, double *seconds)
{
    unsigned days = 0, a, b, c;
    int end = 0;
    const char *dash = strchr(text, '-');
    if (dash) {
        if (sscanf(text, "%u-%n", &days, &end) != 1 || text + end != dash + 1)
            return false;
        text = dash + 1;
    }
    const double whole_days = 86400.0 * days;
    const size_t n = strlen(text);
    if (sscanf(text, "%u:%u:%u%n", &a, &b, &c, &end) == 3 && (size_t)end == n)
        *seconds = whole_days + 3600.0 * a + 60.0 * b + c;
    else if (sscanf(text, "%u:%u%n", &a, &b, &end) == 2 && (size_t)end == n)
        *seconds = dash ? whole_days + 3600.0 * a + 60.0 * b : 60.0 * a + b;
    else if (sscanf(text, "%u%n", &a, &end) == 1 && (size_t)end == n)
        *seconds = dash ? whole_days + 3600.0 * a : 60.0 * a;
    else
        return false;
    return true;
}

static struct error *time_limit_run(void *self, const struct step_report *report)
{
    struct time_limit *t = self;
    const struct time_limit_options *o = &t->options;
    if (report->step_s > t->longest_step_s)
        t->longest_step_s = report->step_s;
    const double now_s = clock_now_s(), measured_s = saver_last_write_s(o->saver);
    if (t->looked_s > 0 && now_s - t->looked_s > t->longest_gap_s)
        t->longest_gap_s = now_s - t->looked_s;
    t->looked_s = now_s;

    /* A save may have to wait for one that is being written. */
    const double save_s = 2 * (measured_s > 0 ? measured_s : o->first_write_s);
    const double steps_s = (double)STEPS_TO_STOP * t->longest_step_s + t->longest_gap_s;
    if (o->end_s - now_s < o->margin_s + save_s + steps_s)
        stop_ask("the time limit");
    return NULL;
}

struct error *time_limit_callback(struct callback *callback,
                                  const struct time_limit_options *options)
{
    struct time_limit *t = calloc(1, sizeof *t);
    if (!t)
        return error_new(ERROR_MEMORY, "no memory for the time limit (%zu bytes)", sizeof *t);
    t->options = *options;
    *callback = (struct callback){
        .name = "time limit", .when = {.every_steps = 1}, .who = RANK_0,
        .run = time_limit_run, .destroy = free, .self = t,
    };
    return NULL;
}
