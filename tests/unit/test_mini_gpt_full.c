/* test_mini_gpt_full.c - the example's model at its full size against KerasHub: weights and batches
 * come from a formula, what KerasHub computed from mini_gpt_full/full.json of the fixtures. */
#include "testing.h"

#include "keras_fixture.h"
#include "one_step.h"

#include <cjson/cJSON.h>

enum { V = 5000, T = 128, C = 256, NH = 3, HS = 85, F = 128, L = 2, B = 64, TENSORS = 36 };
static const double BOUND = 1e-5;

static cJSON *expected;
static uint64_t seed;

static uint64_t raw(uint64_t stream, uint64_t i)
{
    uint64_t z = (seed << 48) + (stream << 32) + i;
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Where element i of Keras's tensor t stands in Galley's flat buffer: q, k and v share a tensor. */
static int64_t place(const struct parameters *p, int t, int64_t i)
{
    if (t < 2)
        return p->list[t].offset + i;
    if (t >= TENSORS - 2)
        return p->list[p->n - (TENSORS - t)].offset + i;
    const int layer = (t - 2) / 16, at = (t - 2) % 16;
    const struct parameter *first = &p->list[2 + 12 * layer];
    const int64_t width = NH * HS;
    if (at < 6)    /* query kernel, query bias, key kernel, ... */
        return at % 2 == 0 ? first[0].offset + (i / width * 3 + at / 2) * width + i % width
                           : first[1].offset + at / 2 * width + i;
    return first[at - 4].offset + i;
}

static int64_t count_of(int t)
{
    const cJSON *shape = cJSON_GetObjectItem(
        cJSON_GetArrayItem(cJSON_GetObjectItem(expected, "tensors"), t), "shape");
    int64_t n = 1;
    for (int d = 0; d < cJSON_GetArraySize(shape); d++)
        n *= cJSON_GetArrayItem(shape, d)->valueint;
    return n;
}

static double number(const cJSON *object, const char *name)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItem(object, name));
}

static void assert_near(const char *what, int at, double got, double want, double scale)
{
    if (!(fabs(got - want) <= BOUND * scale))
        fail_msg("%s %d is %.9g, expected %.9g", what, at, got, want);
}

static void fill_weights(const struct parameters *p, float *w)
{
    const cJSON *tensors = cJSON_GetObjectItem(expected, "tensors");
    for (int t = 0; t < TENSORS; t++) {
        const cJSON *tensor = cJSON_GetArrayItem(tensors, t);
        const char *path = cJSON_GetStringValue(cJSON_GetObjectItem(tensor, "keras_path"));
        const bool gamma = strstr(path, "gamma"), small = strstr(path, "bias") || strstr(path,
            "beta");
        for (int64_t i = 0; i < count_of(t); i++) {
            const double u = (double)(raw((uint64_t)t, (uint64_t)i) >> 11) * 0x1p-52 - 1.0;
            w[place(p, t, i)] = (float)(gamma ? 1 + 0.1 * u : (small ? 0.02 : 0.05) * u);
        }
        for (int i = 0; i < 3; i++) {
            const float first = (float)cJSON_GetNumberValue(
                cJSON_GetArrayItem(cJSON_GetObjectItem(tensor, "first"), i));
            assert_memory_equal(&w[place(p, t, i)], &first, sizeof first);
        }
    }
}

static struct batch make_batch(int k, int32_t *tokens, int32_t *targets)
{
    for (int b = 0; b < B; b++) {
        const int lengths[] = {T, 40 + b, 1 + b, T - 1};
        for (int t = 0; t < T; t++) {
            const int i = b * T + t;
            targets[i] = t < lengths[b % 4]
                             ? (int32_t)(3 + raw((uint64_t)(1000 + k), (uint64_t)i) % (V - 3))
                             : 0;
            tokens[i] = t == 0 ? 2 : targets[i - 1];
        }
    }
    struct batch batch = {.B = B, .T = T, .rows = B, .tokens = tokens, .targets = targets};
    keras_fixture_masks(&batch);
    return batch;
}

static void free_masks(struct batch *batch)
{
    batch->tokens = batch->targets = NULL;
    keras_fixture_free(batch);
}

static void check_logits(struct model *model, const struct batch *batch)
{
    float *logits = malloc((size_t)B * T * V * sizeof *logits);
    assert_ok(model_logits(model, batch, logits));
    const cJSON *row, *list = cJSON_GetObjectItem(cJSON_GetObjectItem(expected, "batch_0"),
                                                  "logits");
    cJSON_ArrayForEach(row, list) {
        const int b = (int)number(row, "b"), t = (int)number(row, "t"), v = (int)number(row, "v");
        assert_near("logit of row", b, (double)logits[((int64_t)b * T + t) * V + v],
                    number(row, "value"), 1);
    }
    free(logits);
}

/* Whether all agree; the first that does not is told. */
static bool gradients_agree(const struct parameters *p, const float *g, double mean)
{
    for (int t = 0; t < TENSORS; t++) {
        const cJSON *want = cJSON_GetArrayItem(cJSON_GetObjectItem(expected, "gradients"), t);
        const double l2 = number(want, "l2");
        double squares = 0;
        if (l2 < 1e-6)
            continue;    /* a key's bias: zero but for rounding */
        for (int64_t i = 0; i < count_of(t); i++) {
            const double x = mean * (double)g[place(p, t, i)];
            squares += x * x;
        }
        bool agrees = fabs(sqrt(squares) - l2) <= BOUND * l2;
        const cJSON *sample;
        cJSON_ArrayForEach(sample, cJSON_GetObjectItem(want, "samples"))
            agrees &= fabs(mean * (double)g[place(p, t, (int64_t)number(sample, "flat"))] -
                           number(sample, "value")) <= BOUND * l2;
        if (!agrees) {
            print_message("gradient of tensor %d: norm %.9g, expected %.9g\n", t, sqrt(squares),
                          l2);
            return false;
        }
    }
    return true;
}

/*
 * Of two million hidden units a few lie within rounding of 0, where the derivative of ReLU jumps:
 * one that the compiler's order of sums puts on the other side than Keras's moves all gradients
 * below it by 1e-4. So they must agree for these weights, or with all units moved by less than
 * rounding does, either way.
 */
static void check_gradients(struct device *device, struct model *model)
{
    static const float nudges[] = {0, 5e-8f, -5e-8f};
    const struct parameters *p = model_parameters(model);
    int32_t *tokens = malloc(B * T * sizeof *tokens), *targets = malloc(B * T * sizeof *targets);
    struct batch batch = make_batch(0, tokens, targets);
    bool agree = false;
    for (size_t i = 0; i < sizeof nudges / sizeof nudges[0] && !agree; i++) {
        fill_weights(p, model_weights(model));
        for (int l = 0; l < L; l++) {
            char name[PARAMETER_NAME_BYTES];
            snprintf(name, sizeof name, "decoder_%d/ffn_intermediate/bias", l);
            float *bias = model_weights(model) + parameters_find(p, name)->offset;
            for (int f = 0; f < F; f++)
                bias[f] += nudges[i];
        }
        struct loss_sums sums = {0};
        model_zero_gradients(model);
        train_batch(device, model, &batch, &sums);
        agree = gradients_agree(p, model_gradients(model), 1 / sums.loss_tokens);
    }
    fill_weights(p, model_weights(model));
    free_masks(&batch);
    free(tokens);
    free(targets);
    assert_true(agree);
}

static void test_full_size_matches_keras(void **state)
{
    (void)state;
    const struct model_spec spec = {
        .family = MODEL_MINI_GPT, .V = V, .positions = T, .C = C, .NH = NH, .F = F, .L = L};
    struct device *device;
    const struct kernels *kernels;
    struct model *model;
    struct optimizer *optimizer;
    int32_t *tokens = malloc(B * T * sizeof *tokens), *targets = malloc(B * T * sizeof *targets);
    assert_ok(device_open(&device, &(struct device_options){.kind = "cpu"}));
    assert_ok(kernels_for(&kernels, device, DTYPE_F32));
    assert_ok(model_create(&model, device, kernels, &spec,
                           &(struct model_options){.B = B, .T = T, .training = true}));
    assert_ok(optimizer_create(&optimizer, device, kernels, model, &(struct optimizer_options){
        .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-7}));
    const struct parameters *p = model_parameters(model);
    assert_int_equal(p->count, 3255938);
    check_gradients(device, model);

    for (int k = 0; k < 4; k++) {
        struct batch batch = make_batch(k, tokens, targets);
        struct loss_sums sums = {0};
        if (k == 0)
            check_logits(model, &batch);
        model_zero_gradients(model);
        train_batch(device, model, &batch, &sums);
        const double loss = cJSON_GetNumberValue(
            cJSON_GetArrayItem(cJSON_GetObjectItem(expected, "losses_of_4_adam_steps"), k));
        assert_near("loss of step", k, sums.loss / sums.loss_tokens, loss, loss);
        (void)update_once(device, optimizer, k, 0.001, sums.loss_tokens);
        free_masks(&batch);
    }
    const cJSON *norms = cJSON_GetObjectItem(expected, "weight_l2_after_4_steps");
    for (int t = 0; t < TENSORS; t++) {
        const double want = cJSON_GetNumberValue(cJSON_GetArrayItem(norms, t));
        double squares = 0;
        const int at = t >= 2 && t < TENSORS - 2 ? (t - 2) % 16 : -1;
        if (at == 3)
            continue;    /* the key's bias */
        for (int64_t i = 0; i < count_of(t); i++) {
            const double x = (double)model_weights(model)[place(p, t, i)];
            squares += x * x;
        }
        /* Hidden units that hardly ever fire have gradients near rounding noise, which Adam divides
         * by their size: weights are sure to 2e-5 only, and to 2e-4 those units' own biases, where
         * one of them is on the other side of 0. */
        assert_near("weight norm of tensor", t, sqrt(squares), want, (at == 11 ? 50 : 5) * want);
    }
    free(tokens);
    free(targets);
    optimizer_destroy(optimizer);
    model_destroy(model);
    device_close(device);
}

int main(void)
{
    char folder[512], path[600];
    if (!fixtures_folder("mini_gpt_full", folder, sizeof folder)) {
        puts("skipped: no fixtures (GALLEY_FIXTURES)");
        return 77;
    }
    snprintf(path, sizeof path, "%s/full.json", folder);
    FILE *f = fopen(path, "rb");
    if (!f) {
        puts("skipped: no mini_gpt_full/full.json");
        return 77;
    }
    char *text = calloc(1, 1 << 20);
    if (fread(text, 1, (1 << 20) - 1, f) == 0)
        return 1;
    fclose(f);
    expected = cJSON_Parse(text);
    free(text);
    seed = (uint64_t)number(expected, "seed");
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_full_size_matches_keras)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cJSON_Delete(expected);
    return failed;
}
