/* test_parameters.c - the tables of both families: counts, names, places, initial values. */
#include "testing.h"

#include "model/parameters.h"

static struct parameters *table(const struct model_spec *spec)
{
    struct parameters *p;
    assert_ok(parameters_create(&p, spec));
    return p;
}

static void test_sizes_have_the_published_counts(void **state)
{
    (void)state;
    const struct {
        struct model_spec spec;
        int64_t count;
    } cases[] = {
        {{.family = MODEL_MINI_GPT, .V = 5000, .positions = 128, .C = 256, .NH = 3, .F = 128,
         .L = 2}, 3255938},
        {{.family = MODEL_GPT2, .V = 50257, .positions = 1024, .C = 768, .NH = 12, .F = 3072,
         .L = 12}, 124439808},
        {{.family = MODEL_GPT2, .V = 50257, .positions = 1024, .C = 1024, .NH = 16, .F = 4096,
         .L = 24}, 354823168},
        {{.family = MODEL_GPT2, .V = 50257, .positions = 1024, .C = 1280, .NH = 20, .F = 5120,
         .L = 36}, 774030080},
        {{.family = MODEL_GPT2, .V = 50257, .positions = 1024, .C = 1600, .NH = 25, .F = 6400,
         .L = 48}, 1557611200},
        {{.family = MODEL_GPT2, .V = 11, .positions = 5, .C = 6, .NH = 2, .F = 7, .L = 1},
         11 * 6 + 5 * 6 + (6 * 18 + 18) + (6 * 6 + 6) + (6 * 7 + 7) + (7 * 6 + 6) + 6 * 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct parameters *p = table(&cases[i].spec);
        if (p->count != cases[i].count)
            fail_msg("case %zu has %lld parameters, expected %lld", i, (long long)p->count,
                     (long long)cases[i].count);
        parameters_destroy(p);
    }
}

static void test_gpt2_has_a_final_norm_and_no_head(void **state)
{
    (void)state;
    struct parameters *p = table(&(struct model_spec){
        .family = MODEL_GPT2, .V = 11, .positions = 5, .C = 6, .NH = 2, .F = 7, .L = 2});
    static const char *const names[] = {
        "token_embedding", "position_embedding",
        "decoder_1/attention/qkv/kernel", "decoder_1/attention/qkv/bias",
        "decoder_1/attention/output/kernel", "decoder_1/attention/output/bias",
        "decoder_1/attention_norm/gamma", "decoder_1/attention_norm/beta",
        "decoder_1/ffn_intermediate/kernel", "decoder_1/ffn_intermediate/bias",
        "decoder_1/ffn_output/kernel", "decoder_1/ffn_output/bias", "decoder_1/ffn_norm/gamma",
        "decoder_1/ffn_norm/beta", "final_norm/gamma", "final_norm/beta",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!parameters_find(p, names[i]))
            fail_msg("no parameter %s", names[i]);
    assert_null(parameters_find(p, "head/kernel"));
    const struct parameter *qkv = parameters_find(p, "decoder_1/attention/qkv/kernel");
    const int64_t shape[] = {6, 3, 2, 3};
    assert_int_equal(qkv->dimensions, 4);
    assert_memory_equal(qkv->shape, shape, sizeof shape);
    parameters_destroy(p);
}

/* Deviation and mean of a normal tensor lie where so many draws must put them. */
static void check_normal(const struct parameter *t, const float *w, double deviation)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < t->count; i++) {
        sum += (double)w[t->offset + i];
        squares += (double)w[t->offset + i] * (double)w[t->offset + i];
    }
    const double n = (double)t->count;
    if (fabs(sum / n) > 5 * deviation / sqrt(n) ||
        fabs(sqrt(squares / n) / deviation - 1) > 5 / sqrt(2 * n))
        fail_msg("%s: mean %g, deviation %g, expected 0 and %g", t->name, sum / n,
                 sqrt(squares / n), deviation);
}

static void test_gpt2_begins_as_kerashub_does(void **state)
{
    (void)state;
    struct parameters *p = table(&(struct model_spec){
        .family = MODEL_GPT2, .V = 200, .positions = 64, .C = 48, .NH = 4, .F = 96, .L = 2});
    float *w = malloc((size_t)p->flat_count * sizeof *w);
    parameters_initialize(p, 7, w);
    for (int i = 0; i < p->n; i++) {
        const struct parameter *t = &p->list[i];
        if (t->matrix)
            check_normal(t, w, strcmp(t->name, "token_embedding") ? 0.02 : 0.01);
        else
            for (int64_t k = 0; k < t->count; k++)
                assert_true(w[t->offset + k] == (strstr(t->name, "gamma") ? 1.0f : 0.0f));
    }
    free(w);
    parameters_destroy(p);
}

static void test_families_are_found_by_name(void **state)
{
    (void)state;
    enum model_family family = MODEL_MINI_GPT;
    assert_true(spec_family_find(&family, "gpt2"));
    assert_int_equal(family, MODEL_GPT2);
    assert_true(spec_family_find(&family, "mini-gpt"));
    assert_int_equal(family, MODEL_MINI_GPT);
    assert_false(spec_family_find(&family, "gpt3"));
    assert_fails(spec_compare(&(struct model_spec){.family = MODEL_GPT2},
                              &(struct model_spec){.family = MODEL_MINI_GPT}),
                 "family gpt2, expected mini-gpt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_have_the_published_counts),
        cmocka_unit_test(test_gpt2_has_a_final_norm_and_no_head),
        cmocka_unit_test(test_gpt2_begins_as_kerashub_does),
        cmocka_unit_test(test_families_are_found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
