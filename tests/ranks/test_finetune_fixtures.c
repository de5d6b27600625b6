/* test_finetune_fixtures.c - a run that starts from a preset trains as KerasHub does: the cases
 * under gpt2/ of the fixtures, from text to logged losses, on any number of ranks. */
#include "testing.h"

#include "base/config.h"
#include "comm/comm.h"
#include "data_files.h"
#include "json_fixture.h"
#include "keras_fixture.h"
#include "train/job.h"

#include <glob.h>
#include <math.h>

enum { MOST_ROWS = 16, MOST_SETTINGS = 40 };

static struct comm *comm;

/* What a run logged. */
struct rows {
    int count;
    double loss[MOST_ROWS], accuracy[MOST_ROWS], validation_loss[MOST_ROWS];
    int validations;
};

struct fixture_case {
    struct keras_fixture fixture;
    char *folder;            /* the same on every rank */
    char preset[700], text[700], json[700];
    double weight_sum;       /* of all sample weights */
};

static void open_case(struct fixture_case *c, const char *path)
{
    const int length = (int)(strrchr(path, '/') - path);
    keras_fixture_open(&c->fixture, path);
    snprintf(c->preset, sizeof c->preset, "%.*s/preset", length, path);
    snprintf(c->json, sizeof c->json, "%.*s/generate.json", length, path);
    char name[200] = "";
    char *own = comm_rank(comm) == 0 ? folder_create() : NULL;
    if (own)
        snprintf(name, sizeof name, "%s", own);
    assert_ok(comm_broadcast(comm, name, sizeof name));
    c->folder = own ? own : strdup(name);
    snprintf(c->text, sizeof c->text, "%s/texts.txt", c->folder);
    if (comm_rank(comm) == 0) {
        char *lines = keras_fixture_texts(&c->fixture);
        free(file_write(c->folder, "texts.txt", lines, strlen(lines)));
        free(lines);
    }
    assert_ok(comm_barrier(comm));
    struct batch batch;
    keras_fixture_gpt2_batch(&c->fixture, &batch);
    c->weight_sum = 0;
    for (int i = 0; i < batch.B * batch.T; i++)
        c->weight_sum += batch.loss_mask[i];
    keras_fixture_free(&batch);
}

static void close_case(struct fixture_case *c)
{
    keras_fixture_close(&c->fixture);
    assert_ok(comm_barrier(comm));
    if (comm_rank(comm) == 0)
        folder_remove(c->folder);
    else
        free(c->folder);
}

static void read_rows(const char *folder, struct rows *rows)
{
    char path[900];
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    struct bytes text = file_read(path);
    text.data = realloc(text.data, text.count + 1);
    text.data[text.count] = '\0';
    *rows = (struct rows){.count = 0};
    char *rest = NULL;
    for (char *line = strtok_r(text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        cJSON *row = cJSON_Parse(line);
        assert_true(rows->count < MOST_ROWS && rows->validations < MOST_ROWS);
        if (cJSON_HasObjectItem(row, "validation_loss")) {
            rows->validation_loss[rows->validations++] = json_number(row, "validation_loss", 0);
        } else {
            rows->accuracy[rows->count] = json_number(row, "accuracy", 0);
            rows->loss[rows->count++] = json_number(row, "loss", 0);
        }
        cJSON_Delete(row);
    }
    free(text.data);
}

/* Trains in a run folder of that name as `settings` (NULL-ended) say, and reads what rank 0
 * logged. */
static void train(const struct fixture_case *c, const char *name, const char *const *settings,
                  struct rows *rows)
{
    char run[800], texts[4][900];
    const char *list[MOST_SETTINGS] = {
        "data.shuffle=false", "data.min_bytes=1", "train.global_batch=8", "model.dropout=0",
        "train.log_every_steps=1", "train.loss_mean=positions", "validation.every_epochs=0",
        "checkpoint.every_epochs=0", "device.threads=1", "device.kind=cpu"};
    int n = 0;
    while (list[n])
        n++;
    snprintf(run, sizeof run, "%s/%s", c->folder, name);
    snprintf(texts[0], sizeof texts[0], "run.folder=%s", run);
    snprintf(texts[1], sizeof texts[1], "run.start_from=%s", c->preset);
    snprintf(texts[2], sizeof texts[2], "data.train=%s", c->text);
    snprintf(texts[3], sizeof texts[3], "data.sequence_length=%d", c->fixture.T);
    for (int i = 0; i < 4; i++)
        list[n++] = texts[i];
    for (int i = 0; settings[i]; i++)
        list[n++] = settings[i];
    struct config *config;
    struct job *job;
    assert_ok(config_load(&config, NULL, list, n));
    assert_ok(job_open(&job, comm, config, (double)INFINITY));
    assert_ok(job_run(job));
    job_close(job);
    config_destroy(config);
    assert_ok(comm_barrier(comm));
    read_rows(run, rows);
}

static void assert_near(const char *what, int step, double got, double expected, double bound)
{
    if (!(fabs(got - expected) <= bound * fabs(expected)))
        fail_msg("%s of step %d is %.9g, expected %.9g within %g", what, step, got, expected,
                 bound);
}

static double number(const struct fixture_case *c, const char *path)
{
    double value;
    keras_fixture_doubles(&c->fixture, path, &value, 1);
    return value;
}

/* Five steps of Adam with a polynomial decay. */
static void check_losses(const struct fixture_case *c)
{
    enum { STEPS = 5 };
    static const char group[] = "float64/adam_polynomial";
    const struct keras_fixture *f = &c->fixture;
    char rate[64], end[64], power[64], decay[64];
    snprintf(rate, sizeof rate, "optimizer.learning_rate=%.17g",
             keras_fixture_attribute(f, group, "initial_learning_rate", 0));
    snprintf(end, sizeof end, "schedule.end_learning_rate=%.17g",
             keras_fixture_attribute(f, group, "end_learning_rate", 0));
    snprintf(power, sizeof power, "schedule.power=%.17g",
             keras_fixture_attribute(f, group, "power", 1));
    snprintf(decay, sizeof decay, "schedule.decay_steps=%.0f",
             keras_fixture_attribute(f, group, "decay_steps", 0));
    struct rows rows;
    train(c, "polynomial", (const char *const[]){
        "schedule.kind=polynomial", rate, end, power, decay, "train.steps=5", NULL}, &rows);
    double losses[STEPS];
    keras_fixture_doubles(f, "float64/adam_polynomial/losses", losses, STEPS);
    assert_int_equal(rows.count, STEPS);
    for (int i = 0; i < STEPS; i++)
        assert_near("loss", i + 1, rows.loss[i], losses[i], 1e-5);
    assert_near("accuracy", 1, rows.accuracy[0], number(c, "float64/forward/weighted_accuracy"),
                1e-6);
}

/* KerasHub under mixed_bfloat16. */
static void check_mixed_precision(const struct fixture_case *c)
{
    cJSON *json = json_fixture_open(c->json);
    const cJSON *mixed = cJSON_GetObjectItem(
        cJSON_GetObjectItem(json, "mixed_precision"), "mixed_bfloat16");
    double losses[MOST_ROWS];
    char rate[64], steps[64];
    const int count = json_numbers(cJSON_GetObjectItem(mixed, "losses"), losses, MOST_ROWS);
    assert_true(count > 1);
    snprintf(rate, sizeof rate, "optimizer.learning_rate=%.17g",
             json_number(mixed, "learning_rate", 0));
    snprintf(steps, sizeof steps, "train.steps=%d", count);
    struct rows rows;
    train(c, "mixed", (const char *const[]){"train.precision=bf16", rate, steps, NULL}, &rows);
    assert_int_equal(rows.count, count);
    for (int i = 0; i < count; i++)
        assert_near("mixed_bfloat16 loss", i + 1, rows.loss[i], losses[i], 2e-2);
    cJSON_Delete(json);
}

/* Both means, where the last global batch is short and leaves nothing for a second rank. Nothing
 * moves, so that the sums of losses of the two steps are that of the whole. */
static void check_means(const struct fixture_case *c)
{
    const double T = c->fixture.T, whole = number(c, "float64/forward/loss");
    const char *settings[] = {
        "train.global_batch=6", "train.steps=2", "optimizer.learning_rate=0",
        "validation.every_steps=2", "train.loss_mean=positions", NULL, NULL};
    char validation[900];
    snprintf(validation, sizeof validation, "data.validation=%s", c->text);
    settings[5] = validation;
    struct rows rows, tokens;
    train(c, "positions", settings, &rows);
    assert_int_equal(rows.count, 2);
    assert_near("sum of losses", 2, rows.loss[0] * 6 * T + rows.loss[1] * 2 * T, whole * 8 * T,
                1e-5);
    assert_int_equal(rows.validations, 1);
    assert_near("validation loss", 2, rows.validation_loss[0], whole, 1e-5);

    settings[4] = "train.loss_mean=tokens";
    train(c, "tokens", settings, &tokens);
    const double counted[2] = {rows.loss[0] * 6 * T / tokens.loss[0],
                               rows.loss[1] * 2 * T / tokens.loss[1]};
    assert_near("tokens in the loss", 2, counted[0] + counted[1], c->weight_sum, 1e-5);
    assert_near("validation loss", 2, tokens.validation_loss[0], whole * 8 * T / c->weight_sum,
                1e-5);
}

static void test_runs_train_as_keras(void **state)
{
    const glob_t *cases = *state;
    for (size_t i = 0; i < cases->gl_pathc; i++) {
        struct fixture_case c;
        print_message("%s\n", cases->gl_pathv[i]);
        open_case(&c, cases->gl_pathv[i]);
        check_losses(&c);
        check_means(&c);
        check_mixed_precision(&c);
        close_case(&c);
    }
}

int main(void)
{
    char folder[512], pattern[600];
    glob_t cases;
    if (!fixtures_folder("gpt2", folder, sizeof folder)) {
        puts("skipped: no fixtures (GALLEY_FIXTURES)");
        return 77;
    }
    snprintf(pattern, sizeof pattern, "%s/*/reference.h5", folder);
    if (glob(pattern, 0, NULL, &cases)) {
        puts("skipped: no gpt2 cases");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_runs_train_as_keras, &cases),
    };
    struct error *e = comm_open(&comm);
    if (e)
        return comm_end(comm, e);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_close(comm);
    globfree(&cases);
    return failed;
}
