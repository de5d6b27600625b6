/* test_sampler_fixtures.c - the distributions KerasHub's samplers leave, and draws from them. */
#include "testing.h"

#include "generate/sampler.h"
#include "json_fixture.h"

enum { MOST = 4096, DRAWS = 200000 };

struct sampler_case {
    struct sampler sampler;
    int V;
    float logits[MOST], expected[MOST], probabilities[MOST];
    int order[MOST];
};

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
    for (int i = 0; i < DRAWS; i++)
        counts[sampler_draw(&c->sampler, c->probabilities, c->V, by_rows ? i : 3,
                            by_rows ? 3 : i)]++;
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
        sampler_distribution(&c.sampler, c.logits, c.V, c.probabilities, c.order);
        assert_close(name, c.probabilities, c.expected, c.V, 1e-5);
        check_draws(&c, true);
        check_draws(&c, false);
        checked++;
    }
    assert_true(checked > 0);
}

int main(void)
{
    char folder[512], path[600];
    if (!fixtures_folder("gpt2", folder, sizeof folder)) {
        puts("skipped: no fixtures (GALLEY_FIXTURES)");
        return 77;
    }
    snprintf(path, sizeof path, "%s/samplers.json", folder);
    cJSON *file = json_fixture_open(path);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_distributions_and_draws_are_kerashubs, file),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cJSON_Delete(file);
    return failed;
}
