/* schedule.c - constant, polynomial and cosine learning rates, after a linear warm-up. */
#include "train/schedule.h"

#include <math.h>
#include <string.h>

struct error *schedule_parse(enum schedule_kind *out, const char *name)
{
    static const char *const names[] = {"constant", "polynomial", "cosine"};
    for (int i = 0; i < 3; i++) {
        if (!strcmp(names[i], name)) {
            *out = (enum schedule_kind)i;
            return NULL;
        }
    }
    return error_new(ERROR_USAGE, "no schedule \"%s\"; there are: constant, polynomial, cosine",
                     name);
}

double schedule_learning_rate(const struct schedule *schedule, int64_t step)
{
    const struct schedule *s = schedule;
    if (step < s->warmup_steps)
        return s->learning_rate * (double)(step + 1) / (double)s->warmup_steps;

    const double range = s->learning_rate - s->end_learning_rate;
    const int64_t decay = s->decay_steps - s->warmup_steps;
    const int64_t done = step - s->warmup_steps;
    const double share = done < decay ? (double)done / (double)decay : 1.0;
    switch (s->kind) {
    case SCHEDULE_POLYNOMIAL:
        return range * pow(1.0 - share, s->power) + s->end_learning_rate;
    case SCHEDULE_COSINE:
        return range * 0.5 * (1.0 + cos(3.14159265358979323846 * share)) + s->end_learning_rate;
    case SCHEDULE_CONSTANT:
        break;
    }
    return s->learning_rate;
}
