/* trainer_step.c - a step of the trainer, from its data to its update, queued on the device. */
#include "train/trainer_inside.h"

/* The gradient of a micro-batch, of which backward is under way. */
struct under_way {
    const struct trainer *trainer;
    struct step_slot *slot;
    int micro_batch;
};

/*
 * Whether this rank's gradient is still finite after a micro-batch. What is not finite goes down
 * with the residual stream, so that every position of the embedding's gradient shows it: reading
 * that one tensor finds it for next to nothing.
 */
static void probe(const struct under_way *u)
{
    const struct trainer_parts *p = &u->trainer->parts;
    const struct flat_place *t = flat_layout_find(model_layout(p->model), "position_embedding");
    p->kernels->sum_of_squares(p->device, &(struct sum_of_squares){
        .result = u->slot->probes + u->micro_batch, .x = model_gradients(p->model) + t->offset,
        .count = t->count,
    });
}

/* Of the last micro-batch; the probe comes before other ranks' gradients are added. */
static void begin_buckets(void *self, int64_t first)
{
    const struct under_way *u = self;
    if (first == 0)
        probe(u);
    buckets_ready(u->trainer->parts.buckets, first);
}

/* This rank's share of the global batch: adds to the gradients, begins their sums with the last. */
static void run_micro_batches(struct trainer *t, struct step_slot *slot)
{
    const struct trainer_parts *p = &t->parts;
    model_zero_gradients(p->model);
    for (int i = 0; i < slot->live; i++) {
        struct under_way u = {.trainer = t, .slot = slot, .micro_batch = i};
        const bool last = i == slot->live - 1;
        model_train(p->model, &slot->batches[i], &slot->block->sums.losses,
                    optimizer_gradient_scale(p->optimizer), last ? begin_buckets : NULL, &u);
        if (!last)
            probe(&u);
    }
    if (slot->live == 0)
        buckets_ready(p->buckets, 0);    /* a short global batch left nothing for this rank */
}

/* The same, each micro-batch with a gradient of its own; one without samples has one of zeros. */
static void run_leaves(struct trainer *t, struct step_slot *slot)
{
    const struct trainer_parts *p = &t->parts;
    for (int i = 0; i < slot->micro_batches; i++) {
        model_zero_gradients(p->model);
        if (i < slot->live) {
            const struct under_way u = {.trainer = t, .slot = slot, .micro_batch = i};
            model_train(p->model, &slot->batches[i], &slot->block->sums.losses,
                        optimizer_gradient_scale(p->optimizer), NULL, NULL);
            probe(&u);
        }
        leaf_sums_add(t->leaf_sums, i);
    }
    buckets_ready(p->buckets, 0);
}

static struct error *run_step(struct trainer *t, struct step_slot *slot)
{
    const struct trainer_parts *p = &t->parts;
    if (t->leaf_sums)
        run_leaves(t, slot);
    else
        run_micro_batches(t, slot);
    device_event_record(slot->computed, STREAM_COMPUTE);
    TRY(buckets_finish(p->buckets, (double *)&slot->block->sums,
                       sizeof slot->block->sums / sizeof(double)));
    device_event_record(slot->summed, STREAM_COMPUTE);
    optimizer_update(p->optimizer, &slot->block->sums, &slot->block->rates, &slot->block->plan);
    step_slot_return(slot);
    return NULL;
}

/* The last step of an epoch may be short, on some ranks: so none of them queues it as a graph. */
static bool is_full(const struct trainer *t, int64_t step)
{
    return (step + 1) % t->parts.steps_per_epoch != 0;
}

/* What the feed says of the next step; it may end the run with it, or before it. */
static struct error *hear_feed(struct trainer *t, struct feed_news *news)
{
    const struct feed *feed = &t->parts.feed;
    *news = (struct feed_news){.step = is_full(t, t->queued) ? FEED_WHOLE : FEED_SHORT};
    if (feed->begin_step)
        TRY(feed->begin_step(feed->self, t->failure != NULL, news));
    const bool none = news->step == FEED_NOTHING || news->step == FEED_STOPPED;
    if (none || news->last)
        t->last_step = none ? t->queued : t->queued + 1;
    t->stopped |= news->step == FEED_STOPPED;
    return NULL;
}

/* As run_step, for a full step, in one call once the slot has its graph. Slots differ in their
 * memory, so each has its own. */
static struct error *run_graph(struct trainer *t, struct step_slot *slot)
{
    if (slot->live != slot->micro_batches)
        BUG("a full step has %d of %d micro-batches", slot->live, slot->micro_batches);
    if (!slot->graph) {
        device_graph_begin(t->parts.device);
        struct error *e = run_step(t, slot);
        struct error *end = device_graph_end(t->parts.device, &slot->graph);    /* in any case */
        if (e)
            error_destroy(end);
        else
            e = end;
        if (e)
            return error_context(e, "making a graph of a step; device.graphs=false does without");
    }
    device_graph_launch(slot->graph);
    return NULL;
}

/* Whether a step that is still under way updates the weights is not known: so a rate for each case.
 * A skipped step is none for the schedule, as in Keras. */
static struct update_rates step_rates(const struct trainer *t)
{
    struct update_rates rates = {.first = t->updates};
    for (int k = 0; k <= t->queued - t->step; k++)
        rates.of[k] = optimizer_rate(t->parts.optimizer, t->updates + k,
                                     schedule_learning_rate(t->parts.schedule, t->updates + k));
    return rates;
}

static bool wants_to_stop(const struct trainer *t)
{
    return t->failure || (t->parts.stop_asked && t->parts.stop_asked());
}

struct error *trainer_queue_step(struct trainer *t)
{
    const struct trainer_parts *p = &t->parts;
    struct step_slot *slot = &t->slots[t->queued % SLOTS];
    const struct update_rates rates = step_rates(t);
    struct feed_news news;
    comm_begin_step(p->comm, t->queued + 1);
    device_event_record(slot->begin, STREAM_COMPUTE);
    comm_begin_phase(p->comm, COMM_DATA);
    TRY(hear_feed(t, &news));
    if (t->queued == t->last_step) {
        comm_begin_phase(p->comm, COMM_STEP);
        return NULL;
    }
    TRY(step_slot_fill(slot, &p->feed, &rates, wants_to_stop(t)));
    comm_begin_phase(p->comm, COMM_STEP);
    slot->data_wait_s += news.waited_s;
    const bool full = news.step == FEED_WHOLE;
    TRY(t->parts.graphs && full && t->warm ? run_graph(t, slot) : run_step(t, slot));
    t->warm |= full;
    device_event_record(slot->end, STREAM_COMPUTE);
    t->queued++;
    return device_check(p->device);
}
