/* fresh_run.c - from weights to a run that can be gone on from. */
#include "train/fresh_run.h"

#include "base/config.h"
#include "train/checkpoint.h"
#include "train/model_settings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The configuration as YAML, for the caller to free. */
static struct error *make_config(const char *run_folder, const struct model_spec *spec,
                                 const struct tokenizer *tokenizer, char **yaml)
{
    struct model_settings s = {.count = 0};
    struct config *config;
    model_settings_add(&s, "run.folder=%.100s", run_folder);
    model_settings_of_spec(&s, spec);
    model_settings_add(&s, "data.sequence_length=%d", spec->positions);
    model_settings_of_tokenizer(&s, tokenizer_definition(tokenizer));
    TRY(config_load(&config, NULL, s.list, s.count));
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
