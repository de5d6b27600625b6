/* generate.c - the verb `galley generate`: texts from a checkpoint. */
#include "base/log.h"
#include "cli/verbs.h"
#include "generate/generate.h"
#include "train/inference.h"
#include "train/sample_row.h"

#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

/* Texts computed at once: more make better use of the processor and take more memory. */
enum { TEXTS_AT_ONCE = 16, DEFAULT_K = 5, DEFAULT_BEAMS = 5 };

struct request {
    struct model_source_options source;
    const char *prompt, *device;
    struct sampler sampler;
    int max_length;               /* 0: as many as the model has positions */
    int count, threads;
    bool json;
};

enum flag {
    FLAG_PROMPT, FLAG_MAX_LENGTH, FLAG_SAMPLER, FLAG_K, FLAG_P, FLAG_BEAMS, FLAG_TEMPERATURE,
    FLAG_SEED, FLAG_COUNT, FLAG_BEST, FLAG_TOKENIZER, FLAG_LOWERCASE, FLAG_DEVICE, FLAG_THREADS,
    FLAG_JSON, FLAGS
};

static const struct option options[FLAGS + 1] = {
    [FLAG_PROMPT] = {"prompt", required_argument, NULL, FLAG_PROMPT},
    [FLAG_MAX_LENGTH] = {"max-length", required_argument, NULL, FLAG_MAX_LENGTH},
    [FLAG_SAMPLER] = {"sampler", required_argument, NULL, FLAG_SAMPLER},
    [FLAG_K] = {"k", required_argument, NULL, FLAG_K},
    [FLAG_P] = {"p", required_argument, NULL, FLAG_P},
    [FLAG_BEAMS] = {"beams", required_argument, NULL, FLAG_BEAMS},
    [FLAG_TEMPERATURE] = {"temperature", required_argument, NULL, FLAG_TEMPERATURE},
    [FLAG_SEED] = {"seed", required_argument, NULL, FLAG_SEED},
    [FLAG_COUNT] = {"count", required_argument, NULL, FLAG_COUNT},
    [FLAG_BEST] = {"best", no_argument, NULL, FLAG_BEST},
    [FLAG_TOKENIZER] = {"tokenizer", required_argument, NULL, FLAG_TOKENIZER},
    [FLAG_LOWERCASE] = {"lowercase", no_argument, NULL, FLAG_LOWERCASE},
    [FLAG_DEVICE] = {"device", required_argument, NULL, FLAG_DEVICE},
    [FLAG_THREADS] = {"threads", required_argument, NULL, FLAG_THREADS},
    [FLAG_JSON] = {"json", no_argument, NULL, FLAG_JSON},
};

/* The samplers an option means something to, a bit each; 0: it is not about samplers. */
enum { TO_RANDOM = 1 << SAMPLER_RANDOM | 1 << SAMPLER_TOP_K | 1 << SAMPLER_TOP_P };
static const int means_something_to[FLAGS] = {
    [FLAG_K] = 1 << SAMPLER_TOP_K | 1 << SAMPLER_TOP_P,
    [FLAG_P] = 1 << SAMPLER_TOP_P,
    [FLAG_BEAMS] = 1 << SAMPLER_BEAM,
    [FLAG_TEMPERATURE] = TO_RANDOM | 1 << SAMPLER_BEAM,
    [FLAG_SEED] = TO_RANDOM,
    [FLAG_COUNT] = TO_RANDOM,
};

static struct error *read_int(int *out, const char *option, int low, int high)
{
    long long value;
    TRY(cli_parse_int(&value, option, optarg, low, high));
    *out = (int)value;
    return NULL;
}

static struct error *read_flag(struct request *r, enum flag flag)
{
    long long seed;
    switch (flag) {
    case FLAG_PROMPT:
        r->prompt = optarg;
        return NULL;
    case FLAG_MAX_LENGTH:
        return read_int(&r->max_length, "--max-length", 1, INT_MAX);
    case FLAG_SAMPLER:
        return sampler_parse(&r->sampler.kind, optarg);
    case FLAG_K:
        return read_int(&r->sampler.k, "--k", 1, INT_MAX);
    case FLAG_P:
        return cli_parse_double(&r->sampler.p, "--p", optarg, 0, 1);
    case FLAG_BEAMS:
        return read_int(&r->sampler.beams, "--beams", 1, INT_MAX);
    case FLAG_TEMPERATURE:
        return cli_parse_double(&r->sampler.temperature, "--temperature", optarg, 1e-6, 1e6);
    case FLAG_SEED:
        TRY(cli_parse_int(&seed, "--seed", optarg, 0, LLONG_MAX));
        r->sampler.seed = (uint64_t)seed;
        return NULL;
    case FLAG_COUNT:
        return read_int(&r->count, "--count", 1, INT_MAX);
    case FLAG_BEST:
        r->source.best = true;
        return NULL;
    case FLAG_TOKENIZER:
        r->source.tokenizer = optarg;
        return NULL;
    case FLAG_LOWERCASE:
        r->source.lowercase = true;
        return NULL;
    case FLAG_DEVICE:
        r->device = optarg;
        return NULL;
    case FLAG_THREADS:
        return read_int(&r->threads, "--threads", 1, 4096);
    case FLAG_JSON:
        r->json = true;
        return NULL;
    case FLAGS:
        break;
    }
    BUG("option %d is unknown", (int)flag);
}

static struct error *parse(struct request *r, int argc, char **argv)
{
    *r = (struct request){
        .prompt = "", .device = "auto", .count = 1,
        .sampler = {
            .kind = SAMPLER_TOP_K, .p = 0.5, .beams = DEFAULT_BEAMS, .temperature = 1, .seed = 1,
        },
    };
    bool given[FLAGS] = {false};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        if (option == '?' || option == ':')
            return cli_bad_option("generate", argc, argv);
        TRY(read_flag(r, (enum flag)option));
        given[option] = true;
    }
    if (argc - optind != 1)
        return error_new(ERROR_USAGE, "galley generate takes one run folder, checkpoint or preset; %d "
                         "were given (a prompt goes behind --prompt, in quotes)", argc - optind);
    r->source.path = argv[optind];

    /* What the sampler does not look at is a mistake, not a wish to ignore. */
    for (int i = 0; i < FLAGS; i++)
        if (given[i] && means_something_to[i] && !(means_something_to[i] >> r->sampler.kind & 1))
            return error_new(ERROR_USAGE, "--%s means nothing to the sampler %s", options[i].name,
                             sampler_name(r->sampler.kind));
    if (r->sampler.kind == SAMPLER_TOP_K && !given[FLAG_K])
        r->sampler.k = DEFAULT_K;
    return sampler_check(&r->sampler);
}

static struct error *print_text(const struct request *r, const struct inference *i, int length,
                                int row, const char *text, double score)
{
    if (!r->json) {
        printf("%s\n", text);
        return NULL;
    }
    char *json;
    TRY(sample_row_json(&(struct sample_row){
        .step = model_source_step(i->source), .epoch = (double)NAN, .sampler = &r->sampler,
        .row = row, .max_length = length, .prompt = r->prompt, .text = text,
        .log_probability = score}, &json));
    printf("%s\n", json);
    free(json);
    return NULL;
}

static struct error *write_texts(const struct request *r, const struct inference *i,
                                 const struct prompt *prompt, int length)
{
    for (int first = 0; first < r->count; first += TEXTS_AT_ONCE) {
        char *texts[TEXTS_AT_ONCE];
        double scores[TEXTS_AT_ONCE] = {0};
        const int count = r->count - first < TEXTS_AT_ONCE ? r->count - first : TEXTS_AT_ONCE;
        TRY(generate_texts(&(struct text_generation){
            .model = i->model, .tokenizer = i->tokenizer, .sampler = &r->sampler,
            .prompt = prompt, .length = length, .count = count, .first_row = first},
            texts, scores));
        struct error *e = NULL;
        for (int t = 0; t < count; t++) {
            if (!e)
                e = print_text(r, i, length, first + t, texts[t], scores[t]);
            free(texts[t]);
        }
        fflush(stdout);
        if (e)
            return e;
    }
    return NULL;
}

static struct error *generate(const struct request *r, const struct inference *i)
{
    const int positions = model_spec(i->model)->positions;
    const int length = r->max_length > 0 ? r->max_length : positions;
    if (length > positions)
        return error_new(ERROR_USAGE, "--max-length is %d; the model of %s has %d positions",
                         length, model_source_path(i->source), positions);
    struct prompt prompt;
    if (!i->tokenizer)
        return error_new(ERROR_USAGE, "%s has no tokenizer; name its vocabulary with --tokenizer",
                         model_source_path(i->source));
    TRY(prompt_encode(&prompt, i->tokenizer, r->prompt, length));
    if (prompt.cut)
        log_warning("the prompt is longer than %d tokens: it is cut, and nothing follows it",
                    length);
    struct error *e = write_texts(r, i, &prompt, length);
    prompt_release(&prompt);
    return e;
}

static struct error *run_generate(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    struct request request;
    struct inference inference;
    TRY(parse(&request, argc, argv));
    TRY(inference_open(&inference, &(struct inference_options){
        .source = request.source, .B = 1, .T = 1,
        .device = {.kind = request.device, .threads = request.threads, .local_size = 1}}));
    struct error *e = generate(&request, &inference);
    inference_close(&inference);
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
        "  --prompt TEXT       what the text begins with; default: nothing, the model begins\n"
        "  --max-length N      tokens in all, prompt included; default: the model's positions\n"
        "  --sampler NAME      how a token is chosen; default: top_k\n"
        "      greedy          the most probable one\n"
        "      random          any, by its probability\n"
        "      top_k           one of the --k most probable\n"
        "      top_p           one of the most probable that hold --p of the probability\n"
        "      beam            --beams texts are kept at a time; the most probable one wins\n"
        "  --k N               top_k: default 5; top_p: cut to so many first, default: no cut\n"
        "  --p P               top_p: 0 to 1, default 0.5\n"
        "  --beams N           beam: default 5\n"
        "  --temperature T     below 1: surer choices; above: bolder ones; default 1\n"
        "  --seed S            the same seed gives the same text; default 1\n"
        "  --count N           so many texts, a line each; default 1\n"
        "  --best              of a run: the checkpoint of the lowest validation perplexity\n"
        "  --tokenizer PATH    a vocabulary or folder to use instead of the model's own\n"
        "  --lowercase         that is a WordPiece vocabulary which folds case\n"
        "  --device NAME       auto (default) or cpu\n"
        "  --threads N         compute threads; default: the cores there are\n"
        "  --json              a JSON object a line, with prompt, text and settings\n\n"
        "example: galley generate runs/mini-gpt --prompt \"once upon\" --sampler top_p --p 0.9\n",
};
