/* sampling.c - texts of the model in training: printed, and rows of samples.jsonl. */
#include "train/sampling.h"

#include "base/log.h"
#include "base/tell.h"
#include "base/terminal.h"
#include "generate/generate.h"
#include "train/sample_row.h"

#include <stdlib.h>

/* A sample of the configuration, made ready. */
struct sample {
    struct sampler sampler;
    struct prompt prompt;
    const char *text;      /* the prompt as it was given */
    int length;
    int32_t stop;
};

struct sampling {
    struct sampling_options options;
    struct sample samples[CONFIG_SAMPLES];
};

static void sampling_destroy(void *self)
{
    struct sampling *s = self;
    for (int i = 0; i < CONFIG_SAMPLES; i++)
        prompt_release(&s->samples[i].prompt);
    free(s);
}

static struct error *sample_prepare(struct sample *sample, const struct config_sample *config,
                                    const struct sampling_options *options)
{
    const int positions = model_spec(options->model)->positions;
    *sample = (struct sample){
        .sampler = {
            .k = (int)config->k, .p = config->p, .beams = (int)config->beams,
            .alpha = config->alpha, .temperature = config->temperature,
            .seed = (uint64_t)config->seed,
        },
        .text = config->prompt,
        .length = config->max_length > 0 ? (int)config->max_length : options->sequence_length,
        .stop = generate_default_stop(options->tokenizer),
    };
    TRY(sampler_parse(&sample->sampler.kind, config->sampler));
    if (sample->sampler.k == 0 && sample->sampler.kind != SAMPLER_TOP_P)
        sample->sampler.k = SAMPLER_DEFAULT_K;
    TRY(sampler_check(&sample->sampler));
    if (sample->length > positions)
        return error_new(ERROR_USAGE, "max_length is %d; the model has %d positions",
                         sample->length, positions);
    return prompt_encode(&sample->prompt, options->tokenizer, sample->text, sample->length);
}

/* Where a progress bar stands on the terminal's last line, the text replaces it. */
static void print_sample(FILE *out, const struct step_report *report, const struct sample *sample,
                         const char *text)
{
    char settings[128];
    sampler_describe(&sample->sampler, settings, sizeof settings);
    tell(out, "%ssample  step %lld  %s\n    %s\n", terminal_watched(out) ? "\r\033[K" : "",
         (long long)report->step, settings, text);
}

static struct error *write_sample(const struct sampling *s, const struct sample *sample,
                                  const struct step_report *report)
{
    char *json = NULL;
    struct generated written;
    TRY(generate_texts(&(struct text_generation){
        .model = s->options.model, .tokenizer = s->options.tokenizer, .sampler = &sample->sampler,
        .prompts = &sample->prompt, .length = sample->length, .count = 1, .stop_ids = &sample->stop,
        .stop_count = 1}, &written));

    print_sample(s->options.out, report, sample, written.text);
    struct error *e = sample_row_json(&(struct sample_row){
        .step = report->step, .epoch = report_epochs(report), .sampler = &sample->sampler,
        .max_length = sample->length, .prompt = sample->text, .written = &written}, &json);
    if (!e)
        run_folder_add_sample(s->options.folder, json);
    free(json);
    generated_release(&written);
    return e;
}

static struct error *sampling_run(void *self, const struct step_report *report)
{
    const struct sampling *s = self;
    for (int i = 0; i < s->options.sample_count; i++) {
        struct error *e = write_sample(s, &s->samples[i], report);
        if (e)
            return error_context(e, "sample %d after step %lld", i, (long long)report->step);
    }
    return NULL;
}

struct error *sampling_callback(struct callback *callback, const struct sampling_options *options)
{
    struct sampling *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory for the samples (%zu bytes)", sizeof *s);
    s->options = *options;
    for (int i = 0; i < options->sample_count; i++) {
        struct error *e = sample_prepare(&s->samples[i], &options->samples[i], options);
        if (e) {
            sampling_destroy(s);
            return error_context(e, "sampling.samples.%d", i);
        }
        if (s->samples[i].prompt.cut)
            log_warning("the prompt of sampling.samples.%d is longer than its max_length, %d "
                        "tokens: it is cut, and nothing follows it", i, s->samples[i].length);
    }
    *callback = (struct callback){
        .name = "sampling", .phase = COMM_SAMPLING, .when = options->when, .exact = options->when,
        .who = RANK_0, .run = sampling_run, .destroy = sampling_destroy, .self = s,
    };
    return NULL;
}
