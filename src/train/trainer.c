/*
 * trainer.c - the loop: micro-batches, gradients summed over ranks, one update, callbacks.
 *
 * Nothing is allocated between two callbacks.
 */
#include "train/trainer.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

struct trainer {
    struct trainer_parts parts;
    int64_t step;               /* steps done */
    int64_t samples, tokens;
    float *weights_on_host;     /* for the comparison of ranks */
};

/* What ranks add up beside the gradients. Doubles: counts are exact up to 2^53. */
enum { SUM_LOSS, SUM_LOSS_TOKENS, SUM_METRIC_LOSS, SUM_METRIC_TOKENS, SUM_CORRECT, SUM_SAMPLES };

struct error *trainer_create(struct trainer **out, const struct trainer_parts *parts,
                             const struct trainer_start *start)
{
    const size_t bytes =
        (size_t)model_parameters(parts->model)->flat_count * sizeof(float);
    struct trainer *t = calloc(1, sizeof *t);
    if (!t)
        return error_new(ERROR_MEMORY, "no memory for the trainer (%zu bytes)", sizeof *t);
    t->parts = *parts;
    t->step = start->step;
    t->samples = start->samples;
    t->tokens = start->tokens;
    if (parts->check_every_steps > 0) {
        void *memory;
        struct error *e =
            device_allocate_host(parts->device, &memory, bytes, "weights to compare");
        if (e) {
            free(t);
            return e;
        }
        t->weights_on_host = memory;
    }
    *out = t;
    return NULL;
}

void trainer_destroy(struct trainer *trainer)
{
    if (!trainer)
        return;
    device_release(trainer->parts.device, trainer->weights_on_host);
    free(trainer);
}

static void begin_buckets(void *self, int64_t first)
{
    buckets_ready(self, first);
}

/* This rank's share of the global batch: adds to the gradients, begins their sums with the last. */
static struct error *run_micro_batches(struct trainer *t, struct loss_sums *sums, double *samples,
                                       double *waited_s)
{
    const struct trainer_parts *p = &t->parts;
    model_zero_gradients(p->model);
    for (int micro = 0; micro < p->micro_batches; micro++) {
        const bool last = micro == p->micro_batches - 1;
        struct batch batch;
        double wait_s = 0;
        TRY(stream_read(p->stream, &batch, &wait_s));
        *waited_s += wait_s;
        if (batch.rows < 0)
            BUG("the stream ended before step %lld", (long long)p->last_step);
        *samples += batch.rows;
        if (batch.rows > 0)
            TRY(model_train(p->model, &batch, sums, last ? begin_buckets : NULL, p->buckets));
        else if (last)
            buckets_ready(p->buckets, 0);    /* a short global batch left nothing for this rank */
    }
    return NULL;
}

static struct error *train_step(struct trainer *t, struct step_report *report)
{
    const struct trainer_parts *p = &t->parts;
    const double start_s = clock_now_s();
    struct loss_sums mine = {0};
    double samples = 0, data_wait_s = 0, comm_wait_s = 0;
    TRY(run_micro_batches(t, &mine, &samples, &data_wait_s));

    /* The sums of loss and counts ride along, so all ranks know the same facts. */
    double sums[BUCKETS_SCALARS] = {
        [SUM_LOSS] = mine.loss,
        [SUM_LOSS_TOKENS] = mine.loss_tokens,
        [SUM_METRIC_LOSS] = mine.metric_loss,
        [SUM_METRIC_TOKENS] = mine.metric_tokens,
        [SUM_CORRECT] = mine.correct,
        [SUM_SAMPLES] = samples,
    };
    TRY(buckets_finish(p->buckets, sums, &comm_wait_s));

    /* Divide once, by the global count: a mean of per-rank means is wrong when masks differ. The count
     * is not 0: every sample has at least the start token. */
    const double mean = 1.0 / sums[SUM_LOSS_TOKENS];
    const double learning_rate = schedule_learning_rate(p->schedule, t->step);
    double norm;
    TRY(optimizer_step(p->optimizer, t->step, learning_rate, mean, &norm));

    const int64_t epoch = t->step / p->steps_per_epoch;
    t->step++;    /* only now: a checkpoint's cursor always names a whole step */
    t->samples += (int64_t)sums[SUM_SAMPLES];
    t->tokens += (int64_t)sums[SUM_LOSS_TOKENS];
    *report = (struct step_report){
        .step = t->step,
        .epoch = epoch,
        .step_in_epoch = t->step - epoch * p->steps_per_epoch,
        .steps_per_epoch = p->steps_per_epoch,
        .last_step = p->last_step,
        .samples = t->samples,
        .tokens = t->tokens,
        .loss = mean * sums[SUM_LOSS],
        .perplexity = sums[SUM_METRIC_TOKENS] > 0
                          ? exp(sums[SUM_METRIC_LOSS] / sums[SUM_METRIC_TOKENS])
                          : 0,
        .accuracy = mean * sums[SUM_CORRECT],
        .learning_rate = learning_rate,
        .grad_norm = norm,
        .step_tokens = (int64_t)sums[SUM_LOSS_TOKENS],
        .step_s = clock_now_s() - start_s,
        .data_wait_s = data_wait_s,
        .comm_wait_s = comm_wait_s,
        .end_of_epoch = t->step % p->steps_per_epoch == 0,
        .last = t->step >= p->last_step,
    };
    return NULL;
}

/* Replicas that drifted apart would train on silently: so now and then all ranks compare a hash. */
static struct error *check_replicas(struct trainer *t)
{
    const struct trainer_parts *p = &t->parts;
    if (p->check_every_steps == 0 || t->step % p->check_every_steps != 0)
        return NULL;
    const size_t bytes = (size_t)model_parameters(p->model)->flat_count * sizeof(float);
    device_copy_out(p->device, t->weights_on_host, model_weights(p->model), bytes);
    TRY(device_synchronize(p->device));
    return comm_check_equal(p->comm, "the model's parameters",
                            XXH3_64bits(t->weights_on_host, bytes));
}

static struct error *run_callbacks(struct trainer *t, const struct step_report *report)
{
    for (int i = 0; i < t->parts.callback_count; i++) {
        const struct callback *c = &t->parts.callbacks[i];
        if (!cadence_due(&c->when, report))
            continue;
        if (c->who == RANK_0 && comm_rank(t->parts.comm) != 0)
            continue;
        struct error *e = c->run(c->self, report);
        if (e)
            return error_context(e, "%s after step %lld", c->name, (long long)report->step);
    }
    return NULL;
}

struct error *trainer_run(struct trainer *trainer)
{
    struct trainer *t = trainer;
    const struct trainer_parts *p = &t->parts;
    struct step_report report = {
        .step = t->step, .steps_per_epoch = p->steps_per_epoch, .last_step = p->last_step,
        .samples = t->samples, .tokens = t->tokens, .last = t->step >= p->last_step,
    };
    if (t->step == 0)
        TRY(run_callbacks(t, &report));    /* the untrained model: the baseline */
    while (!report.last) {
        TRY(train_step(t, &report));
        TRY(check_replicas(t));
        TRY(run_callbacks(t, &report));
    }
    return NULL;
}
