/* test_sampler_fixtures.c - the distributions KerasHub's samplers leave, and draws from them, on
 * the CPU or, given "cuda", on a GPU. */
#include "testing.h"

#include "base/philox.h"
#include "generate/sampler.h"
#include "json_fixture.h"
#include "kernels/kernels.h"
#include "test_device.h"

enum { MOST = 16, DRAWS = 200000 };

struct sampler_case {
    struct sampler sampler;
    int V;
    float logits[MOST], expected[MOST];
};

/* Device memory for DRAWS rows, and what comes back. */
static struct {
    struct device *device;
    const struct kernels *k;
    struct draw draw;
    float logits[DRAWS * MOST], probabilities[MOST];
    double uniforms[DRAWS];
    int32_t chosen[DRAWS];
} rig;

static void rig_open(const char *kind)
{
    const struct kernel_limits limits = {.N = 1, .T = 1, .C = 1, .F = 1, .NH = 1, .HS = 1,
                                         .V = MOST};
    void *memory[4];
    const size_t bytes[4] = {sizeof rig.chosen, sizeof rig.logits, sizeof rig.logits,
                             sizeof rig.uniforms};
    assert_ok(device_open(&rig.device, &(struct device_options){.kind = kind}));
    assert_ok(kernels_for(&rig.k, rig.device, DTYPE_F32));
    assert_ok(rig.k->reserve(rig.device, &limits));
    for (int i = 0; i < 4; i++)
        assert_ok(device_allocate(rig.device, &memory[i], bytes[i], "draws"));
    rig.draw = (struct draw){.chosen = memory[0], .probabilities = memory[1], .logits = memory[2],
                             .uniforms = memory[3], .B = DRAWS};
}

/* DRAWS rows of a case's logits, each with a uniform number of its row or of its position. */
static void draw(const struct sampler_case *c, bool by_rows)
{
    struct draw *d = &rig.draw;
    for (int i = 0; i < DRAWS; i++) {
        memcpy(rig.logits + (int64_t)i * c->V, c->logits, (size_t)c->V * sizeof c->logits[0]);
        rig.uniforms[i] = philox_uniform(c->sampler.seed, by_rows ? (uint64_t)i : 3,
                                         by_rows ? 3 : (uint64_t)i);
    }
    d->V = d->ids = c->V;
    d->temperature = (float)c->sampler.temperature;
    sampler_cut(&c->sampler, &d->most, &d->mass);
    device_copy_in(rig.device, (void *)d->logits, rig.logits, sizeof rig.logits);
    device_copy_in(rig.device, (void *)d->uniforms, rig.uniforms, sizeof rig.uniforms);
    rig.k->draw(rig.device, d);
    device_copy_out(rig.device, rig.chosen, d->chosen, sizeof rig.chosen);
    device_copy_out(rig.device, rig.probabilities, d->probabilities,
                    (size_t)c->V * sizeof(float));
    assert_ok(device_synchronize(rig.device));
}

static void read_floats(const cJSON *array, float *out, int expected)
{
    static double numbers[MOST];
    const int n = json_numbers(array, numbers, MOST);
    assert_int_equal(n, expected);
    for (int i = 0; i < n; i++)
        out[i] = (float)numbers[i];
}

static void read_case(const cJSON *file, const cJSON *json, struct sampler_case *c)
{
    const cJSON *logits = cJSON_GetObjectItemCaseSensitive(file, "logits");
    c->V = cJSON_GetArraySize(logits);
    read_floats(logits, c->logits, c->V);
    read_floats(cJSON_GetObjectItemCaseSensitive(json, "exact"), c->expected, c->V);
    c->sampler = (struct sampler){
        .k = (int)json_number(json, "k", 0), .p = json_number(json, "p", 0),
        .temperature = json_number(json, "temperature", 1), .seed = 11,
    };
    assert_ok(sampler_parse(&c->sampler.kind, json_string(json, "sampler")));
}

/*
 * Pearson's statistic of draws against the exact distribution. Its mean is the number of degrees of
 * freedom d, its variance 2 d; six deviations above are met once in a million. The seed is fixed.
 */
static void check_draws(const struct sampler_case *c, bool by_rows)
{
    static int64_t counts[MOST];
    memset(counts, 0, sizeof counts);
    draw(c, by_rows);
    for (int i = 0; i < DRAWS; i++) {
        assert_in_range(rig.chosen[i], 0, c->V - 1);
        counts[rig.chosen[i]]++;
    }
    double statistic = 0;
    int freedom = -1;
    for (int v = 0; v < c->V; v++) {
        const double expected = (double)DRAWS * (double)c->expected[v];
        if (expected > 0) {
            statistic += ((double)counts[v] - expected) * ((double)counts[v] - expected) / expected;
            freedom++;
        } else {
            assert_int_equal(counts[v], 0);
        }
    }
    if (!(statistic <= freedom + 6 * sqrt(2.0 * freedom)))
        fail_msg("draws by %s: chi-square %.1f of %d degrees of freedom",
                 by_rows ? "rows" : "positions", statistic, freedom);
}

static void test_distributions_and_draws_are_kerashubs(void **state)
{
    const cJSON *file = *state;
    static struct sampler_case c;
    int checked = 0;
    const cJSON *json;
    cJSON_ArrayForEach(json, cJSON_GetObjectItemCaseSensitive(file, "cases"))
    {
        char name[160];
        read_case(file, json, &c);
        sampler_describe(&c.sampler, name, sizeof name);
        print_message("%s\n", name);
        check_draws(&c, true);
        assert_close(name, rig.probabilities, c.expected, c.V, 1e-5);
        check_draws(&c, false);
        checked++;
    }
    assert_true(checked > 0);
}

int main(int argc, char **argv)
{
    char folder[512], path[600];
    const char *device = test_device(argc > 1 ? argv[1] : "cpu");
    if (!fixtures_folder("gpt2", folder, sizeof folder)) {
        puts("skipped: no fixtures (GALLEY_FIXTURES)");
        return 77;
    }
    snprintf(path, sizeof path, "%s/samplers.json", folder);
    cJSON *file = json_fixture_open(path);
    rig_open(device);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_distributions_and_draws_are_kerashubs, file),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cJSON_Delete(file);
    device_close(rig.device);
    return failed;
}
