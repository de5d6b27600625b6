/* test_generate.c - texts from a small model with random weights: what they depend on, what is
 * refused. */
#include "testing.h"

#include "device/device.h"
#include "generate/generate.h"
#include "kernels/kernels.h"

static const struct model_spec SPEC = {
    .family = MODEL_MINI_GPT, .V = 19, .positions = 16, .C = 12, .NH = 2, .F = 20, .L = 2,
};
enum { ROWS = 5, LENGTH = 16 };

/* Entries 0 to 15; the model has three ids more. */
static const char VOCABULARY[] =
    "[PAD]\n[UNK]\n[BOS]\na\nb\nc\nd\n##a\n##b\n##c\n##d\n.\nab\ncab\ndad\nbad\n";

struct rig {
    struct device *device;
    struct model *model;
};

static struct rig rig_open(const struct model_spec *spec, int threads)
{
    struct rig rig;
    const struct kernels *kernels;
    assert_ok(device_open(&rig.device, &(struct device_options){
        .kind = "cpu", .threads = threads, .local_size = 1}));
    assert_ok(kernels_for(&kernels, rig.device, DTYPE_F32));
    assert_ok(model_create(&rig.model, rig.device, kernels, spec,
                           &(struct model_options){.B = 2, .T = spec->positions}));
    float *w = model_weights(rig.model);
    const struct parameters *parameters = model_parameters(rig.model);
    parameters_initialize(parameters, 5, w);
    for (int64_t i = 0; i < parameters->flat_count; i++)
        w[i] *= 2;    /* so that the choices differ from position to position */
    model_weights_changed(rig.model);
    return rig;
}

static void rig_close(struct rig *rig)
{
    model_destroy(rig->model);
    device_close(rig->device);
}

static struct sampler random_sampler(void)
{
    return (struct sampler){.kind = SAMPLER_RANDOM, .temperature = 1, .seed = 21};
}

static void start_rows(int32_t *tokens, int rows)
{
    memset(tokens, 0, (size_t)rows * LENGTH * sizeof *tokens);
    for (int r = 0; r < rows; r++)
        tokens[r * LENGTH] = 2;
}

static void test_a_row_does_not_depend_on_its_batch_or_on_threads(void **state)
{
    (void)state;
    const struct sampler sampler = random_sampler();
    const int lengths[ROWS] = {1, 1, 1, 1, 1};
    int32_t together[ROWS * LENGTH], alone[LENGTH];
    struct rig rig = rig_open(&SPEC, 1);
    start_rows(together, ROWS);
    assert_ok(generate_tokens(&(struct generation){
        .model = rig.model, .sampler = &sampler, .rows = ROWS, .length = LENGTH,
        .prompt_lengths = lengths, .first_row = 100}, together, NULL, NULL));
    rig_close(&rig);
    for (int r = 1; r < ROWS; r++)
        assert_memory_not_equal(together, together + r * LENGTH, sizeof alone);

    rig = rig_open(&SPEC, 2);
    for (int r = 0; r < ROWS; r++) {
        start_rows(alone, 1);
        assert_ok(generate_tokens(&(struct generation){
            .model = rig.model, .sampler = &sampler, .rows = 1, .length = LENGTH,
            .prompt_lengths = lengths, .first_row = 100 + r}, alone, NULL, NULL));
        assert_memory_equal(alone, together + r * LENGTH, sizeof alone);
    }
    rig_close(&rig);
}

static void test_longer_prompts_keep_their_tokens(void **state)
{
    (void)state;
    struct rig rig = rig_open(&SPEC, 1);
    const int lengths[2] = {2, 6};
    for (int kind = SAMPLER_GREEDY; kind <= SAMPLER_CONTRASTIVE; kind++) {
        const struct sampler sampler = {
            .kind = (enum sampler_kind)kind, .k = 3, .p = 0.9, .beams = 3, .temperature = 1,
        };
        int32_t tokens[2 * LENGTH] = {[0] = 2, [1] = 7, [LENGTH] = 2, 9, 8, 7, 6, 5};
        const int32_t prompt[] = {2, 9, 8, 7, 6, 5};
        assert_ok(generate_tokens(&(struct generation){
            .model = rig.model, .sampler = &sampler, .rows = 2, .length = LENGTH,
            .prompt_lengths = lengths}, tokens, NULL, NULL));
        assert_int_equal(tokens[1], 7);
        assert_memory_equal(tokens + LENGTH, prompt, sizeof prompt);
    }
    rig_close(&rig);
}

/* log softmax of the model's own pass over a whole row, summed over its positions from `first`. */
static double row_log_probability(struct model *model, const int32_t *tokens, int length, int first)
{
    const int V = model_spec(model)->V;
    uint8_t mask[LENGTH];
    float logits[LENGTH * 32];
    for (int i = 0; i < length; i++)
        mask[i] = tokens[i] != 0;
    assert_ok(model_logits(model, &(struct batch){
        .B = 1, .T = length, .rows = 1, .tokens = tokens, .targets = tokens, .key_mask = mask,
        .loss_mask = mask, .metric_mask = mask}, logits));
    double sum = 0;
    for (int i = first; i < length; i++) {
        const float *row = logits + (i - 1) * V;
        double total = 0;
        for (int v = 0; v < V; v++)
            total += exp((double)row[v]);
        sum += (double)row[tokens[i]] - log(total);
    }
    return sum;
}

static void test_wide_beam_finds_the_best_of_all_texts(void **state)
{
    (void)state;
    enum { V = 5, FREE = 3 };
    struct model_spec spec = SPEC;
    spec.V = V;
    struct rig rig = rig_open(&spec, 1);
    int32_t best[1 + FREE] = {2}, text[1 + FREE] = {2};
    double best_score = -INFINITY;
    for (int i = 0; i < V * V * V; i++) {
        text[1] = i / (V * V);
        text[2] = i / V % V;
        text[3] = i % V;
        const double score = row_log_probability(rig.model, text, 1 + FREE, 1);
        if (score > best_score) {
            best_score = score;
            memcpy(best, text, sizeof best);
        }
    }
    const struct sampler sampler = {.kind = SAMPLER_BEAM, .beams = V * V, .temperature = 1};
    const int length = 1;
    double score;
    memset(text + 1, 0, FREE * sizeof *text);
    assert_ok(generate_tokens(&(struct generation){
        .model = rig.model, .sampler = &sampler, .rows = 1, .length = 1 + FREE,
        .prompt_lengths = &length}, text, NULL, &score));
    assert_memory_equal(text, best, sizeof best);
    assert_true(fabs(score - best_score) < 1e-5);
    rig_close(&rig);
}

/* Beams swap places all the time: the cache must follow the tokens. */
static void test_beams_score_is_that_of_their_text(void **state)
{
    (void)state;
    enum { BEAMS = 4 };
    struct rig rig = rig_open(&SPEC, 1);
    const struct sampler sampler = {.kind = SAMPLER_BEAM, .beams = BEAMS, .temperature = 1};
    const int length = 1;
    int32_t prompt[LENGTH] = {2}, tokens[BEAMS * LENGTH];
    double scores[BEAMS];
    assert_ok(generate_beams(&(struct generation){
        .model = rig.model, .sampler = &sampler, .rows = 1, .length = LENGTH,
        .prompt_lengths = &length}, prompt, tokens, NULL, scores));
    for (int b = 0; b < BEAMS; b++) {
        const double expected =
            row_log_probability(rig.model, tokens + b * LENGTH, LENGTH, 1);
        if (!(fabs(scores[b] - expected) < 1e-4))
            fail_msg("beam %d scores %.6f, its text %.6f", b, scores[b], expected);
        assert_true(b == 0 || scores[b] <= scores[b - 1]);
    }
    rig_close(&rig);
}

static void test_ids_without_an_entry_are_never_chosen(void **state)
{
    (void)state;
    struct rig rig = rig_open(&SPEC, 1);
    struct sampler sampler = random_sampler();
    sampler.temperature = 100;    /* nearly even, so the last ids would come up */
    const int lengths[ROWS] = {1, 1, 1, 1, 1};
    int32_t tokens[ROWS * LENGTH];
    int above[2] = {0};
    for (int limited = 0; limited < 2; limited++) {
        start_rows(tokens, ROWS);
        assert_ok(generate_tokens(&(struct generation){
            .model = rig.model, .sampler = &sampler, .rows = ROWS, .length = LENGTH,
            .prompt_lengths = lengths, .ids = limited ? 16 : 0}, tokens, NULL, NULL));
        for (int i = 0; i < ROWS * LENGTH; i++)
            above[limited] += tokens[i] >= 16;
    }
    assert_true(above[0] > 0);
    assert_int_equal(above[1], 0);
    rig_close(&rig);
}

static void test_a_diverged_model_is_an_error(void **state)
{
    (void)state;
    struct rig rig = rig_open(&SPEC, 1);
    const struct sampler sampler = random_sampler();
    const int length = 1;
    int32_t tokens[LENGTH] = {2};
    const struct parameter *bias = parameters_find(model_parameters(rig.model), "head/bias");
    model_weights(rig.model)[bias->offset + 4] = NAN;
    model_weights_changed(rig.model);
    assert_fails(generate_tokens(&(struct generation){
        .model = rig.model, .sampler = &sampler, .rows = 1, .length = LENGTH,
        .prompt_lengths = &length}, tokens, NULL, NULL), "not finite");
    rig_close(&rig);
}

static void test_more_tokens_than_positions_are_refused(void **state)
{
    (void)state;
    struct rig rig = rig_open(&SPEC, 1);
    const struct sampler sampler = random_sampler();
    const int length = 1;
    int32_t tokens[LENGTH + 1] = {2};
    assert_fails(generate_tokens(&(struct generation){
        .model = rig.model, .sampler = &sampler, .rows = 1, .length = LENGTH + 1,
        .prompt_lengths = &length}, tokens, NULL, NULL), "16 positions");
    rig_close(&rig);
}

static struct tokenizer *tokenizer_open(const char *vocabulary)
{
    struct tokenizer *tokenizer;
    assert_ok(tokenizer_create_wordpiece(&tokenizer, vocabulary, strlen(vocabulary), "vocabulary",
                                         &(struct wordpiece_options){
                                             .lowercase = true, .split = true,
                                             .split_on_cjk = true}));
    return tokenizer;
}

static void test_prompts_begin_with_bos_and_are_cut_to_length(void **state)
{
    (void)state;
    struct tokenizer *tokenizer = tokenizer_open(VOCABULARY);
    struct prompt prompt;
    assert_ok(prompt_encode(&prompt, tokenizer, "A cab.", 16));
    const int32_t expected[] = {2, 3, 13, 11};
    assert_int_equal(prompt.count, 4);
    assert_memory_equal(prompt.ids, expected, sizeof expected);
    assert_false(prompt.cut);
    prompt_release(&prompt);

    assert_ok(prompt_encode(&prompt, tokenizer, "a cab .", 4));
    assert_int_equal(prompt.count, 4);
    assert_false(prompt.cut);
    prompt_release(&prompt);

    assert_ok(prompt_encode(&prompt, tokenizer, "a cab .", 3));
    assert_int_equal(prompt.count, 3);
    assert_true(prompt.cut);
    prompt_release(&prompt);

    assert_ok(prompt_encode(&prompt, tokenizer, "", 3));
    assert_int_equal(prompt.count, 1);
    prompt_release(&prompt);
    tokenizer_destroy(tokenizer);

    tokenizer = tokenizer_open("[UNK]\na\n");
    assert_fails(prompt_encode(&prompt, tokenizer, "", 3), "no [BOS]");
    tokenizer_destroy(tokenizer);
}

static void test_texts_hold_the_prompt_and_end_before_pad(void **state)
{
    (void)state;
    enum { TEXTS = 40 };
    struct rig rig = rig_open(&SPEC, 1);
    struct tokenizer *tokenizer = tokenizer_open(VOCABULARY);
    struct sampler sampler = random_sampler();
    sampler.temperature = 3;
    struct prompt prompt, prompts[TEXTS];
    struct generated texts[TEXTS], stripped[TEXTS];
    const int32_t stop = generate_default_stop(tokenizer);
    int shorter = 0;
    assert_ok(prompt_encode(&prompt, tokenizer, "Dad, a cab", 16));
    for (int i = 0; i < TEXTS; i++)
        prompts[i] = prompt;
    struct text_generation generation = {
        .model = rig.model, .tokenizer = tokenizer, .sampler = &sampler, .prompts = prompts,
        .length = LENGTH, .count = TEXTS, .stop_ids = &stop, .stop_count = 1,
    };
    assert_ok(generate_texts(&generation, texts));
    generation.strip_prompt = true;
    assert_ok(generate_texts(&generation, stripped));
    for (int i = 0; i < TEXTS; i++) {
        assert_int_equal(strncmp(texts[i].text, "dad [UNK] a cab", 15), 0);
        assert_null(strstr(texts[i].text, "[PAD]"));
        shorter += texts[i].count < LENGTH;
        assert_true(texts[i].count == LENGTH || texts[i].ids[texts[i].count - 1] == stop);
        assert_null(strstr(stripped[i].text, "dad [UNK] a cab"));
        assert_int_equal(stripped[i].count, texts[i].count);
        generated_release(&texts[i]);
        generated_release(&stripped[i]);
    }
    assert_true(shorter > 0);
    prompt_release(&prompt);
    tokenizer_destroy(tokenizer);
    rig_close(&rig);
}

struct told {
    int32_t tokens[2][LENGTH];
    int calls;
};

static void remember(void *self, int row, int position, int32_t token)
{
    struct told *told = self;
    told->tokens[row][position] = token;
    told->calls++;
}

static void test_tokens_are_told_as_they_are_decided(void **state)
{
    (void)state;
    struct rig rig = rig_open(&SPEC, 1);
    const int lengths[2] = {2, 4};
    const enum sampler_kind kinds[] = {SAMPLER_GREEDY, SAMPLER_RANDOM, SAMPLER_CONTRASTIVE};
    for (int i = 0; i < 3; i++) {
        const struct sampler sampler = {.kind = kinds[i], .k = 4, .alpha = 0.6, .temperature = 1};
        struct told told = {0};
        int32_t tokens[2 * LENGTH] = {2, 7, [LENGTH] = 2, 9, 8, 7};
        assert_ok(generate_tokens(&(struct generation){
            .model = rig.model, .sampler = &sampler, .rows = 2, .length = LENGTH,
            .prompt_lengths = lengths, .on_token = remember, .self = &told}, tokens, NULL, NULL));
        assert_int_equal(told.calls, 2 * (LENGTH - 2));
        for (int r = 0; r < 2; r++)
            assert_memory_equal(told.tokens[r] + 2, tokens + r * LENGTH + 2,
                                (LENGTH - 2) * sizeof *tokens);
    }
    rig_close(&rig);
}

static void test_contrastive_without_contrast_is_greedy(void **state)
{
    (void)state;
    struct rig rig = rig_open(&SPEC, 1);
    const struct sampler greedy = {.kind = SAMPLER_GREEDY, .temperature = 1};
    struct sampler contrastive = {.kind = SAMPLER_CONTRASTIVE, .k = 4, .temperature = 1};
    const int lengths[2] = {1, 3};
    int32_t expected[2 * LENGTH] = {2, [LENGTH] = 2, 9, 8}, tokens[2 * LENGTH];
    memcpy(tokens, expected, sizeof tokens);
    struct generation generation = {
        .model = rig.model, .sampler = &greedy, .rows = 2, .length = LENGTH,
        .prompt_lengths = lengths,
    };
    assert_ok(generate_tokens(&generation, expected, NULL, NULL));
    generation.sampler = &contrastive;
    assert_ok(generate_tokens(&generation, tokens, NULL, NULL));
    assert_memory_equal(tokens, expected, sizeof tokens);

    contrastive.k = SPEC.V + 1;
    assert_fails(generate_tokens(&generation, tokens, NULL, NULL), "only 19 tokens");
    rig_close(&rig);
}

static void test_a_vocabulary_larger_than_the_model_is_refused(void **state)
{
    (void)state;
    struct model_spec spec = SPEC;
    spec.V = 12;
    struct rig rig = rig_open(&spec, 1);
    struct tokenizer *tokenizer = tokenizer_open(VOCABULARY);
    const struct sampler sampler = random_sampler();
    struct prompt prompt;
    struct generated text;
    assert_ok(prompt_encode(&prompt, tokenizer, "bad", 16));
    assert_fails(generate_texts(&(struct text_generation){
        .model = rig.model, .tokenizer = tokenizer, .sampler = &sampler, .prompts = &prompt,
        .length = LENGTH, .count = 1}, &text), "16 entries, more than the 12");
    prompt_release(&prompt);
    tokenizer_destroy(tokenizer);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_row_does_not_depend_on_its_batch_or_on_threads),
        cmocka_unit_test(test_longer_prompts_keep_their_tokens),
        cmocka_unit_test(test_wide_beam_finds_the_best_of_all_texts),
        cmocka_unit_test(test_beams_score_is_that_of_their_text),
        cmocka_unit_test(test_ids_without_an_entry_are_never_chosen),
        cmocka_unit_test(test_a_diverged_model_is_an_error),
        cmocka_unit_test(test_more_tokens_than_positions_are_refused),
        cmocka_unit_test(test_prompts_begin_with_bos_and_are_cut_to_length),
        cmocka_unit_test(test_texts_hold_the_prompt_and_end_before_pad),
        cmocka_unit_test(test_tokens_are_told_as_they_are_decided),
        cmocka_unit_test(test_contrastive_without_contrast_is_greedy),
        cmocka_unit_test(test_a_vocabulary_larger_than_the_model_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
