/* test_model.c - both families: gradients against finite differences with dropout on, micro-batches
 * that add up, texts packed into one row, and the order in which gradients are final. */
#include "testing.h"

#include "device/device.h"
#include "kernels/kernels.h"
#include "train_batch.h"

enum { B = 4, T = 12, V = 31, N = B * T };

struct rig {
    struct device *device;
    const struct kernels *kernels;
    struct model *model;
    const struct parameters *parameters;
    int32_t tokens[N], targets[N];
    uint8_t ones[N];
};

static void rig_open(struct rig *rig, enum model_family family, float dropout)
{
    const struct model_spec spec = {
        .family = family, .V = V, .positions = T, .C = 24, .NH = 3, .F = 40, .L = 3,
        .dropout = dropout,
    };
    assert_ok(device_open(&rig->device, &(struct device_options){.kind = "cpu"}));
    assert_ok(kernels_for(&rig->kernels, rig->device, DTYPE_F32));
    assert_ok(model_create(&rig->model, rig->device, rig->kernels, &spec,
                           &(struct model_options){.B = B, .T = T, .training = true, .seed = 5}));
    rig->parameters = model_parameters(rig->model);
    parameters_initialize(rig->parameters, 3, model_weights(rig->model));
    for (int i = 0; i < rig->parameters->n; i++) {    /* where every part of the model matters */
        const struct parameter *t = &rig->parameters->list[i];
        float *w = model_weights(rig->model) + t->offset;
        for (int64_t k = 0; k < t->count; k++)
            w[k] = t->matrix ? w[k] * (family == MODEL_GPT2 ? 6.0f : 1.0f)
                             : w[k] + 0.1f * sinf((float)(k + i));
    }
    model_weights_changed(rig->model);
    for (int n = 0; n < N; n++) {
        rig->tokens[n] = 1 + n * n % (V - 1);
        rig->targets[n] = 1 + (n * 5 + 2) % (V - 1);
        rig->ones[n] = 1;
    }
}

static void rig_close(struct rig *rig)
{
    model_destroy(rig->model);
    device_close(rig->device);
}

static struct batch rows_of(const struct rig *rig, int first, int rows)
{
    const int at = first * T;
    return (struct batch){
        .B = rows, .T = T, .rows = rows, .tokens = rig->tokens + at, .targets = rig->targets + at,
        .key_mask = rig->ones, .loss_mask = rig->ones, .metric_mask = rig->ones, .step = 7,
        .first_sample = 8 + first,
    };
}

/* Loss and gradients of rows [first, first + rows), gradients added. */
static double train_rows(struct rig *rig, int first, int rows)
{
    struct loss_sums sums = {0};
    const struct batch batch = rows_of(rig, first, rows);
    train_batch(rig->device, rig->model, &batch, &sums);
    return sums.loss;
}

static float *copy_of_gradients(const struct rig *rig)
{
    const size_t bytes = (size_t)rig->parameters->flat_count * sizeof(float);
    float *copy = malloc(bytes);
    memcpy(copy, model_gradients(rig->model), bytes);
    return copy;
}

/* Along each tensor's own gradient the loss must rise by the gradient's length times the step. */
static void check_differences(struct rig *rig, double bound)
{
    model_zero_gradients(rig->model);
    train_rows(rig, 0, B);
    float *gradients = copy_of_gradients(rig), *w = model_weights(rig->model);
    for (int i = 0; i < rig->parameters->n; i++) {
        const struct parameter *t = &rig->parameters->list[i];
        const float *g = gradients + t->offset;
        double length = 0;
        for (int64_t k = 0; k < t->count; k++)
            length += (double)g[k] * (double)g[k];
        length = sqrt(length);
        assert_true(length > 0);
        float *old = malloc((size_t)t->count * sizeof *old);
        memcpy(old, w + t->offset, (size_t)t->count * sizeof *old);
        const double h = fmin(4e-3, 0.3 / length);    /* a change well above rounding, small for the
                                                       * curve */
        double loss[2];
        for (int side = 0; side < 2; side++) {
            for (int64_t k = 0; k < t->count; k++)
                w[t->offset + k] =
                    (float)((double)old[k] + (side ? h : -h) * (double)g[k] / length);
            loss[side] = train_rows(rig, 0, B);
        }
        memcpy(w + t->offset, old, (size_t)t->count * sizeof *old);
        free(old);
        const double slope = (loss[1] - loss[0]) / (2 * h);
        if (!(fabs(slope - length) <= bound * length))
            fail_msg("%s: the loss rises by %g, the gradient says %g", t->name, slope, length);
    }
    free(gradients);
}

static void test_gradients_are_those_of_the_loss(void **state)
{
    (void)state;
    for (int family = MODEL_MINI_GPT; family <= MODEL_GPT2; family++) {
        for (int drops = 0; drops < 2; drops++) {
            struct rig rig;
            print_message("%s, dropout %s\n", spec_family_name((enum model_family)family),
                          drops ? "0.3" : "0");
            rig_open(&rig, (enum model_family)family, drops ? 0.3f : 0.0f);
            /* GPT-2 is smooth; a step over the kinks of ReLU is not quite a derivative. */
            check_differences(&rig, family == MODEL_GPT2 ? 1e-3 : 2e-2);
            rig_close(&rig);
        }
    }
}

static void test_micro_batches_add_up(void **state)
{
    (void)state;
    for (int family = MODEL_MINI_GPT; family <= MODEL_GPT2; family++) {
        struct rig rig;
        rig_open(&rig, (enum model_family)family, 0.3f);
        model_zero_gradients(rig.model);
        const double whole = train_rows(&rig, 0, B);
        float *expected = copy_of_gradients(&rig);
        model_zero_gradients(rig.model);
        const double parts = train_rows(&rig, 0, 1) + train_rows(&rig, 1, 3);
        assert_true(fabs(whole - parts) <= 1e-6 * whole);
        assert_close("gradients", model_gradients(rig.model), expected,
                     rig.parameters->flat_count, 1e-5);

        /* Other samples of the global batch, other masks. */
        struct batch batch = rows_of(&rig, 0, B);
        struct loss_sums moved = {0}, later = {0}, again = {0};
        batch.first_sample += B;
        train_batch(rig.device, rig.model, &batch, &moved);
        assert_true(fabs(moved.loss - whole) > 1e-4 * whole);
        batch = rows_of(&rig, 0, B);
        batch.step++;
        train_batch(rig.device, rig.model, &batch, &later);
        assert_true(fabs(later.loss - whole) > 1e-4 * whole);
        batch.step--;
        train_batch(rig.device, rig.model, &batch, &again);
        assert_true(again.loss == whole);
        free(expected);
        rig_close(&rig);
    }
}

/* Two texts of 5 and 7 tokens in one row give the logits that each gives alone. */
static void test_packed_texts_do_not_see_each_other(void **state)
{
    (void)state;
    enum { FIRST = 5, SECOND = T - FIRST };
    for (int family = MODEL_MINI_GPT; family <= MODEL_GPT2; family++) {
        struct rig rig;
        rig_open(&rig, (enum model_family)family, 0);
        int32_t first_key[T], positions[T];
        for (int t = 0; t < T; t++) {
            first_key[t] = t < FIRST ? 0 : FIRST;
            positions[t] = t - first_key[t];
        }
        struct batch batch = rows_of(&rig, 0, 1);
        batch.first_key = first_key;
        batch.positions = positions;
        float packed[T * V], alone[T * V];
        assert_ok(model_logits(rig.model, &batch, packed));
        batch = rows_of(&rig, 0, 1);
        batch.T = FIRST;
        assert_ok(model_logits(rig.model, &batch, alone));
        batch.T = SECOND;
        batch.tokens += FIRST;
        assert_ok(model_logits(rig.model, &batch, alone + FIRST * V));
        assert_close("packed logits", packed, alone, T * V, 1e-6);
        rig_close(&rig);
    }
}

/* -ln softmax(z)[target] in double, and whether no other is larger. */
static double loss_of(const float *z, int32_t target, bool *first)
{
    double sum = 0;
    *first = true;
    for (int v = 0; v < V; v++) {
        sum += exp((double)z[v]);
        *first &= z[v] <= z[target];
    }
    return log(sum) - (double)z[target];
}

/* At some places of rows of any length, more rows than the model was made for too: what the logits
 * say. */
static void test_scores_are_those_of_the_logits(void **state)
{
    (void)state;
    enum { ROWS = 6, SHORT = 8, COUNT = 9 };
    static const int32_t places[COUNT] = {0, 1, 2, 7, 8, 20, 30, 31, ROWS * SHORT - 1};
    for (int family = MODEL_MINI_GPT; family <= MODEL_GPT2; family++) {
        struct rig rig;
        rig_open(&rig, (enum model_family)family, 0);
        float logits[ROWS * SHORT * V], losses[COUNT];
        uint8_t correct[COUNT];
        int32_t targets[COUNT];
        struct batch batch = rows_of(&rig, 0, ROWS);
        batch.T = SHORT;
        assert_ok(model_logits(rig.model, &batch, logits));
        int right = 0;
        for (int i = 0; i < COUNT; i++) {
            const float *z = logits + places[i] * V;
            targets[i] = (i * 7 + 3) % V;
            for (int v = 0; i % 2 && v < V; v++)
                targets[i] = z[v] > z[targets[i]] ? v : targets[i];
        }
        assert_ok(model_score(rig.model, &batch, &(struct model_questions){
            .losses = losses, .correct = correct, .places = places, .targets = targets,
            .count = COUNT}));
        for (int i = 0; i < COUNT; i++) {
            bool first;
            const double expected = loss_of(logits + places[i] * V, targets[i], &first);
            if (!(fabs((double)losses[i] - expected) <= 2e-6 * (1 + expected)))
                fail_msg("place %d: loss %.9g, expected %.9g", (int)places[i], (double)losses[i],
                         expected);
            assert_int_equal(correct[i], first);
            right += correct[i];
        }
        assert_in_range(right, COUNT / 2, COUNT - 1);
        rig_close(&rig);
    }
}

/* Told by backward; what is final must not change any more. */
struct readiness {
    struct model *model;
    float *seen;
    int64_t first, count;
};

static void note_ready(void *self, int64_t first)
{
    struct readiness *r = self;
    int64_t count;
    const float *summed = model_summed(r->model, &count);
    assert_true(first < r->first);
    memcpy(r->seen + first, summed + first, (size_t)(r->first - first) * sizeof(float));
    r->first = first;
}

static void test_gradients_told_ready_are_final(void **state)
{
    (void)state;
    for (int family = MODEL_MINI_GPT; family <= MODEL_GPT2; family++) {
        struct rig rig;
        rig_open(&rig, (enum model_family)family, 0.1f);
        struct readiness r = {.model = rig.model};
        const float *summed = model_summed(rig.model, &r.count);
        r.first = r.count;
        r.seen = malloc((size_t)r.count * sizeof(float));
        model_zero_gradients(rig.model);
        struct loss_sums sums = {0};
        const struct batch batch = rows_of(&rig, 0, B);
        train_batch_telling(rig.device, rig.model, &batch, &sums, note_ready, &r);
        assert_int_equal(r.first, 0);
        assert_memory_equal(r.seen, summed, (size_t)r.count * sizeof(float));
        free(r.seen);
        rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_are_those_of_the_loss),
        cmocka_unit_test(test_micro_batches_add_up),
        cmocka_unit_test(test_packed_texts_do_not_see_each_other),
        cmocka_unit_test(test_scores_are_those_of_the_logits),
        cmocka_unit_test(test_gradients_told_ready_are_final),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
