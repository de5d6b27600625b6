/* test_trainer.c - the loop: reports that are read late say the same, a gradient that is not finite
 * changes nothing and is skipped or rolled back as asked, a wish to stop ends the run, as does the
 * end of the data. The data is made up here. */
#include "testing.h"

#include "train/trainer.h"

enum { B = 4, T = 8, N = B * T, V = 31, PER_EPOCH = 5, STEPS = 12, MICRO = 2 };

static struct comm *comm;

/* ---- a feed without files ---- */

static int64_t reads;
/* A token whose embedding is not finite stands in these steps' (from 0) second micro-batch. */
enum { POISON = V - 1 };
static uint32_t poisoned_steps;

/* Of 2 micro-batches a step; the last step of an epoch has 2 samples only, and none in the
 * second. */
static struct error *read_made_up(void *self, struct batch *batch, double *waited_s)
{
    static int32_t tokens[N], targets[N];
    static uint8_t mask[N];
    static int64_t samples[B];
    (void)self;
    const int64_t step = reads / MICRO, micro = reads % MICRO;
    const bool is_short = (step + 1) % PER_EPOCH == 0;
    const int rows = is_short ? (micro == 0 ? 2 : 0) : B;
    for (int i = 0; i < N; i++) {
        const bool live = i < rows * T;
        tokens[i] = live ? (int32_t)(1 + (reads * 7 + i * 5) % (V - 2)) : 0;
        targets[i] = live ? (int32_t)(1 + (reads * 3 + i * 11) % (V - 2)) : 0;
        mask[i] = live;
    }
    if (micro == 1 && poisoned_steps >> step & 1)
        tokens[T + 3] = POISON;
    for (int b = 0; b < B; b++)
        samples[b] = reads * 100 + b;
    *batch = (struct batch){
        .B = B, .T = T, .rows = rows, .samples = samples, .tokens = tokens, .targets = targets,
        .key_mask = mask,
        .loss_mask = mask, .metric_mask = mask, .step = step,
    };
    *waited_s = 0;
    reads++;
    return NULL;
}

/* What a feed of unknown length says; its step 7 is the last one in these ways. */
enum ending { TOLD_BEFORE, TOLD_AFTER, STOPPED_AFTER };
enum { LAST = 7 };

static struct error *begin_made_up(void *self, bool stop, struct feed_news *news)
{
    const enum ending ending = *(const enum ending *)self;
    const int64_t step = reads / MICRO;
    (void)stop;
    news->last = ending == TOLD_BEFORE && step == LAST - 1;
    if (ending != TOLD_BEFORE && step == LAST)
        news->step = ending == TOLD_AFTER ? FEED_NOTHING : FEED_STOPPED;
    return NULL;
}

/* ---- a run ---- */

struct rig {
    struct device *device;
    const struct kernels *kernels;
    struct model *model;
    struct optimizer *optimizer;
    struct buckets *buckets;
    struct step_report reports[STEPS];    /* as a callback that may be late heard them */
    int heard;
    bool exact_is_exact;                  /* the other callback saw the weights it should */
    int64_t exact_seen, exact_step;
    float *last, *weights;                /* host memory */
    size_t bytes;
    float *kept;                          /* the weights of step KEPT, to roll back to */
    int rolled_back;
    struct guard_counts counts;           /* at the end */
};
enum { KEPT = 3 };

static void rig_open(struct rig *r, int64_t scaled_positions)
{
    const struct model_spec spec = {
        .family = MODEL_MINI_GPT, .V = V, .positions = T, .C = 12, .NH = 2, .F = 10, .L = 2};
    int64_t count;
    *r = (struct rig){.exact_is_exact = true};
    assert_ok(device_open(&r->device, &(struct device_options){.kind = "cpu", .threads = 1}));
    assert_ok(kernels_for(&r->kernels, r->device, DTYPE_F32));
    assert_ok(model_create(&r->model, r->device, r->kernels, &spec,
                           &(struct model_options){.B = B, .T = T, .training = true}));
    assert_ok(optimizer_create(&r->optimizer, r->device, r->kernels, r->model,
                               &(struct optimizer_options){
        .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-7, .scaled_positions = scaled_positions}));
    float *summed = model_summed(r->model, &count);
    assert_ok(buckets_create(&r->buckets, comm, r->device, summed, count, 4096, false));
    r->bytes = (size_t)model_parameters(r->model)->flat_count * sizeof(float);
    r->weights = malloc(r->bytes);
    r->last = malloc(r->bytes);
    r->kept = malloc(r->bytes);
    parameters_initialize(model_parameters(r->model), 3, r->weights);
    memcpy(r->last, r->weights, r->bytes);
    device_copy_in(r->device, model_weights(r->model), r->weights, r->bytes);
    model_weights_changed(r->model);
    reads = 0;
}

static void rig_close(struct rig *r)
{
    buckets_destroy(r->buckets);
    optimizer_destroy(r->optimizer);
    model_destroy(r->model);
    device_close(r->device);
    free(r->weights);
    free(r->last);
    free(r->kept);
}

static void poison(struct rig *r)
{
    const struct parameter *t = parameters_find(model_parameters(r->model), "token_embedding");
    const int64_t C = t->shape[1];
    for (int64_t i = 0; i < C; i++)
        r->weights[t->offset + POISON * C + i] = 3e38f;
    memcpy(r->last, r->weights, r->bytes);
    device_copy_in(r->device, model_weights(r->model), r->weights, r->bytes);
}

static struct error *hear(void *self, const struct step_report *report)
{
    struct rig *r = self;
    if (report->step > 0)
        r->reports[r->heard++] = *report;
    return NULL;
}

/* Runs where the model must be exactly that of the step: nothing beyond it was begun, and a step
 * that was skipped left every bit as it was. */
static struct error *look(void *self, const struct step_report *report)
{
    struct rig *r = self;
    device_copy_out(r->device, r->weights, model_weights(r->model), r->bytes);
    assert_ok(device_synchronize(r->device));
    r->exact_seen++;
    r->exact_step = report->step;
    r->exact_is_exact &= reads == report->step * MICRO;
    if (report->step > 0)
        r->exact_is_exact &= (report->skip != SKIP_NONE) == !memcmp(r->last, r->weights, r->bytes);
    memcpy(r->last, r->weights, r->bytes);
    if (report->step == KEPT)
        memcpy(r->kept, r->weights, r->bytes);
    return NULL;
}

/* To the weights of KEPT; the moments stay, which is another training but as good a test. */
static struct error *roll_back(void *self, struct trainer_start *start)
{
    struct rig *r = self;
    device_copy_in(r->device, model_weights(r->model), r->kept, r->bytes);
    assert_ok(device_synchronize(r->device));
    assert_ok(optimizer_restore(r->optimizer, &(struct update_state){.updates = KEPT}));
    r->rolled_back++;
    *start = (struct trainer_start){.step = KEPT, .updates = KEPT};
    return NULL;
}

static bool stop_now;
static bool stop_asked(void)
{
    return stop_now && reads >= 4 * MICRO;    /* while the fifth step is filled */
}

struct run {
    int steps_ahead;
    int64_t exact_every;    /* steps; 0: only the last */
    const enum ending *ending;    /* of the data; NULL: it has none */
    enum on_nan on_nan;
    int64_t limit;
};

static struct error *run(struct rig *r, const struct run *options, bool *stopped)
{
    static const struct schedule schedule = {.kind = SCHEDULE_POLYNOMIAL, .learning_rate = 0.01,
                                             .power = 1, .decay_steps = STEPS};
    const struct cadence exact = {
        .every_steps = options->exact_every, .at_start = true, .at_end = true, .at_stop = true};
    const struct feed feed = {
        .self = (void *)options->ending, .read = read_made_up,
        .begin_step = options->ending ? begin_made_up : NULL};
    const struct callback callbacks[] = {
        {.name = "late", .when = {.every_steps = 1}, .who = RANK_0, .run = hear, .self = r},
        {.name = "exact", .when = exact, .exact = exact, .who = RANK_0, .run = look, .self = r},
    };
    struct trainer *trainer;
    struct guard *guard;
    assert_ok(guard_create(&guard, &(struct guard_options){
        .comm = comm, .on_nan = options->on_nan, .limit = options->limit, .micro_batch = B}));
    assert_ok(trainer_create(&trainer, &(struct trainer_parts){
        .comm = comm, .device = r->device, .kernels = r->kernels, .model = r->model,
        .optimizer = r->optimizer, .buckets = r->buckets, .feed = feed, .schedule = &schedule,
        .micro_batch = B, .micro_batches = MICRO, .T = T, .steps_per_epoch = PER_EPOCH,
        .last_step = STEPS, .check_every_steps = 3, .steps_ahead = options->steps_ahead,
        .guard = guard, .roll_back = roll_back, .roll_back_self = r, .stop_asked = stop_asked,
        .callbacks = callbacks,
        .callback_count = 2}, &(struct trainer_start){0}));
    struct error *e = trainer_run(trainer);
    *stopped = trainer_stopped(trainer);
    r->counts = *guard_counts(guard);
    trainer_destroy(trainer);
    guard_destroy(guard);
    return e;
}

/* ---- the promises ---- */

static void test_late_reports_say_the_same(void **state)
{
    (void)state;
    struct rig early, late;
    bool stopped;
    rig_open(&early, 0);
    assert_ok(run(&early, &(struct run){.exact_every = 1}, &stopped));
    assert_int_equal(early.exact_seen, STEPS + 1);
    assert_true(early.exact_is_exact);
    for (int64_t every = 0; every <= 4; every += 2) {
        rig_open(&late, 0);
        assert_ok(run(&late, &(struct run){.steps_ahead = 1, .exact_every = every}, &stopped));
        assert_int_equal(late.heard, STEPS);
        assert_false(stopped);
        assert_memory_equal(late.last, early.last, early.bytes);
        for (int i = 0; i < STEPS; i++) {
            const struct step_report *a = &early.reports[i], *b = &late.reports[i];
            assert_true(b->step == i + 1 && b->epoch == i / PER_EPOCH);
            assert_true(a->loss == b->loss && a->grad_norm == b->grad_norm);
            assert_true(a->learning_rate == b->learning_rate && a->samples == b->samples);
            assert_true(a->tokens == b->tokens && a->perplexity == b->perplexity);
            assert_true(a->end_of_epoch == b->end_of_epoch && a->last == b->last);
        }
        rig_close(&late);
    }
    /* 10 full steps of 8 samples, 2 short ones of 2. */
    assert_true(early.reports[STEPS - 1].samples == 84 && early.reports[STEPS - 1].tokens == 84 * T);
    rig_close(&early);
}

static void test_a_gradient_that_is_not_finite_ends_the_run_and_changes_nothing(void **state)
{
    (void)state;
    for (int ahead = 0; ahead <= 1; ahead++) {
        struct rig r;
        bool stopped;
        rig_open(&r, 0);
        for (size_t i = 0; i < r.bytes / sizeof(float); i++)
            r.weights[i] = r.last[i] = NAN;
        device_copy_in(r.device, model_weights(r.model), r.weights, r.bytes);
        assert_fails(run(&r, &(struct run){.steps_ahead = ahead}, &stopped), "is not finite");
        device_copy_out(r.device, r.weights, model_weights(r.model), r.bytes);
        assert_ok(device_synchronize(r.device));
        assert_memory_equal(r.weights, r.last, r.bytes);
        const float *m = optimizer_m(r.optimizer);
        for (size_t i = 0; i < r.bytes / sizeof(float); i++)
            assert_true(m[i] == 0);
        rig_close(&r);
    }
}

/* Steps with the poisoned token leave every bit as it was, and are none for the schedule. */
static void test_steps_that_are_not_finite_are_skipped(void **state)
{
    (void)state;
    poisoned_steps = 1U << 4 | 1U << 5 | 1U << 7;
    for (int ahead = 0; ahead <= 1; ahead++) {
        struct rig r;
        bool stopped;
        rig_open(&r, 0);
        poison(&r);
        const struct run options = {.steps_ahead = ahead, .exact_every = ahead ? 0 : 1,
                                    .on_nan = ON_NAN_SKIP, .limit = 2};
        assert_ok(run(&r, &options, &stopped));
        assert_true(r.exact_is_exact);
        assert_int_equal(r.heard, STEPS);
        for (int i = 0; i < STEPS; i++) {
            const bool bad = i == 5 || i == 7;    /* step 4 is short and has no second micro-batch */
            const int updates = i - (i > 5) - (i > 7);
            assert_true(r.reports[i].skip == (bad ? SKIP_NOT_FINITE : SKIP_NONE));
            assert_true(fabs(r.reports[i].learning_rate -
                             0.01 * (double)(STEPS - updates) / (double)STEPS) < 1e-12);
        }
        assert_true(r.counts.in_a_row == 0 && r.counts.rollbacks == 0);
        for (size_t i = 0; i < r.bytes / sizeof(float); i++)
            assert_true(isfinite(r.last[i]));
        rig_close(&r);
    }
    poisoned_steps = 0;
}

static void test_too_many_in_a_row_end_the_run(void **state)
{
    (void)state;
    poisoned_steps = 1U << 5 | 1U << 6 | 1U << 7;
    for (int ahead = 0; ahead <= 1; ahead++) {
        struct rig r;
        bool stopped;
        rig_open(&r, 0);
        poison(&r);
        assert_fails(run(&r, &(struct run){.steps_ahead = ahead, .on_nan = ON_NAN_SKIP, .limit = 2},
                         &stopped), "step 8 is not finite (loss ");
        assert_true(r.counts.in_a_row == 3);
        rig_close(&r);
    }
    poisoned_steps = 0;
}

static void test_the_micro_batch_to_blame_is_named(void **state)
{
    (void)state;
    poisoned_steps = 1U << 6;
    for (int ahead = 0; ahead <= 1; ahead++) {
        struct rig r;
        bool stopped;
        rig_open(&r, 0);
        poison(&r);
        assert_fails(run(&r, &(struct run){.steps_ahead = ahead}, &stopped),
                     "samples 1300, 1301, 1302, 1303)");    /* of read 13, the second of step 6 */
        rig_close(&r);
    }
    poisoned_steps = 0;
}

/* The model goes back to that of step 3, and on from there with the global batch that comes next;
 * the callbacks hear no more of the steps that are void. */
static void test_a_rollback_goes_on_from_the_checkpoint(void **state)
{
    (void)state;
    poisoned_steps = 1U << 6;
    for (int ahead = 0; ahead <= 1; ahead++)
        for (int64_t every = 0; every <= 1; every++) {
            struct rig r;
            bool stopped;
            rig_open(&r, 0);
            poison(&r);
            memcpy(r.kept, r.weights, r.bytes);
            const struct run options = {.steps_ahead = ahead, .exact_every = every,
                                        .on_nan = ON_NAN_ROLL_BACK, .limit = 1};
            assert_ok(run(&r, &options, &stopped));
            assert_int_equal(r.rolled_back, 1);
            assert_int_equal(r.counts.rollbacks, 1);
            assert_int_equal(r.heard, STEPS - ahead);
            const struct step_report *next = &r.reports[7];    /* the step after it, when told late
                                                                * too */
            const int64_t done = ahead ? 9 : 8;
            assert_true(next->step == done && next->skip == SKIP_NONE);
            assert_true(fabs(next->learning_rate -
                             0.01 * (double)(STEPS - KEPT) / (double)STEPS) < 1e-12);
            assert_int_equal(reads, STEPS * MICRO);
            rig_close(&r);
        }
    poisoned_steps = 0;
}

/* A scale that overflows at first is halved by every skipped step, which is none for the
 * schedule. */
static void test_loss_scaling_skips_until_gradients_are_finite(void **state)
{
    (void)state;
    for (int ahead = 0; ahead <= 1; ahead++) {
        struct rig r;
        bool stopped;
        int skipped = 0;
        rig_open(&r, 1);
        assert_ok(optimizer_restore(r.optimizer, &(struct update_state){.loss_scale = 0x1p130}));
        assert_ok(run(&r, &(struct run){
            .steps_ahead = ahead, .exact_every = ahead ? 0 : 1}, &stopped));
        assert_true(ahead || r.exact_is_exact);
        while (skipped < STEPS && r.reports[skipped].skip == SKIP_OVERFLOW)
            skipped++;
        assert_in_range(skipped, 3, STEPS - 2);    /* 2^130, 2^129, 2^128 are infinite in fp32 */
        for (int i = 0; i < STEPS; i++) {
            const int halved = i < skipped ? i : skipped;
            assert_true(r.reports[i].skip == (i < skipped ? SKIP_OVERFLOW : SKIP_NONE));
            assert_true(r.reports[i].loss_scale == 0x1p130 / (double)(1 << halved));
            const int updates = i - halved;
            assert_true(fabs(r.reports[i].learning_rate - 0.01 * (double)(STEPS - updates) / (double)STEPS) < 1e-12);
            assert_true(isfinite(r.reports[i].loss));
        }
        const struct update_state *s = optimizer_state(r.optimizer);
        assert_true(s->updates == STEPS - skipped && s->finite_steps == STEPS - skipped);
        rig_close(&r);
    }
}

static void test_a_wish_to_stop_ends_the_run_after_a_known_step(void **state)
{
    (void)state;
    stop_now = true;
    for (int ahead = 0; ahead <= 1; ahead++)
        for (int64_t every = 0; every <= 1; every++) {
            struct rig r;
            bool stopped;
            rig_open(&r, 0);
            assert_ok(run(&r, &(struct run){.steps_ahead = ahead, .exact_every = every}, &stopped));
            assert_true(stopped);
            assert_int_equal(r.heard, 5 + ahead);    /* whenever its report was read */
            assert_true(r.reports[4 + ahead].last);
            rig_close(&r);
        }
    stop_now = false;
}

/* Whenever a feed says that it has no more, and why, what it gave is trained on, and the model is
 * looked at (saved, in a run) as the last step left it. */
static void test_the_end_of_the_data_ends_the_run(void **state)
{
    (void)state;
    static const enum ending endings[] = {TOLD_BEFORE, TOLD_AFTER, STOPPED_AFTER};
    for (int ahead = 0; ahead <= 1; ahead++)
        for (int i = 0; i < 3; i++) {
            struct rig r;
            bool stopped;
            rig_open(&r, 0);
            assert_ok(run(&r, &(struct run){.steps_ahead = ahead, .ending = &endings[i]},
                          &stopped));
            assert_true(stopped == (endings[i] == STOPPED_AFTER));
            assert_int_equal(r.heard, LAST);
            const bool heard_of = endings[i] == TOLD_BEFORE || ahead;
            assert_true(r.reports[LAST - 1].last == heard_of);
            /* What was told as one step like others is only saved, and only where it goes on
             * later. */
            const bool looked = heard_of || endings[i] == STOPPED_AFTER;
            assert_int_equal(r.exact_step, looked ? LAST : 0);
            assert_int_equal(r.exact_seen, 1 + looked);
            rig_close(&r);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late_reports_say_the_same),
        cmocka_unit_test(test_a_gradient_that_is_not_finite_ends_the_run_and_changes_nothing),
        cmocka_unit_test(test_steps_that_are_not_finite_are_skipped),
        cmocka_unit_test(test_too_many_in_a_row_end_the_run),
        cmocka_unit_test(test_the_micro_batch_to_blame_is_named),
        cmocka_unit_test(test_a_rollback_goes_on_from_the_checkpoint),
        cmocka_unit_test(test_loss_scaling_skips_until_gradients_are_finite),
        cmocka_unit_test(test_a_wish_to_stop_ends_the_run_after_a_known_step),
        cmocka_unit_test(test_the_end_of_the_data_ends_the_run),
    };
    struct error *e = comm_open(&comm);
    if (e)
        return comm_end(NULL, e);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_close(comm);
    return failed;
}
