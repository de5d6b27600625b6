/* evaluate.c - the verb `galley evaluate`: loss, perplexity, bits per byte and accuracy on text. */
#include "base/config.h"
#include "cli/model_options.h"
#include "cli/verbs.h"
#include "data/corpus.h"
#include "train/evaluation.h"
#include "train/inference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct request {
    struct cli_model model;
    const char *field;
    char *trained_field;                            /* the run's, which `field` may be */
    const char *const *inputs;
    int input_count;
    long long min_bytes, length, batch;    /* -1 or 0: as the checkpoint's run had it */
    bool start_token, end_token, mean_over_positions, mask_documents, restart_positions;    /* the run's */
    bool json;
};

static const struct cli_option flags[] = {
    CLI_TEXT("field", struct request, field),
    CLI_INT("min-bytes", struct request, min_bytes, 1, 1 << 30),
    CLI_INT("sequence-length", struct request, length, 2, 1 << 20),
    CLI_INT("batch", struct request, batch, 1, 1 << 16),
    CLI_FLAG("json", struct request, json),
    CLI_MODEL_OPTIONS(struct request, model),
    {.name = NULL},
};

static struct error *parse(struct request *r, int argc, char **argv)
{
    struct cli_arguments rest;
    *r = (struct request){.model = CLI_MODEL_DEFAULT, .min_bytes = -1, .batch = 16};
    TRY(cli_read_options(&rest, "evaluate", flags, r, argc, argv));
    if (rest.count < 2)
        return error_new(ERROR_USAGE, "galley evaluate takes a run folder, checkpoint or preset, "
                         "then text: files or globs");
    r->model.source.path = rest.list[0];
    r->inputs = (const char *const *)(rest.list + 1);
    r->input_count = rest.count - 1;
    return NULL;
}

/* What the command line left open is as in the checkpoint's run; for a preset, whole lines of any
 * length as its preprocessor makes samples of them, or as far as the model has positions. */
static struct error *complete(struct request *r, const struct inference *i)
{
    struct config *config;
    const struct checkpoint_file *file = model_source_checkpoint(i->source);
    const int positions = model_source_spec(i->source)->positions;
    if (!i->tokenizer)
        return error_new(ERROR_USAGE, "%s has no tokenizer; name its vocabulary with --tokenizer",
                         model_source_path(i->source));
    if (file) {
        TRY(config_parse(&config, checkpoint_config(file), checkpoint_path(file), NULL, 0));
    } else {
        TRY(config_load(&config, NULL, NULL, 0));
        const struct preset_preprocessor *p = preset_preprocessor(model_source_preset(i->source));
        config->data.min_bytes = 1;
        config->data.sequence_length = p->sequence_length ? p->sequence_length : positions;
        config->data.start_token = p->add_start_token;
        config->data.end_token = p->add_end_token;
    }
    if (r->min_bytes < 0)
        r->min_bytes = config_min_bytes(config);
    r->start_token = config->data.start_token;
    r->end_token = config->data.end_token;
    r->mask_documents = config->data.mask_documents;
    r->restart_positions = config->data.restart_positions;
    r->mean_over_positions = !strcmp(config->train.loss_mean, "positions");
    if (r->length == 0)
        r->length = config->data.sequence_length;
    r->trained_field = strdup(config->data.field);
    if (!r->field)
        r->field = r->trained_field;
    config_destroy(config);
    if (!r->trained_field)
        return error_new(ERROR_MEMORY, "no memory for the name of a field");
    if (r->length > positions)
        return error_new(ERROR_USAGE, "--sequence-length is %lld; the model of %s has %d positions",
                         r->length, model_source_path(i->source), positions);
    return NULL;
}

static struct error *open_model(struct inference *i, struct request *r, const struct comm *comm)
{
    TRY(inference_open(i, &(struct inference_options){
        .source = r->model.source, .precision = r->model.precision, .B = (int)r->batch,
        .T = (int)r->length,
        .device = {.kind = r->model.device, .threads = r->model.threads,
                   .local_rank = comm_local_rank(comm), .local_size = comm_local_size(comm)}}));
    return complete(r, i);
}

static void print_result(const struct request *r, const struct inference *i,
                         const struct evaluation *x)
{
    if (r->json)
        printf("{\"step\": %lld, \"loss\": %.9g, \"perplexity\": %.9g, \"bits_per_byte\": %.9g, "
               "\"accuracy\": %.9g, \"samples\": %lld, \"tokens\": %lld}\n",
               (long long)model_source_step(i->source), x->loss, x->perplexity, x->bits_per_byte,
               x->accuracy, (long long)x->samples, (long long)x->tokens);
    else
        printf("loss %.4f  perplexity %.2f  bits per byte %.4f  accuracy %.4f  (%lld samples, %lld "
               "tokens, %.1f s; %s)\n", x->loss, x->perplexity, x->bits_per_byte, x->accuracy,
               (long long)x->samples, (long long)x->tokens, x->seconds,
               model_source_path(i->source));
}

static struct error *run_evaluate(struct cli *cli, int argc, char **argv)
{
    struct request r;
    struct inference inference = {0};
    struct corpus *corpus = NULL;
    struct evaluation result;
    TRY(cli_open_comm(cli));

    /* What is wrong with a command or an input is wrong on every rank: they agree, and one
     * tells. */
    struct error *e = comm_agree(cli->comm, parse(&r, argc, argv));
    if (!e)
        e = comm_agree(cli->comm, open_model(&inference, &r, cli->comm));
    if (!e)
        e = comm_agree(cli->comm, corpus_open(&corpus, &(struct corpus_options){
            .data = {
                .inputs = r.inputs, .input_count = r.input_count, .field = r.field,
                .min_bytes = r.min_bytes, .temporary_folder = cli->temporary_folder,
                .name = "evaluation", .show_progress = comm_rank(cli->comm) == 0,
            },
            .tokenizer = inference.tokenizer, .T = (int)r.length,
            .format = text_format_of(model_source_spec(inference.source)->family),
            .add_start = r.start_token, .add_end = r.end_token,
            .mask_documents = r.mask_documents, .restart_positions = r.restart_positions,
            .vocabulary_size = model_source_spec(inference.source)->V}));
    if (!e)
        e = evaluate_dataset(&(struct evaluation_options){
            .comm = cli->comm, .model = inference.model, .data = corpus_blend(corpus),
            .T = (int)r.length, .sample_positions = r.mean_over_positions ? (int)r.length : 0,
            .micro_batch = (int)r.batch, .threads = 1, .prefetch = 4,
            .tokenizer = inference.tokenizer},
            &result);
    if (!e && comm_rank(cli->comm) == 0)
        print_result(&r, &inference, &result);
    corpus_close(corpus);
    inference_close(&inference);
    free(r.trained_field);
    return e;
}

const struct verb verb_evaluate = {
    .name = "evaluate",
    .summary = "loss, perplexity, bits per byte and accuracy of a model on text",
    .run = run_evaluate,
    .help =
        "usage: galley evaluate MODEL [OPTION...] INPUT...\n"
        "       mpirun -n RANKS galley evaluate MODEL INPUT...\n\n"
        "MODEL is a run folder (its newest checkpoint), a checkpoint, a KerasHub preset, a Hugging\n"
        "Face folder, or a .weights.h5 file. Exact over the whole text, shared by the ranks. INPUTs\n"
        "are files or globs: texts, one sample a line or JSON object, plain, gzip or zstd; or token shards,\n"
        "with documents masked as in training. Perplexity leaves padding targets out, as KerasHub's does;\n"
        "bits per byte: the same targets' bits for each byte of the text they decode to (start and end\n"
        "tokens are no text).\n\n"
        "  --field NAME          of .jsonl and .json: the field with the text; default: as in\n"
        "                        training\n"
        "  --min-bytes N         shorter lines are left out; default: as in training\n"
        "  --sequence-length N   tokens of a sample; default: as in training or the preset's preprocessor\n"
        "  --batch N             samples at a time on a rank; default 16\n"
        "  --json                one JSON object\n\n"
        CLI_MODEL_HELP "\n"
        "example: galley evaluate runs/mini-gpt validation.txt.gz\n",
};
