/*
 * test_padded_heads.c - heads that are padded in device memory change nothing: a model with padding
 * has the losses, gradients, updates and logits of one without, what is padded stays zero, and what
 * comes to the host has the host's places.
 *
 * usage: test_padded_heads [cpu|cuda]    the CPU pads nothing by itself: here its table is told to
 */
#include "testing.h"

#include "one_step.h"
#include "test_device.h"
#include "train/snapshot.h"

enum { B = 2, T = 7, V = 31, MICRO = 2, N = B * T, STEPS = 2 };

static const char *device_name;

struct problem {
    struct model_spec spec;
    struct optimizer_options optimizer;
};

/* A large epsilon: the gradient of a key's bias is rounding noise, which it keeps small. */
#define ADAM .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-3
static const struct problem problems[] = {
    {{.family = MODEL_MINI_GPT, .V = V, .positions = T, .C = 16, .NH = 3, .F = 20, .L = 2}, {ADAM}},
    {{.family = MODEL_GPT2, .V = V, .positions = T, .C = 24, .NH = 2, .F = 20, .L = 2},
     {ADAM, .weight_decay = 0.1, .clip_norm = 0.01}},
    {{.family = MODEL_MINI_GPT, .V = V, .positions = T, .C = 255, .NH = 3, .F = 20, .L = 1},
     {ADAM, .weight_decay = 0.1, .decay_matrices_only = true, .clip_norm = 0.01}},
    /* One head: its output kernel is one padded run, right before the next tensor on the host. */
    {{.family = MODEL_MINI_GPT, .V = V, .positions = T, .C = 12, .NH = 1, .F = 20, .L = 1}, {ADAM}},
    /* The largest head that a GPU takes with and without padding. */
    {{.family = MODEL_GPT2, .V = V, .positions = T, .C = 125, .NH = 1, .F = 20, .L = 1}, {ADAM}},
};
enum { PROBLEMS = sizeof problems / sizeof problems[0] };

struct rig {
    struct device *device;
    struct kernels kernels;
    struct model *model;
    struct optimizer *optimizer;
    float *host;    /* (flat_count of the parameters) */
};

/* False, with the reason printed, where the device has no such arithmetic. */
static bool rig_open(struct rig *r, const char *kind, enum dtype type, int alignment,
                     const struct problem *problem)
{
    const struct kernels *kernels;
    *r = (struct rig){0};
    assert_ok(device_open(&r->device, &(struct device_options){.kind = kind, .threads = 1}));
    struct error *e = kernels_for(&kernels, r->device, type);
    if (e && type != DTYPE_F32) {
        print_message("no %s: %s\n", dtype_name(type), error_message(e));
        error_destroy(e);
        device_close(r->device);
        return false;
    }
    assert_ok(e);
    r->kernels = *kernels;
    if (alignment)
        r->kernels.head_alignment = alignment;
    assert_ok(model_create(&r->model, r->device, &r->kernels, &problem->spec,
                           &(struct model_options){.B = B, .T = T, .training = true}));
    assert_ok(optimizer_create(&r->optimizer, r->device, &r->kernels, r->model,
                               &problem->optimizer));
    const struct parameters *p = model_parameters(r->model);
    r->host = calloc((size_t)p->flat_count, sizeof *r->host);
    assert_non_null(r->host);
    parameters_initialize(p, 3, r->host);
    for (int i = 0; i < p->n; i++)    /* where every part of the model matters */
        for (int64_t k = 0; k < p->list[i].count; k++)
            r->host[p->list[i].offset + k] +=
                (p->list[i].matrix ? 0.02f : 0.1f) * sinf((float)(k + i));
    flat_layout_copy_in(model_layout(r->model), r->device, model_weights(r->model), r->host);
    model_weights_changed(r->model);
    assert_ok(device_synchronize(r->device));
    return true;
}

/* The device that is tried, with padding. */
static bool open_padded(struct rig *r, enum dtype type, const struct problem *problem)
{
    return rig_open(r, device_name, type, strcmp(device_name, "cpu") ? 0 : 8, problem);
}

static void rig_close(struct rig *r)
{
    optimizer_destroy(r->optimizer);
    model_destroy(r->model);
    device_close(r->device);
    free(r->host);
}

/* Micro-batch i of a step; other tokens each time, and some that nobody sees. */
static struct batch made_up(int i)
{
    static int32_t tokens[N], targets[N];
    static uint8_t seen[N], ones[N];
    for (int n = 0; n < N; n++) {
        tokens[n] = 1 + (n * n + i * 5) % (V - 1);
        targets[n] = 1 + (n * 5 + i * 3 + 2) % (V - 1);
        seen[n] = n % 5 != 3;
        ones[n] = 1;
    }
    return (struct batch){.B = B, .T = T, .rows = B, .tokens = tokens, .targets = targets,
                          .key_mask = seen, .loss_mask = ones, .metric_mask = ones};
}

/* A step without its update: the mean loss of its micro-batches, whose gradients add up. */
static double add_gradients(struct rig *r, int step)
{
    struct loss_sums sums = {0};
    model_zero_gradients(r->model);
    for (int i = 0; i < MICRO; i++) {
        const struct batch batch = made_up(step * MICRO + i);
        train_batch(r->device, r->model, &batch, &sums);
    }
    return sums.loss / sums.loss_tokens;
}

static void update(struct rig *r, int step)
{
    const struct update_plan plan = update_once(r->device, r->optimizer, step, 0.01, MICRO * N);
    assert_int_equal(plan.skip, SKIP_NONE);
}

/* Host memory of the caller, as the host has it and as it is on the device. */
static float *read_host(const struct rig *r, const float *flat)
{
    float *host = calloc((size_t)model_parameters(r->model)->flat_count, sizeof *host);
    assert_non_null(host);
    assert_ok(device_synchronize(r->device));
    assert_ok(flat_layout_fetch(model_layout(r->model), r->device, host, flat, SIZE_MAX));
    return host;
}

static void *read_raw(const struct rig *r, const void *flat, size_t element)
{
    const size_t bytes = (size_t)model_layout(r->model)->flat_count * element;
    void *raw = malloc(bytes);
    assert_non_null(raw);
    device_copy_out(r->device, raw, flat, bytes);
    assert_ok(device_synchronize(r->device));
    return raw;
}

/* ---- what is padded ---- */

static bool is_zero(const void *raw, int64_t i, size_t element)
{
    return element == sizeof(float) ? ((const float *)raw)[i] == 0
                                    : (((const uint16_t *)raw)[i] & 0x7fff) == 0;
}

/* Behind each run, and behind each tensor. */
static void assert_zeros_between(const struct rig *r, const char *what, const void *flat,
                                 size_t element)
{
    const struct flat_layout *l = model_layout(r->model);
    void *raw = read_raw(r, flat, element);
    for (int i = 0; i < l->n; i++) {
        const struct flat_place *p = &l->places[i];
        const int64_t end = i + 1 < l->n ? l->places[i + 1].offset : l->flat_count;
        for (int64_t k = 0; k < end - p->offset; k++)
            if ((k >= p->count || k % p->stride >= p->run) && !is_zero(raw, p->offset + k, element))
                fail_msg("%s: element %lld of %s is not 0", what, (long long)k,
                         l->parameters->list[i].name);
    }
    free(raw);
}

static void assert_padding_is_zero(const struct rig *r)
{
    assert_zeros_between(r, "weights", model_weights(r->model), sizeof(float));
    assert_zeros_between(r, "gradients", model_gradients(r->model), sizeof(float));
    assert_zeros_between(r, "m", optimizer_m(r->optimizer), sizeof(float));
    assert_zeros_between(r, "v", optimizer_v(r->optimizer), sizeof(float));
    if (model_weights_copy(r->model))
        assert_zeros_between(r, "the copy of the weights", model_weights_copy(r->model),
                             sizeof(uint16_t));
}

/* ---- the same model ---- */

static void compare(const char *what, const struct rig *a, const float *got, const struct rig *b,
                    const float *expected, double bound)
{
    float *const x = read_host(a, got), *const y = read_host(b, expected);
    const struct parameters *p = model_parameters(a->model);
    assert_close(what, x, y, p->flat_count, bound);
    free(x);
    free(y);
}

/* What a padded model is compared with: in fp32 the CPU's without padding, else that of the same
 * device and type, as what 16 bits round would hide a mistake. */
static void open_plain(struct rig *r, enum dtype type, const struct problem *problem)
{
    assert_true(rig_open(r, type == DTYPE_F32 ? "cpu" : device_name, type, 1, problem));
}

/* How far losses, and gradients and what Adam makes of them, may be from those without padding. */
static const struct bounds {
    double loss, gradients;
} bounds_of[] = {
    [DTYPE_F32] = {1e-6, 1e-5}, [DTYPE_BF16] = {1e-3, 1e-2}, [DTYPE_F16] = {1e-4, 2e-3}};

static void check_training(struct rig *padded, struct rig *plain, struct bounds bounds)
{
    for (int step = 0; step < STEPS; step++) {
        const double loss = add_gradients(padded, step), expected = add_gradients(plain, step);
        if (!(fabs(loss - expected) <= bounds.loss * expected))
            fail_msg("the loss of step %d is %.9g, expected %.9g", step, loss, expected);
        compare("gradients", padded, model_gradients(padded->model), plain,
                model_gradients(plain->model), bounds.gradients);
        update(padded, step);
        update(plain, step);
        assert_padding_is_zero(padded);
    }
    compare("weights", padded, model_weights(padded->model), plain, model_weights(plain->model),
            bounds.gradients);
    compare("m", padded, optimizer_m(padded->optimizer), plain, optimizer_m(plain->optimizer),
            bounds.gradients);
    compare("v", padded, optimizer_v(padded->optimizer), plain, optimizer_v(plain->optimizer),
            2 * bounds.gradients);
}

/* The head reads what a layer norm writes, whose weights are about 1: so is the mean square. */
static void check_normal(const float *x, int C)
{
    double squares = 0;
    for (int c = 0; c < C; c++)
        squares += (double)(x[c] * x[c]);
    if (!(squares > 0.5 * C && squares < 2.0 * C))
        fail_msg("hidden states of mean square %g", squares / C);
}

/* Of two rows, which change places on the way. */
static void check_decoding(struct rig *padded, struct rig *plain, double bound)
{
    static const int swap[B] = {1, 0};
    int row_of[B] = {0, 1};
    float logits[N * V];
    struct decoder *decoder, *same;
    const int C = model_spec(plain->model)->C;
    struct batch batch = made_up(0);
    uint8_t ones[N];
    memset(ones, 1, N);
    batch.key_mask = ones;    /* a decoder hides only token 0 */
    assert_ok(model_logits(plain->model, &batch, logits));
    assert_ok(decoder_create(&decoder, padded->model, B, T, 0));
    assert_ok(decoder_create(&same, plain->model, B, T, 0));
    for (int t = 0; t < T; t++) {
        float next[B * V];
        if (t == T / 2) {
            assert_ok(decoder_reorder(decoder, swap));
            memcpy(row_of, swap, sizeof row_of);
        }
        const int32_t tokens[B] = {batch.tokens[row_of[0] * T + t],
                                   batch.tokens[row_of[1] * T + t]};
        assert_ok(decoder_append(decoder, tokens));
        assert_ok(decoder_logits(decoder, next));
        const int32_t in_order[B] = {batch.tokens[t], batch.tokens[T + t]};
        const float *hidden, *same_hidden;
        assert_ok(decoder_append(same, in_order));
        assert_ok(decoder_hidden(decoder, &hidden));
        assert_ok(decoder_hidden(same, &same_hidden));
        for (int b = 0; b < B; b++) {
            assert_close("decoded logits", next + b * V, logits + (row_of[b] * T + t) * V, V,
                         bound);
            assert_close("what the head reads", hidden + b * C, same_hidden + row_of[b] * C, C,
                         bound);
            check_normal(hidden + b * C, C);
        }
    }
    decoder_destroy(decoder);
    decoder_destroy(same);
}

static void test_padding_changes_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < PROBLEMS; i++) {
        for (int type = DTYPE_F32; type <= DTYPE_F16; type++) {
            struct rig padded, plain;
            if (type == DTYPE_F16 && i > 1)
                continue;    /* pads as bf16 does; large heads take a simulated GPU long */
            if (!open_padded(&padded, (enum dtype)type, &problems[i]))
                continue;
            const int HS = spec_head_size(&problems[i].spec);
            const int alignment = padded.kernels.head_alignment;
            print_message("%s: heads of %d channels, %d in device memory\n",
                          padded.kernels.name, HS, flat_head_size(HS, alignment));
            open_plain(&plain, (enum dtype)type, &problems[i]);
            const int64_t flat_count = model_parameters(plain.model)->flat_count;
            assert_int_equal(model_layout(plain.model)->flat_count, flat_count);
            assert_int_equal(model_layout(plain.model)->n_pieces, 1);    /* one copy for all */
            assert_true(HS % alignment == 0 || model_layout(padded.model)->flat_count > flat_count);
            const struct bounds bounds = bounds_of[type];
            check_training(&padded, &plain, bounds);
            check_decoding(&padded, &plain, type == DTYPE_F32 ? 1e-5 : 4 * bounds.gradients);
            rig_close(&plain);
            rig_close(&padded);
        }
    }
}

/* ---- between the device and the host ---- */

/* Element (c, j, head, i) of a qkv kernel stands where products read it, and all come back. */
static void test_places_on_the_device_are_padded(void **state)
{
    (void)state;
    struct rig r;
    const struct model_spec *s = &problems[0].spec;
    const int C = s->C, NH = s->NH, HS = spec_head_size(s);
    assert_true(open_padded(&r, DTYPE_F32, &problems[0]));
    const int HSP = flat_head_size(HS, r.kernels.head_alignment);
    assert_true(HSP > HS);
    const struct parameters *p = model_parameters(r.model);
    for (int64_t i = 0; i < p->flat_count; i++)
        r.host[i] = (float)(i + 1);
    flat_layout_copy_in(model_layout(r.model), r.device, model_weights(r.model), r.host);

    const char *qkv = "decoder_1/attention/qkv/kernel", *out = "decoder_0/attention/output/kernel";
    const struct flat_layout *layout = model_layout(r.model);
    const float *host = r.host + parameters_find(p, qkv)->offset;
    float *raw = read_raw(&r, model_weights(r.model), sizeof *raw);
    const float *there = raw + flat_layout_find(layout, qkv)->offset;
    for (int row = 0; row < C * 3 * NH; row++)
        for (int i = 0; i < HSP; i++)
            assert_true(there[row * HSP + i] == (i < HS ? host[row * HS + i] : 0.0f));
    host = r.host + parameters_find(p, out)->offset;
    there = raw + flat_layout_find(layout, out)->offset;
    for (int row = 0; row < NH * HSP; row++)    /* (NH, HSP, C) */
        for (int c = 0; c < C; c++)
            assert_true(there[row * C + c] ==
                        (row % HSP < HS ? host[(row / HSP * HS + row % HSP) * C + c] : 0.0f));
    float *back = read_host(&r, model_weights(r.model));
    for (int i = 0; i < p->n; i++)
        assert_memory_equal(back + p->list[i].offset, r.host + p->list[i].offset,
                            (size_t)p->list[i].count * sizeof *back);
    free(back);
    free(raw);
    rig_close(&r);
}

/* Slices of any size bring the same. */
static void test_fetching_in_slices_is_copying_out(void **state)
{
    (void)state;
    struct rig r;
    assert_true(open_padded(&r, DTYPE_F32, &problems[0]));
    const size_t bytes = (size_t)model_parameters(r.model)->flat_count * sizeof(float);
    for (size_t slice = 300; slice < 2 * bytes; slice = slice * 3 + 4) {
        float *got = calloc(1, bytes);
        assert_ok(flat_layout_fetch(model_layout(r.model), r.device, got, model_weights(r.model),
                                    slice));
        assert_memory_equal(got, r.host, bytes);
        free(got);
    }
    rig_close(&r);
}

/* A snapshot holds what the host's table says, and a model that begins from it goes on bit by
 * bit. */
static void test_a_snapshot_goes_on_elsewhere(void **state)
{
    (void)state;
    struct rig first, second;
    struct snapshot *taken, *given;
    const struct problem *problem = &problems[0];
    assert_true(open_padded(&first, DTYPE_F32, problem));
    assert_true(open_padded(&second, DTYPE_F32, problem));
    assert_ok(snapshot_create(&taken, first.device, first.model, first.optimizer));
    assert_ok(snapshot_create(&given, second.device, second.model, second.optimizer));
    (void)add_gradients(&first, 0);
    update(&first, 0);
    assert_ok(snapshot_take(taken));
    assert_ok(snapshot_fetch(taken));

    const size_t bytes = (size_t)model_parameters(first.model)->flat_count * sizeof(float);
    assert_int_equal(taken->bytes, bytes);
    float *const parts[] = {taken->weights, taken->m, taken->v};
    const float *const flats[] = {model_weights(first.model), optimizer_m(first.optimizer),
                                  optimizer_v(first.optimizer)};
    for (int i = 0; i < 3; i++) {
        float *host = read_host(&first, flats[i]);
        assert_memory_equal(parts[i], host, bytes);
        free(host);
    }
    memcpy(given->weights, taken->weights, 3 * bytes);    /* m and v stand behind it */
    *given->state = *taken->state;
    assert_ok(snapshot_restore(given));
    for (int step = 1; step < STEPS; step++) {
        assert_true(add_gradients(&first, step) == add_gradients(&second, step));
        update(&first, step);
        update(&second, step);
    }
    assert_padding_is_zero(&second);
    float *const x = read_host(&first, model_weights(first.model));
    float *const y = read_host(&second, model_weights(second.model));
    assert_memory_equal(x, y, bytes);
    free(x);
    free(y);
    snapshot_destroy(taken);
    snapshot_destroy(given);
    rig_close(&first);
    rig_close(&second);
}

int main(int argc, char **argv)
{
    device_name = test_device(argc > 1 ? argv[1] : "cpu");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_padding_changes_nothing),
        cmocka_unit_test(test_places_on_the_device_are_padded),
        cmocka_unit_test(test_fetching_in_slices_is_copying_out),
        cmocka_unit_test(test_a_snapshot_goes_on_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
