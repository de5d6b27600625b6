/* score.c - the verb `galley score`: how probable a model finds texts, last words and endings. */
#include "base/clock.h"
#include "base/log.h"
#include "cli/model_options.h"
#include "cli/score_rows.h"
#include "cli/verbs.h"
#include "formats/output.h"
#include "train/inference.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct request {
    struct cli_model model;
    const char *field, *output;
    enum example_kind kind;
    const char *const *inputs;
    int input_count;
    long long batch, stride;    /* stride 0: the whole context */
    bool overwrite;
};

static struct error *read_kind(void *request, const char *name)
{
    struct request *const r = request;
    for (int k = EXAMPLES_TEXT; k <= EXAMPLES_HELLASWAG; k++)
        if (!strcmp(name, example_kind_name((enum example_kind)k))) {
            r->kind = (enum example_kind)k;
            return NULL;
        }
    return error_new(ERROR_USAGE, "--kind is \"%s\"; it must be text, lambada or hellaswag", name);
}

static struct error *read_field(void *request, const char *name)
{
    struct request *const r = request;
    if (!*name)
        return error_new(ERROR_USAGE, "--field needs the name of a field");
    r->field = name;
    return NULL;
}

static const struct cli_option flags[] = {
    CLI_READ("kind", read_kind),
    CLI_READ("field", read_field),
    CLI_INT("batch", struct request, batch, 1, 1 << 16),
    CLI_INT("stride", struct request, stride, 1, 1 << 24),
    CLI_TEXT("output", struct request, output),
    CLI_FLAG("overwrite", struct request, overwrite),
    CLI_MODEL_OPTIONS(struct request, model),
    {.name = NULL},
};

static struct error *parse(struct request *r, int argc, char **argv)
{
    struct cli_arguments rest;
    *r = (struct request){.model = CLI_MODEL_DEFAULT, .batch = 16};
    TRY(cli_read_options(&rest, "score", flags, r, argc, argv));
    if (rest.count < 2)
        return error_new(ERROR_USAGE, "galley score takes a run folder, checkpoint or preset, then "
                         "examples: files or globs");
    if (r->overwrite && !r->output)
        return error_new(ERROR_USAGE, "--overwrite means nothing without --output");
    r->model.source.path = rest.list[0];
    r->inputs = (const char *const *)(rest.list + 1);
    r->input_count = rest.count - 1;
    return NULL;
}

/* What a request works with; T is all positions of the model. */
struct job {
    const struct request *r;
    struct comm *comm;
    struct inference inference;
    struct examples *examples;
    int T;
};

static struct error *open_all(struct job *j, const char *temporary_folder)
{
    const struct request *r = j->r;
    TRY(inference_open(&j->inference, &(struct inference_options){
        .source = r->model.source, .precision = r->model.precision, .B = (int)r->batch,
        .device = {.kind = r->model.device, .threads = r->model.threads,
                   .local_rank = comm_local_rank(j->comm),
                   .local_size = comm_local_size(j->comm)}}));
    const struct model_spec *spec = model_spec(j->inference.model);
    j->T = spec->positions;
    if (r->stride > j->T)
        return error_new(ERROR_USAGE, "--stride is %lld; the model of %s has %d positions",
                         r->stride, model_source_path(j->inference.source), j->T);
    return examples_open(&j->examples, &(struct examples_options){
        .kind = r->kind, .tokenizer = j->inference.tokenizer,
        .always_start = spec->family == MODEL_MINI_GPT, .vocabulary_size = spec->V,
        .data = {.inputs = r->inputs, .input_count = r->input_count, .field = r->field,
                 .temporary_folder = temporary_folder, .name = "score",
                 .show_progress = comm_rank(j->comm) == 0}});
}

/* Rows to `out` on the first rank, where it is not NULL. */
static struct error *score(struct job *j, FILE *out, struct score_rows *rows)
{
    *rows = (struct score_rows){
        .kind = examples_kind(j->examples), .tokenizer = j->inference.tokenizer, .out = out,
    };
    const double start_s = clock_now_s();
    TRY(score_examples(&(struct scoring_options){
        .comm = j->comm, .model = j->inference.model, .examples = j->examples,
        .B = (int)j->r->batch, .T = j->T, .stride = j->r->stride ? (int)j->r->stride : j->T,
        .show_progress = comm_rank(j->comm) == 0, .scored = score_rows_add, .self = rows}));
    if (comm_rank(j->comm) == 0)
        log_info("scored %lld examples with %s, %.1f s", (long long)rows->examples,
                 model_source_path(j->inference.source), clock_now_s() - start_s);
    return NULL;
}

static struct error *score_to_file(struct job *j, struct score_rows *rows)
{
    struct output output = {0};
    FILE *out = NULL;
    const bool writes = comm_rank(j->comm) == 0;
    struct error *e = NULL;
    if (writes) {
        e = output_begin(&output, j->r->output, false, j->r->overwrite);
        if (!e && !(out = fopen(output.partial, "we")))
            e = output_end(&output, error_errno(ERROR_IO, "cannot write %s", j->r->output));
    }
    TRY(comm_agree(j->comm, e));
    e = score(j, out, rows);
    if (!writes)
        return e;
    if (!e && (fflush(out) || fsync(fileno(out))))
        e = error_errno(ERROR_IO, "cannot write %s", j->r->output);
    if (fclose(out) && !e)
        e = error_errno(ERROR_IO, "cannot write %s", j->r->output);
    return output_end(&output, e);
}

static struct error *run_score(struct cli *cli, int argc, char **argv)
{
    struct request r;
    struct score_rows rows;
    TRY(cli_open_comm(cli));
    struct job j = {.r = &r, .comm = cli->comm};
    const bool first = comm_rank(cli->comm) == 0;

    /* What is wrong with a command or an input is wrong on every rank: they agree, and one
     * tells. */
    struct error *e = comm_agree(cli->comm, parse(&r, argc, argv));
    if (!e)
        e = comm_agree(cli->comm, open_all(&j, cli->temporary_folder));
    if (!e)
        e = r.output ? score_to_file(&j, &rows) : score(&j, first ? stdout : NULL, &rows);
    if (!e && first)
        score_rows_print_summary(&rows, stdout);
    examples_close(j.examples);
    inference_close(&j.inference);
    return e;
}

const struct verb verb_score = {
    .name = "score",
    .summary = "how probable a model finds texts, last words and endings",
    .run = run_score,
    .help =
        "usage: galley score MODEL [OPTION...] INPUT...\n"
        "       mpirun -n RANKS galley score MODEL INPUT...\n\n"
        "Writes a JSON object for each example, in their order, and at last one that sums them up, to\n"
        "standard output. The ranks share the work; their number changes nothing. MODEL is a run folder\n"
        "(its newest checkpoint), a checkpoint, a KerasHub preset, a Hugging Face folder, or a .weights.h5\n"
        "file. INPUTs are files or globs, an example a line or, in .jsonl and .json, an object, plain,\n"
        "gzip or zstd. Logarithms are natural.\n\n"
        "  --kind KIND\n"
        "      text       log-likelihood of every token, and whether it is the most probable one; behind\n"
        "                 the start token where the vocabulary has one, else from the second token on.\n"
        "                 {\"token_ids\": [...]} needs no tokenizer; all ids but the first are scored.\n"
        "                 In all: loss (mean), perplexity, accuracy, and bits_per_byte: bits of all tokens\n"
        "                 for each byte of the text that they decode to. A text longer than the context is\n"
        "                 scored in windows, each with as much of what stands before as has room\n"
        "      lambada    the last word of each text, which begins behind the last space. accuracy: of how\n"
        "                 many all tokens are the most probable ones; perplexity: exp of the mean loss a word\n"
        "                 (lambada_openai of lm-evaluation-harness)\n"
        "      hellaswag  objects of ctx, endings and label: which ending is the most probable, by its summed\n"
        "                 log-likelihood (accuracy) and by the mean of its tokens (accuracy_normalised), as\n"
        "                 llm.c has it\n"
        "                 default: hellaswag where the first object has endings, else text\n"
        "  --field NAME       of .jsonl and .json: the field with the text; default: text\n"
        "  --stride N         tokens that each window of a long text adds; default: all positions of the model\n"
        "  --output FILE      the objects go there, which appears whole or not at all\n"
        "  --overwrite        FILE may be there already\n"
        "  --batch N          rows of full length computed at a time on a rank; default 16\n"
        "\n" CLI_MODEL_HELP "\n"
        "Before a last word or ending the start token stands only where there would be nothing else, but\n"
        "always for the mini-GPT. Where a context is too long, its beginning is left out; \"cut\" counts these.\n\n"
        "examples: galley score gpt2_base_en --kind lambada lambada_test.jsonl.gz --output lambada.jsonl\n"
        "          galley score runs/books chapter.txt --stride 64\n",
};
