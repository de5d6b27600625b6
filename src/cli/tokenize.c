/* tokenize.c - the verb `galley tokenize`: text into token shards. */
#include "cli/tokenize_job.h"
#include "cli/verbs.h"
#include "text/tokenizer_files.h"

#include <getopt.h>
#include <string.h>
#include <unistd.h>

struct request {
    const char *vocabulary, *merges;
    struct wordpiece_options wordpiece;
    struct bpe_options bpe;
    struct tokenize_job_options job;
};

enum flag {
    FLAG_OUTPUT, FLAG_VOCABULARY, FLAG_MERGES, FLAG_LOWERCASE, FLAG_STRIP_ACCENTS,
    FLAG_NO_SPLIT_ON_CJK, FLAG_SPECIAL_AS_TEXT, FLAG_FIELD, FLAG_WHOLE_FILES, FLAG_MIN_BYTES,
    FLAG_VALIDATION, FLAG_SHARD_TOKENS, FLAG_PIECE_BYTES, FLAG_THREADS
};

static const struct option flags[] = {
    {"output", required_argument, NULL, FLAG_OUTPUT},
    {"vocabulary", required_argument, NULL, FLAG_VOCABULARY},
    {"merges", required_argument, NULL, FLAG_MERGES},
    {"lowercase", no_argument, NULL, FLAG_LOWERCASE},
    {"strip-accents", no_argument, NULL, FLAG_STRIP_ACCENTS},
    {"no-split-on-cjk", no_argument, NULL, FLAG_NO_SPLIT_ON_CJK},
    {"special-as-text", no_argument, NULL, FLAG_SPECIAL_AS_TEXT},
    {"field", required_argument, NULL, FLAG_FIELD},
    {"whole-files", no_argument, NULL, FLAG_WHOLE_FILES},
    {"min-bytes", required_argument, NULL, FLAG_MIN_BYTES},
    {"validation", required_argument, NULL, FLAG_VALIDATION},
    {"shard-tokens", required_argument, NULL, FLAG_SHARD_TOKENS},
    {"piece-bytes", required_argument, NULL, FLAG_PIECE_BYTES},
    {"threads", required_argument, NULL, FLAG_THREADS},
    {NULL, 0, NULL, 0},
};

static struct error *read_number(struct request *r, enum flag flag)
{
    struct tokenize_options *const t = &r->job.tokenize;
    long long value = 0;
    if (flag == FLAG_VALIDATION)
        return cli_parse_double(&t->validation_share, "--validation", optarg, 0, 1);
    if (flag == FLAG_MIN_BYTES) {
        TRY(cli_parse_int(&value, "--min-bytes", optarg, 0, 1 << 30));
        t->min_bytes = value;
    } else if (flag == FLAG_SHARD_TOKENS) {
        TRY(cli_parse_int(&value, "--shard-tokens", optarg, 1, 1LL << 34));
        r->job.shard_tokens = value;
    } else if (flag == FLAG_PIECE_BYTES) {
        TRY(cli_parse_int(&value, "--piece-bytes", optarg, 1, 1LL << 40));
        r->job.piece_bytes = value;
    } else {
        TRY(cli_parse_int(&value, "--threads", optarg, 1, 1024));
        t->threads = (int)value;
    }
    return NULL;
}

static struct error *read_flag(struct request *r, int flag)
{
    switch ((enum flag)flag) {
    case FLAG_OUTPUT:
        r->job.output = optarg;
        break;
    case FLAG_VOCABULARY:
        r->vocabulary = optarg;
        break;
    case FLAG_MERGES:
        r->merges = optarg;
        break;
    case FLAG_LOWERCASE:
        r->wordpiece.lowercase = true;
        break;
    case FLAG_STRIP_ACCENTS:
        r->wordpiece.strip_accents = true;
        break;
    case FLAG_NO_SPLIT_ON_CJK:
        r->wordpiece.split_on_cjk = false;
        break;
    case FLAG_SPECIAL_AS_TEXT:
        r->bpe.special_as_text = true;
        break;
    case FLAG_FIELD:
        r->job.tokenize.field = optarg;
        break;
    case FLAG_WHOLE_FILES:
        r->job.tokenize.whole_files = true;
        break;
    case FLAG_VALIDATION:
    case FLAG_MIN_BYTES:
    case FLAG_SHARD_TOKENS:
    case FLAG_PIECE_BYTES:
    case FLAG_THREADS:
        return read_number(r, (enum flag)flag);
    }
    return NULL;
}

static struct error *parse(struct request *r, int argc, char **argv)
{
    *r = (struct request){
        .wordpiece = {.split = true, .split_on_cjk = true},
        .job = {.shard_tokens = 100000000, .piece_bytes = 1 << 26, .tokenize = {.min_bytes = 1}},
    };
    opterr = 0;
    for (int flag; (flag = getopt_long(argc, argv, ":", flags, NULL)) != -1;) {
        if (flag == '?' || flag == ':')
            return cli_bad_option("tokenize", argc, argv);
        TRY(read_flag(r, flag));
    }
    if (!r->job.output)
        return error_new(ERROR_USAGE, "galley tokenize needs --output FOLDER");
    if (!r->vocabulary)
        return error_new(ERROR_USAGE, "galley tokenize needs --vocabulary FILE: vocab.json, a folder "
                         "with it and merges.txt, or a WordPiece vocabulary");
    if (optind == argc)
        return error_new(ERROR_USAGE, "galley tokenize needs text: files or globs; lines or JSON, "
                         "plain, gzip or zstd");
    r->job.inputs = (const char *const *)(argv + optind);
    r->job.input_count = argc - optind;
    return NULL;
}

/* A rank's share of the cores of its node. */
static int share_of_cores(const struct comm *comm)
{
    const long share = sysconf(_SC_NPROCESSORS_ONLN) / comm_local_size(comm);
    return share > 1 ? (int)share : 1;
}

static struct error *run_tokenize(struct cli *cli, int argc, char **argv)
{
    struct request r;
    struct tokenizer *tokenizer = NULL;
    TRY(parse(&r, argc, argv));
    TRY(cli_open_comm(cli));
    struct error *e = comm_agree(cli->comm, tokenizer_open(&tokenizer, r.vocabulary, r.merges,
                                                           &r.wordpiece, &r.bpe));
    if (!e) {
        r.job.tokenize.tokenizer = tokenizer;
        if (!r.job.tokenize.threads)
            r.job.tokenize.threads = share_of_cores(cli->comm);
        e = tokenize_job_run(cli->comm, &r.job);
    }
    tokenizer_destroy(tokenizer);
    return e;
}

const struct verb verb_tokenize = {
    .name = "tokenize",
    .summary = "turns text into token shards, over any number of ranks",
    .run = run_tokenize,
    .help =
        "usage: galley tokenize --output FOLDER --vocabulary FILE [OPTION...] INPUT...\n"
        "       mpirun -n RANKS --bind-to none galley tokenize ...\n\n"
        "Turns text (files or globs; lines, or a field of .jsonl and .json; plain, gzip or zstd) into\n"
        "FOLDER/train-*.h5 and validation-*.h5, which data.train takes. Every line or object is a\n"
        "document, followed by the end token (WordPiece: begun by [BOS]). The shards are the same\n"
        "byte for byte, however many ranks and threads make them. A run that was killed goes on\n"
        "where it was when the same command is given again; FOLDER must be seen by all ranks.\n\n"
        "  --output FOLDER       where the shards go\n"
        "  --vocabulary FILE     vocab.json, a folder with it and merges.txt, or a WordPiece\n"
        "                        vocabulary; the run that trains on the shards needs the same\n"
        "  --merges FILE         of vocab.json; default: merges.txt beside it\n"
        "  --lowercase, --strip-accents, --no-split-on-cjk, --special-as-text\n"
        "                        how the tokenizer works, as in the training run's tokenizer.*\n"
        "  --field NAME          of .jsonl and .json: the field with the text; default text\n"
        "  --whole-files         a text file is one document\n"
        "  --min-bytes N         shorter documents are left out; default 1\n"
        "  --validation SHARE    of the documents, chosen by their hash; default 0\n"
        "  --shard-tokens N      in every shard but the last; default 100000000\n"
        "  --piece-bytes N       of input that a rank works on at a time, and a kill makes it do\n"
        "                        again; default 67108864\n"
        "  --threads N           of a rank; default: its share of the cores\n\n"
        "example: galley tokenize --output tokens --vocabulary gpt2/vocab.json --validation 0.005 \\\n"
        "             'corpus/*.jsonl.zst'\n",
};
