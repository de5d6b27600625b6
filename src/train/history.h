/* history.h - a run's validations so far; every checkpoint carries them. */
#ifndef GALLEY_TRAIN_HISTORY_H
#define GALLEY_TRAIN_HISTORY_H

#include "base/error.h"

#include <stdint.h>

struct history_row {
    int64_t step;
    double epoch;
    double validation_loss, validation_perplexity, validation_accuracy;
};

struct history {
    struct history_row *rows;
    int count, capacity;
    double best_perplexity;    /* infinity before the first validation */
    int64_t best_step;         /* -1 before it */
};

void history_init(struct history *history);
void history_release(struct history *history);
MUST_USE struct error *history_add(struct history *history, const struct history_row *row);

#endif
