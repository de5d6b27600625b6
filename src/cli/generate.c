/* generate.c - the verb `galley generate`: texts from a model, in batches or token by token. */
#include "base/log.h"
#include "cli/model_options.h"
#include "cli/prompts.h"
#include "cli/stream_text.h"
#include "cli/verbs.h"
#include "train/inference.h"
#include "train/sample_row.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_BATCH = 16, MOST_STOPS = 64 };

struct request {
    struct cli_model model;
    struct prompts prompts;
    struct sampler sampler;
    const char *stop;
    int max_length;               /* 0: see default_length */
    int count;                    /* texts of each prompt */
    int batch;
    bool strip_prompt, all_beams, stream, json;
};

static struct error *read_prompt(void *request, const char *text)
{
    struct request *const r = request;
    return prompts_add_text(&r->prompts, text);
}

static struct error *read_prompts(void *request, const char *path)
{
    struct request *const r = request;
    return prompts_read(&r->prompts, path);
}

static struct error *read_token_ids(void *request, const char *text)
{
    struct request *const r = request;
    return prompts_add_ids(&r->prompts, text);
}

static struct error *read_sampler(void *request, const char *name)
{
    struct request *const r = request;
    return sampler_parse(&r->sampler.kind, name);
}

/* What means something to some samplers only stands first. */
enum flag {
    FLAG_K, FLAG_P, FLAG_BEAMS, FLAG_ALL_BEAMS, FLAG_ALPHA, FLAG_TEMPERATURE, FLAG_SEED, FLAG_COUNT,
    SAMPLER_FLAGS
};

static const struct cli_option flags[] = {
    [FLAG_K] = CLI_INT("k", struct request, sampler.k, 1, INT_MAX),
    [FLAG_P] = CLI_DOUBLE("p", struct request, sampler.p, 0, 1),
    [FLAG_BEAMS] = CLI_INT("beams", struct request, sampler.beams, 1, INT_MAX),
    [FLAG_ALL_BEAMS] = CLI_FLAG("all-beams", struct request, all_beams),
    [FLAG_ALPHA] = CLI_DOUBLE("alpha", struct request, sampler.alpha, 0, 1),
    [FLAG_TEMPERATURE] = CLI_DOUBLE("temperature", struct request, sampler.temperature, 1e-6, 1e6),
    [FLAG_SEED] = CLI_INT("seed", struct request, sampler.seed, 0, LLONG_MAX),
    [FLAG_COUNT] = CLI_INT("count", struct request, count, 1, INT_MAX),
    CLI_READ("sampler", read_sampler),
    CLI_READ("prompt", read_prompt),
    CLI_READ("prompts", read_prompts),
    CLI_READ("token-ids", read_token_ids),
    CLI_INT("max-length", struct request, max_length, 1, INT_MAX),
    CLI_TEXT("stop", struct request, stop),
    CLI_FLAG("strip-prompt", struct request, strip_prompt),
    CLI_INT("batch", struct request, batch, 1, 4096),
    CLI_FLAG("stream", struct request, stream),
    CLI_FLAG("json", struct request, json),
    CLI_MODEL_OPTIONS(struct request, model),
    {.name = NULL},
};

/* The samplers an option means something to, a bit each. */
enum {
    TO_RANDOM = 1 << SAMPLER_RANDOM | 1 << SAMPLER_TOP_K | 1 << SAMPLER_TOP_P,
    TO_BEAM = 1 << SAMPLER_BEAM,
    TO_CONTRASTIVE = 1 << SAMPLER_CONTRASTIVE,
};
static const int means_something_to[SAMPLER_FLAGS] = {
    [FLAG_K] = 1 << SAMPLER_TOP_K | 1 << SAMPLER_TOP_P | TO_CONTRASTIVE,
    [FLAG_P] = 1 << SAMPLER_TOP_P,
    [FLAG_BEAMS] = TO_BEAM,
    [FLAG_ALL_BEAMS] = TO_BEAM,
    [FLAG_ALPHA] = TO_CONTRASTIVE,
    [FLAG_TEMPERATURE] = TO_RANDOM | TO_BEAM | TO_CONTRASTIVE,
    [FLAG_SEED] = TO_RANDOM,
    [FLAG_COUNT] = TO_RANDOM,
};

/* What contradicts itself is a mistake, not a wish to ignore. */
static struct error *check(const struct request *r, const bool *given)
{
    for (int i = 0; i < SAMPLER_FLAGS; i++)
        if (given[i] && !(means_something_to[i] >> r->sampler.kind & 1))
            return error_new(ERROR_USAGE, "--%s means nothing to the sampler %s", flags[i].name,
                             sampler_name(r->sampler.kind));
    if (r->stream && (r->json || r->sampler.kind == SAMPLER_BEAM))
        return error_new(ERROR_USAGE, "--stream prints text as it is decided: it goes neither with "
                         "--json nor with beam, which decides at the end");
    return sampler_check(&r->sampler);
}

static struct error *parse(struct request *r, int argc, char **argv)
{
    struct cli_arguments rest;
    TRY(cli_read_options(&rest, "generate", flags, r, argc, argv));
    if (rest.count != 1)
        return error_new(ERROR_USAGE, "galley generate takes one run folder, checkpoint or preset; "
                         "%d were given (a prompt goes behind --prompt, in quotes)", rest.count);
    r->model.source.path = rest.list[0];
    if (!rest.given[FLAG_K] && r->sampler.kind != SAMPLER_TOP_P)
        r->sampler.k = SAMPLER_DEFAULT_K;
    if (r->prompts.count == 0)
        TRY(prompts_add_text(&r->prompts, ""));
    return check(r, rest.given);
}

/* ---- generating ---- */

/* What does not change from batch to batch. */
struct job {
    const struct request *r;
    const struct inference *i;
    int32_t stops[MOST_STOPS];
    int stop_count;
    int length;
};

/* "auto", "none", or ids. */
static struct error *find_stops(struct job *j)
{
    const struct tokenizer *tokenizer = j->i->tokenizer;
    if (!strcmp(j->r->stop, "none"))
        return NULL;
    if (!strcmp(j->r->stop, "auto")) {
        if (tokenizer)
            j->stops[j->stop_count++] = generate_default_stop(tokenizer);
        return NULL;
    }
    struct prompts numbers = {0};
    struct error *e = prompts_add_ids(&numbers, j->r->stop);
    if (!e && numbers.list[0].prompt.count > MOST_STOPS)
        e = error_new(ERROR_USAGE, "there may be %d stop ids", MOST_STOPS);
    if (!e) {
        j->stop_count = numbers.list[0].prompt.count;
        memcpy(j->stops, numbers.list[0].prompt.ids, (size_t)j->stop_count * sizeof *j->stops);
    }
    prompts_release(&numbers);
    return e ? error_context(e, "--stop is auto, none or ids") : NULL;
}

static void print_ids(const struct generated *text, bool strip_prompt)
{
    const int first = strip_prompt ? text->prompt_count : 0;
    for (int i = first; i < text->count; i++)
        printf(i > first ? " %d" : "%d", (int)text->ids[i]);
    putchar('\n');
}

static struct error *print_text(const struct job *j, const struct prompt_entry *entry, int row,
                                const struct generated *text)
{
    const struct request *r = j->r;
    if (!r->json) {
        if (entry->text)
            printf("%s\n", text->text);
        else
            print_ids(text, r->strip_prompt);
        return NULL;
    }
    char *json;
    TRY(sample_row_json(&(struct sample_row){
        .step = model_source_step(j->i->source), .epoch = (double)NAN, .sampler = &r->sampler,
        .row = row, .max_length = j->length, .prompt = entry->text, .written = text,
        .ids = !entry->text}, &json));
    printf("%s\n", json);
    free(json);
    return NULL;
}

static struct text_generation generation_of(const struct job *j, const struct prompt *prompts,
                                            int count, int64_t first)
{
    return (struct text_generation){
        .model = j->i->model, .tokenizer = j->i->tokenizer, .sampler = &j->r->sampler,
        .prompts = prompts, .length = j->length, .count = count, .first_row = first,
        .stop_ids = j->stops, .stop_count = j->stop_count, .strip_prompt = j->r->strip_prompt,
        .all_beams = j->r->all_beams,
    };
}

/* Texts first to first + count - 1 of all prompts' texts. */
static struct error *write_batch(const struct job *j, int64_t first, int count)
{
    const struct request *r = j->r;
    const int each = r->all_beams ? r->sampler.beams : 1;
    struct prompt *prompts = calloc((size_t)count, sizeof *prompts);
    struct generated *texts = calloc((size_t)count * (size_t)each, sizeof *texts);
    struct error *e = NULL;
    if (!prompts || !texts) {
        e = error_new(ERROR_MEMORY, "no memory for %d texts", count);
        goto done;
    }
    for (int i = 0; i < count; i++)
        prompts[i] = r->prompts.list[(first + i) / r->count].prompt;
    const struct text_generation generation = generation_of(j, prompts, count, first);
    if ((e = generate_texts(&generation, texts)))
        goto done;
    for (int i = 0; i < count * each; i++) {
        const int64_t text = first + i / each;
        if (!e)
            e = print_text(j, &r->prompts.list[text / r->count],
                           (int)(text % r->count) * each + i % each, &texts[i]);
        generated_release(&texts[i]);
    }
    fflush(stdout);
done:
    free(texts);
    free(prompts);
    return e;
}

/* One text, as it is decided. */
static struct error *stream_one(const struct job *j, int64_t text)
{
    const struct prompt_entry *entry = &j->r->prompts.list[text / j->r->count];
    struct text_generation generation = generation_of(j, &entry->prompt, 1, text);
    struct text_stream *stream;
    struct generated written;
    TRY(text_stream_begin(&stream, stdout, entry->text ? j->i->tokenizer : NULL, &generation));
    generation.on_token = text_stream_token;
    generation.self = stream;
    struct error *e = generate_texts(&generation, &written);
    if (!e)
        generated_release(&written);
    struct error *failed = text_stream_end(stream);
    if (e)
        error_destroy(failed);
    return e ? e : failed;
}

/* As in KerasHub: the preset's sequence length, where it has one. */
static int default_length(const struct inference *i)
{
    const struct preset *preset = model_source_preset(i->source);
    const int length = preset ? preset_preprocessor(preset)->sequence_length : 0;
    return length ? length : model_spec(i->model)->positions;
}

static struct error *generate(struct request *r, const struct inference *i)
{
    const int positions = model_spec(i->model)->positions;
    struct job j = {.r = r, .i = i,
        .length = r->max_length > 0 ? r->max_length : default_length(i)};
    if (j.length > positions)
        return error_new(ERROR_USAGE, "--max-length is %d; the model of %s has %d positions",
                         j.length, model_source_path(i->source), positions);
    if (!i->tokenizer && r->prompts.has_texts)
        return error_new(ERROR_USAGE, "%s has no tokenizer; name its vocabulary with --tokenizer, "
                         "or give prompts as --token-ids", model_source_path(i->source));
    TRY(find_stops(&j));
    TRY(prompts_encode(&r->prompts, i->tokenizer, model_spec(i->model)->V, j.length));

    const int64_t texts = (int64_t)r->prompts.count * r->count;
    const int batch = r->stream ? 1 : r->batch;
    for (int64_t first = 0; first < texts; first += batch) {
        const int count = texts - first < batch ? (int)(texts - first) : batch;
        TRY(r->stream ? stream_one(&j, first) : write_batch(&j, first, count));
    }
    return NULL;
}

static struct error *run_generate(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    struct inference inference = {0};
    struct request request = {
        .model = CLI_MODEL_DEFAULT, .stop = "auto", .count = 1, .batch = DEFAULT_BATCH,
        .sampler = {
            .kind = SAMPLER_TOP_K, .p = SAMPLER_DEFAULT_P, .beams = SAMPLER_DEFAULT_BEAMS,
            .alpha = SAMPLER_DEFAULT_ALPHA, .temperature = 1, .seed = 1,
        },
    };
    struct error *e = parse(&request, argc, argv);
    if (!e)
        e = inference_open(&inference, &(struct inference_options){
            .source = request.model.source, .precision = request.model.precision, .B = 1, .T = 1,
            .device = {.kind = request.model.device, .threads = request.model.threads,
                       .local_size = 1}});
    if (!e)
        e = generate(&request, &inference);
    inference_close(&inference);
    prompts_release(&request.prompts);
    return e;
}

const struct verb verb_generate = {
    .name = "generate",
    .summary = "writes text with a trained model",
    .run = run_generate,
    .help =
        "usage: galley generate MODEL [OPTION...]\n\n"
        "Writes text to standard output: the prompt and what the model goes on with. MODEL is a run\n"
        "folder (its newest checkpoint), a checkpoint, a KerasHub preset, a Hugging Face folder, or a\n"
        ".weights.h5 file.\n\n"
        "  --prompt TEXT       what a text begins with; as often as wished; default: nothing\n"
        "  --prompts FILE      a prompt a line, \"-\": standard input; a line that begins with { is\n"
        "                      JSON, {\"prompt\": TEXT} or {\"token_ids\": [...], \"padding_mask\": [...]}\n"
        "  --token-ids IDS     a prompt as ids, 464,2068; needs no tokenizer, and prints ids\n"
        "  --max-length N      tokens in all, prompt included; default: the sequence length of a preset's\n"
        "                      preprocessor, else the model's positions\n"
        "  --stop IDS          a text ends before these ids; auto (default): the end token or [PAD];\n"
        "                      none: at --max-length\n"
        "  --strip-prompt      print only what follows the prompt\n"
        "  --count N           random samplers: so many texts of each prompt; default 1\n"
        "  --batch N           texts computed at once; default 16; does not change them\n"
        "  --stream            print each text token by token, as it is decided\n"
        "  --json              a JSON object a line, with prompt, text and settings\n\n"
        "  --sampler NAME      how a token is chosen; default: top_k\n"
        "      greedy          the most probable one\n"
        "      random          any, by its probability\n"
        "      top_k           one of the --k most probable\n"
        "      top_p           one of the most probable that hold --p of the probability\n"
        "      beam            --beams texts are kept at a time; the most probable one wins\n"
        "      contrastive     of the --k most probable, one unlike what was said before (--alpha)\n"
        "  --k N               top_k, contrastive: default 5; top_p: cut to so many first, default: no\n"
        "                      cut\n"
        "  --p P               top_p: 0 to 1, default 0.5\n"
        "  --beams N           beam: default 5\n"
        "  --all-beams         beam: all of them, best first\n"
        "  --alpha A           contrastive: 0 (greedy) to 1, default 0.6\n"
        "  --temperature T     below 1: surer choices; above: bolder ones; default 1\n"
        "  --seed S            the same seed gives the same text; default 1\n\n"
        CLI_MODEL_HELP "\n"
        "examples: galley generate runs/mini-gpt --prompt \"once upon\" --sampler top_p --p 0.9\n"
        "          galley generate gpt2/ --prompts questions.txt --json --max-length 200\n",
};
