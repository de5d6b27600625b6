/* run_data.c - the data of a run, as its configuration says. */
#include "train/run_data.h"

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
        .shuffle = !validation && c->data.shuffle});
}
