/*
 * update_judgement.h - whether a step updates the model, and what it leaves behind for the next:
 * the same functions for every back-end, on whose device they run.
 */
#ifndef GALLEY_KERNELS_UPDATE_JUDGEMENT_H
#define GALLEY_KERNELS_UPDATE_JUDGEMENT_H

#include "base/inline.h"
#include "kernels/kernels.h"

#include <float.h>
#include <math.h>

/* An infinite gradient halves the scale; steps skipped for another reason say nothing about it. */
INLINE_EVERYWHERE void adapt_loss_scale(struct update_state *s, enum update_skip skip,
                                        int64_t growth_steps)
{
    if (skip == SKIP_OVERFLOW) {
        s->loss_scale *= 0.5;
        s->finite_steps = 0;
    } else if (skip != SKIP_NOT_FINITE && ++s->finite_steps == growth_steps) {
        s->loss_scale *= 2;
        s->finite_steps = 0;
    }
}

INLINE_EVERYWHERE double sigmas_above(const double *window, int64_t n, double value)
{
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < n; i++)
        mean += window[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += (window[i] - mean) * (window[i] - mean);
    const double sigma = sqrt(squares / (double)n);
    return sigma > 0 ? (value - mean) / sigma : 0;
}

/* Judges a finite step by those before it, and takes it in. */
INLINE_EVERYWHERE void watch_spikes(struct spike_window *w, double loss, struct update_plan *plan)
{
    if (w->length == 0)
        return;
    if (w->steps >= w->length) {
        plan->loss_sigmas = sigmas_above(w->loss, w->length, loss);
        plan->norm_sigmas = sigmas_above(w->norm, w->length, plan->norm);
    }
    w->loss[w->steps % w->length] = loss;
    w->norm[w->steps % w->length] = plan->norm;
    w->steps++;
}

INLINE_EVERYWHERE enum update_skip judge(const struct plan_update *a, double loss,
                                         struct update_plan *plan)
{
    struct update_state *s = a->state;
    const double largest = (double)FLT_MAX;
    if (!(isfinite(loss) && plan->norm * plan->norm < largest &&
          (!a->sums_squares || *a->squares < largest))) {
        const bool scaled = a->growth_steps > 0 && s->loss_scale >= LOSS_SCALE_LEAST;
        return scaled && isfinite(loss) ? SKIP_OVERFLOW : SKIP_NOT_FINITE;
    }
    watch_spikes(&s->spikes, loss, plan);
    const double k = a->spike_sigma;
    return k > 0 && (plan->loss_sigmas > k || plan->norm_sigmas > k) ? SKIP_SPIKE : SKIP_NONE;
}

#endif
