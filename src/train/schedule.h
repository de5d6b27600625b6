/* schedule.h - the learning rate of every step, a pure function of the step. */
#ifndef GALLEY_TRAIN_SCHEDULE_H
#define GALLEY_TRAIN_SCHEDULE_H

#include "base/error.h"

#include <stdint.h>

enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_POLYNOMIAL, SCHEDULE_COSINE };

struct schedule {
    enum schedule_kind kind;
    double learning_rate;        /* at the top */
    double end_learning_rate;    /* where polynomial and cosine end */
    double power;                /* of the polynomial; 1 is linear */
    int64_t warmup_steps;        /* rises linearly to the top over so many steps, first of all */
    int64_t decay_steps;         /* steps from the start of the run to the end of the decay */
};

MUST_USE struct error *schedule_parse(enum schedule_kind *out, const char *name);

/*
 * The rate of the update that makes step `step` + 1 out of step `step` (the first is step 0). With
 * s = min(step - warmup_steps, D) / D, D = decay_steps - warmup_steps:
 * polynomial: (top - end) * (1 - s)^power + end, as Keras's PolynomialDecay without cycle;
 * cosine: (top - end) * (1 + cos(pi s)) / 2 + end. Source: Loshchilov & Hutter 2017, without
 * restarts. Warm-up: top * (step + 1) / warmup_steps, so that no step is wasted on a rate of 0.
 */
double schedule_learning_rate(const struct schedule *schedule, int64_t step);

#endif
