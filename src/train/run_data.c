/* run_data.c - the data of a run, as its configuration says. */
#include "train/run_data.h"

#include "base/stop.h"
#include "train/evaluation.h"
#include "train/job.h"

#include <stdio.h>
#include <string.h>

static enum corpus_kind kind_of(const char *name)
{
    return !strcmp(name, "lines") ? CORPUS_LINES : !strcmp(name, "tokens") ? CORPUS_TOKENS
                                                                           : CORPUS_AUTO;
}

struct error *run_data_open(struct corpus **out, const struct config *config, bool validation,
                            const struct tokenizer *tokenizer, enum run_data_cache use)
{
    const struct config *const c = config;
    const struct config_list *const inputs = validation ? &c->data.validation : &c->data.train;
    char cache[4400];
    snprintf(cache, sizeof cache, "%s/cache", c->run.folder);
    return corpus_open(out, &(struct corpus_options){
        .kind = kind_of(c->data.kind),
        .data = {
            .inputs = (const char *const *)inputs->items, .input_count = inputs->count,
            .field = c->data.field, .min_bytes = config_min_bytes(c),
            .cache_folder = use == RUN_DATA_UNCACHED ? NULL : cache,
            .cache_read_only = use == RUN_DATA_READ, .name = validation ? "validation" : "training",
            .show_progress = use != RUN_DATA_READ,
        },
        .weights = (const char *const *)c->data.weights.items,
        .weight_count = validation ? 0 : c->data.weights.count,
        .tokenizer = tokenizer, .T = (int)c->data.sequence_length,
        .format = text_format_of(job_wanted_spec(c).family), .add_start = c->data.start_token,
        .add_end = c->data.end_token,
        .vocabulary_size = c->model.vocabulary_size, .mask_documents = c->data.mask_documents,
        .restart_positions = c->data.restart_positions, .seed = (uint64_t)c->run.seed,
        .shuffle = !validation && c->data.shuffle, .global_batch = (int)c->train.global_batch});
}

static bool any_pipe(const struct config_list *inputs, const char **path)
{
    for (int i = 0; i < inputs->count; i++)
        if (pipe_is_one(*path = inputs->items[i]))
            return true;
    return false;
}

struct error *run_data_find_pipe(const struct config *config, bool *piped)
{
    const struct config *const c = config;
    const char *path;
    if (any_pipe(&c->data.validation, &path))
        return error_new(ERROR_USAGE, "data.validation has %s, which is a pipe; what is validated "
                         "on is read again and again, so it must be files", path);
    *piped = any_pipe(&c->data.train, &path);
    if (!*piped)
        return NULL;
    if (c->data.train.count > 1 || c->data.weights.count > 0)
        return error_new(ERROR_USAGE, "data.train has %s, which is a pipe, and %s; a pipe is the "
                         "only input, and what is written into it can be a blend", path,
                         c->data.weights.count > 0 ? "data.weights" : "other inputs");
    if (c->train.steps == 0)
        return error_new(ERROR_USAGE, "data.train is the pipe %s, which can be read once and does "
                         "not tell its length, so train.epochs cannot be followed; give the most "
                         "steps there shall be as train.steps: training ends there, or where "
                         "the pipe does", path);
    return NULL;
}

struct pipe_windows_options run_data_pipe(const struct config *config,
                                          const struct tokenizer *tokenizer)
{
    const struct config *const c = config;
    return (struct pipe_windows_options){
        .samples = {
            .path = c->data.train.items[0], .kind = kind_of(c->data.kind), .field = c->data.field,
            .min_bytes = config_min_bytes(c), .tokenizer = tokenizer,
            .format = text_format_of(job_wanted_spec(c).family), .add_start = c->data.start_token,
            .add_end = c->data.end_token, .vocabulary_size = c->model.vocabulary_size,
            .T = (int)c->data.sequence_length, .allow_changed = c->run.allow_changed_data,
        },
        .global_batch = (int)c->train.global_batch, .window = (int)c->data.pipe_window,
        .shuffle = c->data.shuffle, .seed = (uint64_t)c->run.seed, .drop_last = c->data.drop_last,
        .stop_asked = stop_asked, .silence_s = (double)c->deadline.data,
    };
}
