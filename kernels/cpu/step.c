/* step.c - a step's scalars: the sums of its losses, and how its update goes. */
#include "kernels/cpu/cpu.h"

#include <float.h>
#include <math.h>

void cpu_sum_losses(struct device *device, enum dtype act, const struct sum_losses *a)
{
    (void)device;
    (void)act;
    struct loss_sums *s = a->sums;
    for (int64_t n = 0; n < a->N; n++) {
        const double loss = rint((double)a->losses[n] / LOSS_UNIT) * LOSS_UNIT;
        if (a->loss_mask[n]) {
            s->loss += loss;
            s->loss_tokens++;
            s->correct += a->correct[n];
        }
        if (a->metric_mask[n]) {
            s->metric_loss += loss;
            s->metric_tokens++;
        }
    }
}

/* An infinite gradient halves the scale; steps skipped for another reason say nothing about it. */
static void adapt_loss_scale(struct update_state *s, enum update_skip skip, int64_t growth_steps)
{
    if (skip == SKIP_OVERFLOW) {
        s->loss_scale *= 0.5;
        s->finite_steps = 0;
    } else if (skip != SKIP_NOT_FINITE && ++s->finite_steps == growth_steps) {
        s->loss_scale *= 2;
        s->finite_steps = 0;
    }
}

static double sigmas_above(const double *window, int64_t n, double value)
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
static void watch_spikes(struct spike_window *w, double loss, struct update_plan *plan)
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

static enum update_skip judge(const struct plan_update *a, double loss, struct update_plan *plan)
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

void cpu_plan_update(struct device *device, enum dtype act, const struct plan_update *a)
{
    (void)act;
    struct update_state *s = a->state;
    const double each = loss_mean_factor(&a->sums->losses, a->sums->samples, a->sample_positions);
    const double mean = each / (double)s->gradient_scale;
    const double norm = sqrt(*a->squares) * mean;
    const double clip = a->clip_norm > 0 && norm > a->clip_norm ? a->clip_norm / norm : 1.0;
    const int64_t k = s->updates - a->rates->first;
    if (k < 0 || k >= UPDATE_RATES) {
        device_fail(device, error_new(ERROR_DEVICE, "in kernel plan_update: rates from update %lld on, "
                                      "not for update %lld", (long long)a->rates->first,
                                      (long long)s->updates));
        return;
    }
    *a->plan = (struct update_plan){
        .norm = norm, .loss_scale = s->loss_scale, .gradient_scale = (float)(mean * clip),
        .alpha = a->rates->of[k].alpha, .decay = a->rates->of[k].decay,
    };
    const enum update_skip skip = judge(a, each * a->sums->losses.loss, a->plan);
    a->plan->skip = (int32_t)skip;
    s->updates += skip == SKIP_NONE;
    if (a->growth_steps > 0) {
        adapt_loss_scale(s, skip, a->growth_steps);
        s->gradient_scale = (float)(s->loss_scale / a->scale_divisor);
    }
}
