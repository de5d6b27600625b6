/* step.cu - a step's scalars, in device memory: the sums of its losses, and how its update goes. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/update_judgement.h"

namespace {

constexpr int THREADS = 1024;

__global__ void sum_losses_kernel(struct loss_sums *sums, const float *losses,
                                  const uint8_t *correct, const uint8_t *loss_mask,
                                  const uint8_t *metric_mask, int64_t N)
{
    __shared__ double slots[5][WARP];
    struct loss_sums mine = {};
    for (int64_t n = threadIdx.x; n < N; n += THREADS) {
        const double loss = rint((double)losses[n] / LOSS_UNIT) * LOSS_UNIT;
        if (loss_mask[n]) {
            mine.loss += loss;
            mine.loss_tokens++;
            mine.correct += correct[n];
        }
        if (metric_mask[n]) {
            mine.metric_loss += loss;
            mine.metric_tokens++;
        }
    }
    mine.loss = block_sum(mine.loss, slots[0]);
    mine.loss_tokens = block_sum(mine.loss_tokens, slots[1]);
    mine.metric_loss = block_sum(mine.metric_loss, slots[2]);
    mine.metric_tokens = block_sum(mine.metric_tokens, slots[3]);
    mine.correct = block_sum(mine.correct, slots[4]);
    if (threadIdx.x == 0) {
        sums->loss += mine.loss;
        sums->loss_tokens += mine.loss_tokens;
        sums->metric_loss += mine.metric_loss;
        sums->metric_tokens += mine.metric_tokens;
        sums->correct += mine.correct;
    }
}

/* One thread. An update that `rates` does not hold is not done: its norm is not a number. */
__global__ void plan_update_kernel(struct plan_update a)
{
    struct update_state *s = a.state;
    const double each = loss_mean_factor(&a.sums->losses, a.sums->samples, a.sample_positions);
    const double mean = each / (double)s->gradient_scale;
    const int64_t k = s->updates - a.rates->first;
    const bool known = k >= 0 && k < UPDATE_RATES;
    const double norm = known ? sqrt(*a.squares) * mean : (double)NAN;
    const double clip = a.clip_norm > 0 && norm > a.clip_norm ? a.clip_norm / norm : 1.0;
    struct update_plan plan = {};
    plan.norm = norm;
    plan.loss_scale = s->loss_scale;
    plan.gradient_scale = (float)(mean * clip);
    plan.alpha = known ? a.rates->of[k].alpha : 0.0f;
    plan.decay = known ? a.rates->of[k].decay : 0.0f;
    const enum update_skip skip = judge(&a, each * a.sums->losses.loss, &plan);
    plan.skip = (int32_t)skip;
    *a.plan = plan;
    s->updates += skip == SKIP_NONE;
    if (a.growth_steps > 0) {
        adapt_loss_scale(s, skip, a.growth_steps);
        s->gradient_scale = (float)(s->loss_scale / a.scale_divisor);
    }
}

} // namespace

void cuda_sum_losses(struct device *device, enum dtype, const struct sum_losses *a)
{
    cuda_launched(device,
                  launch(device_cuda_stream(device), dim3(1), dim3(THREADS), 0, sum_losses_kernel,
                         a->sums, a->losses, a->correct, a->loss_mask, a->metric_mask, a->N),
                  "sum_losses", "%lld rows", (long long)a->N);
}

void cuda_plan_update(struct device *device, enum dtype, const struct plan_update *a)
{
    cuda_launched(device,
                  launch(device_cuda_stream(device), dim3(1), dim3(1), 0, plan_update_kernel, *a),
                  "plan_update", "one step");
}
