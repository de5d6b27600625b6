/*
 * trainer.c - the loop: steps, their reports, callbacks.
 *
 *     fill slot  ->  queue step s  ->  read the report of s - steps_ahead  ->  callbacks
 *
 * What all ranks must do alike (end, stop, roll back) follows from reports, and those are the same
 * on every rank, and read at the same time: also a rank that has no callback to run waits for a
 * step that another one's callback needs exactly. So what a report asks for may be collective. A
 * wish to stop that the report of step s carries ends the run after step s + steps_ahead, which may
 * be queued by then, and a rollback waits for it. A feed that ends says so before a step, to all
 * ranks alike. What fails on rank 0 alone, a full disk say, rides with the next step as its wish to
 * stop.
 *
 * Nothing is allocated between two callbacks.
 */
#include "train/trainer_inside.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>

static struct error *allocate(struct trainer *t)
{
    const struct trainer_parts *p = &t->parts;
    void *memory;
    for (int i = 0; i < SLOTS; i++)
        TRY(step_slot_open(&t->slots[i], p->device, p->micro_batches, p->micro_batch, p->T));
    TRY(device_allocate(p->device, &memory, sizeof *t->checksum, "a checksum"));
    t->checksum = memory;
    TRY(device_allocate_host(p->device, &memory, sizeof *t->checksum, "a checksum on the host"));
    t->checksum_on_host = memory;
    return p->reproducible ? leaf_sums_create(&t->leaf_sums, p->device, p->kernels, p->model,
                                              p->micro_batches) : NULL;
}

struct error *trainer_create(struct trainer **out, const struct trainer_parts *parts,
                             const struct trainer_start *start)
{
    if (parts->steps_ahead < 0 || parts->steps_ahead > MOST_AHEAD)
        BUG("%d steps ahead, at most %d", parts->steps_ahead, MOST_AHEAD);
    struct trainer *t = calloc(1, sizeof *t);
    if (!t)
        return error_new(ERROR_MEMORY, "no memory for the trainer (%zu bytes)", sizeof *t);
    t->parts = *parts;
    t->queued = t->step = start->step;
    t->updates = start->updates;
    t->samples = start->samples;
    t->tokens = start->tokens;
    t->last_step = parts->last_step;
    struct error *e = allocate(t);
    if (e) {
        trainer_destroy(t);
        return e;
    }
    *out = t;
    return NULL;
}

void trainer_destroy(struct trainer *trainer)
{
    if (!trainer)
        return;
    for (int i = 0; i < SLOTS; i++)
        step_slot_close(&trainer->slots[i]);
    device_release(trainer->parts.device, trainer->checksum);
    device_release(trainer->parts.device, trainer->checksum_on_host);
    leaf_sums_destroy(trainer->leaf_sums);
    error_destroy(trainer->failure);
    free(trainer);
}

/* ---- reports ---- */

/* What is known of a step before its report was read. */
static struct step_report expect_report(const struct trainer *t, int64_t step)
{
    const int64_t epoch = step > 0 ? (step - 1) / t->parts.steps_per_epoch : 0;
    return (struct step_report){
        .step = step,
        .epoch = epoch,
        .step_in_epoch = step - epoch * t->parts.steps_per_epoch,
        .steps_per_epoch = t->parts.steps_per_epoch,
        .last_step = t->parts.last_step,
        .end_of_epoch = step > 0 && step % t->parts.steps_per_epoch == 0,
        .last = step >= t->last_step,
        .stopped = step >= t->last_step && t->stopped,
    };
}

/* A sum that came to grief on another rank would never end here. */
static struct error *wait_for(const struct trainer *t, struct device_event *event)
{
    struct error *e = NULL;
    if (device_event_done(event))
        return device_check(t->parts.device);
    comm_begin_wait(t->parts.comm, "the device's work on a step");
    while (!e && !device_event_done(event)) {
        e = buckets_check(t->parts.buckets);
        sched_yield();
    }
    comm_end_wait(t->parts.comm);
    return e ? e : device_check(t->parts.device);
}

/* Divides once, by the global count: a mean of per-rank means is wrong when masks differ. */
static void fill_report(struct step_report *report, const struct trainer *t,
                        const struct step_slot *slot)
{
    const struct loss_sums *s = &slot->result->sums.losses;
    const double mean = loss_mean_factor(s, slot->result->sums.samples, t->parts.sample_positions);
    report->samples = t->samples;
    report->tokens = t->tokens;
    report->loss = mean * s->loss;
    report->perplexity = s->metric_tokens > 0 ? exp(s->metric_loss / s->metric_tokens) : 0;
    report->accuracy = s->loss_tokens > 0 ? s->correct / s->loss_tokens : 0;
    report->learning_rate = schedule_learning_rate(t->parts.schedule, t->updates);
    report->grad_norm = slot->result->plan.norm;
    report->loss_scale = slot->result->plan.loss_scale;
    report->skip = (enum update_skip)slot->result->plan.skip;
    report->loss_sigmas = slot->result->plan.loss_sigmas;
    report->norm_sigmas = slot->result->plan.norm_sigmas;
    report->step_tokens = (int64_t)s->loss_tokens;
    report->step_s = device_event_seconds(slot->begin, slot->end);
    report->compute_s = device_event_seconds(slot->filled, slot->computed);
    report->data_wait_s = slot->data_wait_s;
    report->comm_wait_s = device_event_seconds(slot->computed, slot->summed);
}

/* Takes in the report of the step after t->step. */
static struct error *read_report(struct trainer *t, struct step_report *report)
{
    const struct step_slot *slot = &t->slots[t->step % SLOTS];
    TRY(wait_for(t, slot->end));
    const struct step_block *result = slot->result;
    t->step++;
    t->samples += (int64_t)result->sums.samples;
    t->tokens += (int64_t)result->sums.losses.loss_tokens;
    if (result->sums.stop_votes > 0 && t->step + t->parts.steps_ahead < t->last_step) {
        t->last_step = t->step + t->parts.steps_ahead;
        t->stopped = true;
    }
    *report = expect_report(t, t->step);
    t->told_stop |= report->stopped;
    fill_report(report, t, slot);
    t->updates += report->skip == SKIP_NONE;
    return NULL;
}

/* ---- a step that updated nothing ---- */

static struct guard_suspect find_suspect(const struct trainer *t, int64_t step)
{
    const struct step_slot *slot = &t->slots[(step - 1) % SLOTS];
    for (int i = 0; i < slot->live; i++)
        if (!isfinite(slot->probed[i]))
            return (struct guard_suspect){
                .micro_batch = i, .samples = slot->samples + (ptrdiff_t)i * t->parts.micro_batch};
    return (struct guard_suspect){.micro_batch = -1};
}

static struct error *judge(struct trainer *t, const struct step_report *report, bool *roll_back)
{
    const struct guard_suspect suspect = find_suspect(t, report->step);
    return guard_judge(t->parts.guard, report, &suspect, roll_back);
}

/* Takes the model back to the last checkpoint, but goes on with the global batch after the last one
 * queued. `*report` becomes that of this one; nobody hears of those between. */
static struct error *roll_back(struct trainer *t, struct step_report *report)
{
    struct trainer_start start;
    bool again;
    const int64_t ahead = report->step + t->parts.steps_ahead;
    const int64_t last = ahead < t->last_step ? ahead : t->last_step;
    while (t->queued < last && t->queued < t->last_step)
        TRY(trainer_queue_step(t));
    while (t->step < t->queued) {
        TRY(read_report(t, report));
        TRY(judge(t, report, &again));
    }
    comm_begin_phase(t->parts.comm, COMM_INIT);
    TRY(t->parts.roll_back(t->parts.roll_back_self, &start));
    t->updates = start.updates;
    return NULL;
}

/* Replicas that drifted apart would train on silently: so now and then all ranks compare a hash. */
static bool check_is_due(const struct trainer *t, int64_t step)
{
    const int64_t every = t->parts.check_every_steps;
    return every > 0 && step > 0 && step % every == 0;
}

static struct error *check_replicas(struct trainer *t)
{
    const struct trainer_parts *p = &t->parts;
    p->kernels->checksum(p->device, &(struct checksum){
        .result = t->checksum, .x = model_weights(p->model),
        .count = model_layout(p->model)->flat_count,
    });
    device_copy_out(p->device, t->checksum_on_host, t->checksum, sizeof *t->checksum);
    TRY(device_synchronize(p->device));
    struct error *e =
        comm_check_equal(p->comm, "the model's parameters", *t->checksum_on_host);
    return e ? error_context(e, "after step %lld; start the same command again, to go on from the "
                             "last checkpoint", (long long)t->step) : NULL;
}

static bool runs_here(const struct trainer *t, const struct callback *c)
{
    return c->who == EVERY_RANK || comm_rank(t->parts.comm) == 0;
}

/* An error of what this rank runs alone is kept: it asks all ranks to stop, which then end with it
 * together. */
static struct error *run_callback(struct trainer *t, const struct callback *c,
                                  const struct step_report *report)
{
    if (c->phase)
        comm_begin_phase(t->parts.comm, c->phase);
    struct error *e = c->run(c->self, report);
    if (e && c->who == EVERY_RANK)
        return error_context(e, "%s after step %lld", c->name, (long long)report->step);
    if (!t->failure)
        t->failure = e;
    else
        error_destroy(e);
    return NULL;
}

static struct error *run_callbacks(struct trainer *t, const struct step_report *report)
{
    for (int i = 0; i < t->parts.callback_count; i++) {
        const struct callback *c = &t->parts.callbacks[i];
        if (runs_here(t, c) && cadence_due(&c->when, report))
            TRY(run_callback(t, c, report));
    }
    return NULL;
}

/* Until at most `ahead` reports are still to come. */
static struct error *read_reports(struct trainer *t, int ahead)
{
    while (t->queued - t->step > ahead) {
        struct step_report report;
        bool back = false;
        TRY(read_report(t, &report));
        TRY(judge(t, &report, &back));
        if (back)
            TRY(roll_back(t, &report));
        if (check_is_due(t, t->step))
            TRY(check_replicas(t));
        TRY(run_callbacks(t, &report));
    }
    return NULL;
}

/* Whether something needs the model as the step queued last leaves it. */
static bool must_be_exact(const struct trainer *t)
{
    const struct step_report report = expect_report(t, t->queued);
    bool exact = report.last || check_is_due(t, report.step);
    for (int i = 0; i < t->parts.callback_count; i++) {
        const struct callback *c = &t->parts.callbacks[i];
        exact |= cadence_due(&c->exact, &report);
    }
    return exact;
}

/* ---- the run ---- */

/* The wish to stop came when the last step had been told of as one like others: what is there to
 * save it runs once more. */
static struct error *save_after_all(struct trainer *t)
{
    struct step_report report = expect_report(t, t->step);
    report.samples = t->samples;
    report.tokens = t->tokens;
    for (int i = 0; i < t->parts.callback_count; i++) {
        const struct callback *c = &t->parts.callbacks[i];
        if (runs_here(t, c) && c->exact.at_stop)
            TRY(run_callback(t, c, &report));
    }
    return NULL;
}

static struct error *run(struct trainer *t)
{
    if (t->step == 0) {
        const struct step_report report = expect_report(t, 0);
        TRY(run_callbacks(t, &report));    /* the untrained model: the baseline */
    }
    while (t->queued < t->last_step) {
        TRY(trainer_queue_step(t));
        TRY(read_reports(t, t->parts.steps_ahead));
        if (must_be_exact(t))
            TRY(read_reports(t, 0));
    }
    if (t->stopped && !t->told_stop)
        TRY(save_after_all(t));
    struct error *e = t->failure;
    t->failure = NULL;
    return comm_agree(t->parts.comm, e);
}

struct error *trainer_run(struct trainer *trainer)
{
    struct error *e = run(trainer);
    /* Whoever closes the sums over ranks next must not wait for graphs that hold some: NCCL would,
     * for ever. */
    for (int i = 0; i < SLOTS; i++)
        step_slot_drop_graph(&trainer->slots[i]);
    return e;
}

bool trainer_stopped(const struct trainer *trainer)
{
    return trainer->stopped;
}
