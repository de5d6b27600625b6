/* fresh_run.c - from weights to a run that can be gone on from. */
#include "train/fresh_run.h"

#include "base/config.h"
#include "train/checkpoint.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { SETTINGS = 11, SETTING_BYTES = 128 };

struct settings {
    char text[SETTINGS][SETTING_BYTES];
    const char *list[SETTINGS];
    int n;
};

static void set(struct settings *s, const char *format, ...) PRINTF_LIKE(2, 3);

static void set(struct settings *s, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(s->text[s->n], SETTING_BYTES, format, arguments);
    va_end(arguments);
    s->list[s->n] = s->text[s->n];
    s->n++;
}

/* The configuration as YAML, for the caller to free. */
static struct error *make_config(const char *run_folder, const struct model_spec *spec,
                                 const struct tokenizer *tokenizer, char **yaml)
{
    const struct tokenizer_definition *d = tokenizer_definition(tokenizer);
    struct settings s = {.n = 0};
    struct config *config;
    set(&s, "run.folder=%.100s", run_folder);
    set(&s, "model.family=%s", spec_family_name(spec->family));
    set(&s, "model.vocabulary_size=%d", spec->V);
    set(&s, "model.channels=%d", spec->C);
    set(&s, "model.heads=%d", spec->NH);
    set(&s, "model.feed_forward=%d", spec->F);
    set(&s, "model.layers=%d", spec->L);
    set(&s, "model.max_positions=%d", spec->positions);
    set(&s, "model.dropout=%.7g", (double)spec->dropout);
    set(&s, "data.sequence_length=%d", spec->positions);
    set(&s, "tokenizer.kind=%s", tokenizer_kind_name(d->kind));
    TRY(config_load(&config, NULL, s.list, s.n));
    if (d->kind == TOKENIZER_WORDPIECE) {
        config->tokenizer.lowercase = d->wordpiece.lowercase;
        config->tokenizer.strip_accents = d->wordpiece.strip_accents;
        config->tokenizer.split_on_cjk = d->wordpiece.split_on_cjk;
    }
    struct error *e = config_print(config, yaml);
    config_destroy(config);
    return e;
}

static struct error *make_folder(const char *folder)
{
    char *path;
    if (asprintf(&path, "%s/checkpoints", folder) < 0)
        return error_new(ERROR_MEMORY, "no memory for a path");
    struct error *e =
        mkdir(path, 0777) ? error_errno(ERROR_IO, "cannot make the folder %s", path) : NULL;
    free(path);
    return e;
}

struct error *fresh_run_write(const char *folder, const char *run_folder,
                              const struct model_spec *spec, const struct parameters *parameters,
                              const float *weights, const struct tokenizer *tokenizer,
                              const char *config_yaml)
{
    char *yaml = NULL;
    size_t bytes;
    struct error *e = config_yaml ? NULL : make_config(run_folder, spec, tokenizer, &yaml);
    float *zeros = e ? NULL : calloc((size_t)parameters->flat_count, sizeof *zeros);
    if (!e && !zeros)
        e = error_new(ERROR_MEMORY, "no memory for the moments of %lld parameters",
                      (long long)parameters->count);
    if (!e)
        e = make_folder(folder);
    if (!e)
        e = checkpoint_write(folder, &(struct checkpoint){
            .spec = spec, .parameters = parameters, .weights = weights, .m = zeros, .v = zeros,
            .tokenizer = tokenizer, .config_yaml = config_yaml ? config_yaml : yaml,
            .progress = {.seed = 1, .world_size = 1, .best_perplexity = (double)INFINITY,
                         .best_step = -1}}, &bytes);
    free(zeros);
    free(yaml);
    return e;
}
