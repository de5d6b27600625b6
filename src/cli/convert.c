/* convert.c - the verb `galley convert`: weights from and to KerasHub and Hugging Face. */
#include "base/log.h"
#include "cli/model_options.h"
#include "cli/verbs.h"
#include "formats/output.h"
#include "presets/preset.h"
#include "train/fresh_run.h"
#include "train/model_source.h"

#include <stdlib.h>
#include <string.h>

struct request {
    struct model_source_options source;
    const char *output;
    const struct target *target;
    enum element_type type;
    bool type_given, overwrite;
    double shard_megabytes;    /* 0: one file */
};

/* What can be written; PRESET_NONE is a run folder of our own. */
static const struct target {
    const char *name;
    enum preset_kind kind;
    bool folder;
} targets[] = {
    {"keras", PRESET_KERAS, true},
    {"huggingface", PRESET_HUGGING_FACE, true},
    {"weights-h5", PRESET_KERAS_WEIGHTS, false},
    {"galley", PRESET_NONE, true},
};

static struct error *read_target(void *request, const char *name)
{
    struct request *const r = request;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        if (!strcmp(targets[i].name, name)) {
            r->target = &targets[i];
            return NULL;
        }
    }
    return error_new(ERROR_USAGE, "--to is \"%s\"; it must be keras, huggingface, weights-h5 or "
                     "galley", name);
}

static struct error *read_type(void *request, const char *name)
{
    struct request *const r = request;
    r->type_given = true;
    return element_parse(&r->type, name);
}

static const struct cli_option flags[] = {
    CLI_READ("to", read_target),
    CLI_READ("dtype", read_type),
    CLI_DOUBLE("shard-megabytes", struct request, shard_megabytes, 1e-3, 1e9),
    CLI_FLAG("overwrite", struct request, overwrite),
    CLI_SOURCE_OPTIONS(struct request, source),
    {.name = NULL},
};

static struct error *parse(struct request *r, int argc, char **argv)
{
    struct cli_arguments rest;
    *r = (struct request){.type = ELEMENT_F32};
    TRY(cli_read_options(&rest, "convert", flags, r, argc, argv));
    if (rest.count != 2 || !r->target)
        return error_new(ERROR_USAGE, "galley convert takes INPUT, OUTPUT and --to KIND");
    r->source.path = rest.list[0];
    r->output = rest.list[1];
    if (r->target->kind == PRESET_NONE && (r->type_given || r->shard_megabytes > 0))
        return error_new(ERROR_USAGE, "Galley's checkpoints are one file of fp32: --dtype and "
                         "--shard-megabytes mean nothing to --to galley");
    if (!r->target->folder && r->shard_megabytes > 0)
        return error_new(ERROR_USAGE, "--shard-megabytes means nothing to --to %s: it is one file",
                         r->target->name);
    return NULL;
}

/* What is read, as one thing to pass on. */
struct loaded {
    struct model_source *source;
    struct parameters *parameters;
    float *weights;
};

static struct error *load(struct loaded *l, const struct model_source_options *options)
{
    TRY(model_source_open(&l->source, options));
    TRY(parameters_create(&l->parameters, model_source_spec(l->source)));
    l->weights = calloc((size_t)l->parameters->flat_count, sizeof *l->weights);
    if (!l->weights)
        return error_new(ERROR_MEMORY, "no memory for %lld parameters",
                         (long long)l->parameters->count);
    return model_source_read(l->source, l->parameters, l->weights);
}

static void release(struct loaded *l)
{
    free(l->weights);
    parameters_destroy(l->parameters);
    model_source_close(l->source);
}

static struct error *write_run(const struct request *r, const struct loaded *l, const char *folder)
{
    const struct tokenizer *tokenizer = model_source_tokenizer(l->source);
    const struct checkpoint_file *checkpoint = model_source_checkpoint(l->source);
    if (!tokenizer)
        return error_new(ERROR_USAGE, "%s has no tokenizer, and a run needs one: name a vocabulary "
                         "with --tokenizer", r->source.path);
    return fresh_run_write(folder, r->output, model_source_spec(l->source), l->parameters,
                           l->weights, tokenizer,
                           checkpoint && !r->source.tokenizer ? checkpoint_config(checkpoint)
                                                              : NULL);
}

static struct error *write_output(const struct request *r, const struct loaded *l)
{
    struct output output;
    const struct tokenizer *tokenizer = model_source_tokenizer(l->source);
    TRY(output_begin(&output, r->output, r->target->folder, r->overwrite));
    struct error *e =
        r->target->kind == PRESET_NONE
            ? write_run(r, l, output.partial)
            : preset_write(output.partial, r->target->kind, &(struct preset_content){
                  .spec = model_source_spec(l->source), .parameters = l->parameters,
                  .weights = l->weights, .tokenizer = tokenizer, .type = r->type,
                  .shard_bytes = (uint64_t)(r->shard_megabytes * 1048576)});
    TRY(output_end(&output, e));
    if (!tokenizer && r->target->folder)
        log_warning("%s has no tokenizer, so neither has %s", r->source.path, r->output);
    if (r->target->kind == PRESET_KERAS_WEIGHTS && tokenizer)
        log_info("a file of weights has no tokenizer; that of %s stays behind", r->source.path);
    return NULL;
}

static struct error *run_convert(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    struct request r;
    struct loaded l = {0};
    TRY(parse(&r, argc, argv));
    struct error *e = load(&l, &r.source);
    if (!e)
        e = write_output(&r, &l);
    if (!e) {
        if (model_source_checkpoint(l.source))
            log_info("only the weights are converted; the optimizer's state stays behind");
        log_info("%s  %s model of %lld parameters in %s, from the %s %s", r.output,
                 spec_family_name(model_source_spec(l.source)->family),
                 (long long)l.parameters->count, element_name(r.type),
                 model_source_kind(l.source), model_source_path(l.source));
    }
    release(&l);
    return e;
}

const struct verb verb_convert = {
    .name = "convert",
    .summary = "weights from and to KerasHub and Hugging Face",
    .run = run_convert,
    .help =
        "usage: galley convert INPUT OUTPUT --to KIND [OPTION...]\n\n"
        "INPUT is a run folder (its newest checkpoint), a checkpoint, a KerasHub preset, a Hugging\n"
        "Face folder, or a .weights.h5 file of the mini-GPT, a GPT2CausalLM or a GPT2Backbone.\n"
        "OUTPUT appears whole or not at all.\n\n"
        "  --to KIND\n"
        "      keras              a KerasHub preset (GPT-2): GPT2CausalLM.from_preset(OUTPUT)\n"
        "      huggingface        a folder for GPT2LMHeadModel.from_pretrained(OUTPUT)\n"
        "      weights-h5         a file for load_weights(OUTPUT) of a GPT2CausalLM or the mini-GPT\n"
        "      galley             a run folder, to generate with or to train on\n"
        "  --dtype TYPE           fp32 (default), fp16 or bf16, rounded to nearest\n"
        "  --shard-megabytes N    several files of weights, each of N MiB at most\n"
        "  --overwrite            OUTPUT may be there already\n\n"
        CLI_SOURCE_HELP "\n"
        "example: galley convert runs/poems poems-preset --to keras\n",
};
