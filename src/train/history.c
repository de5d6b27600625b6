/* history.c - a growing list of validations and the best of them. */
#include "train/history.h"

#include <math.h>
#include <stdlib.h>

void history_init(struct history *history)
{
    *history = (struct history){.best_perplexity = INFINITY, .best_step = -1};
}

void history_release(struct history *history)
{
    free(history->rows);
    history->rows = NULL;
}

struct error *history_add(struct history *history, const struct history_row *row)
{
    if (history->count == history->capacity) {
        const int capacity = history->capacity > 0 ? 2 * history->capacity : 64;
        struct history_row *rows = realloc(history->rows, (size_t)capacity * sizeof *rows);
        if (!rows)
            return error_new(ERROR_MEMORY, "no memory for %d validations", capacity);
        history->rows = rows;
        history->capacity = capacity;
    }
    history->rows[history->count++] = *row;
    if (row->validation_perplexity < history->best_perplexity) {
        history->best_perplexity = row->validation_perplexity;
        history->best_step = row->step;
    }
    return NULL;
}
