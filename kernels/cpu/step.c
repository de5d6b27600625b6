/* step.c - a step's scalars: the sums of its losses, and how its update goes. */
#include "kernels/cpu/cpu.h"
#include "kernels/update_judgement.h"

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
        device_fail(device, error_new(ERROR_DEVICE, "in kernel plan_update: rates from update %lld "
                                      "on, not for update %lld", (long long)a->rates->first,
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
