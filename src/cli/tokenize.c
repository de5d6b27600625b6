/* tokenize.c - the verb `galley tokenize`: text into token shards. */
#include "cli/options.h"
#include "cli/tokenize_job.h"
#include "cli/verbs.h"
#include "text/tokenizer_files.h"

#include <string.h>
#include <unistd.h>

struct request {
    const char *vocabulary, *merges;
    struct wordpiece_options wordpiece;
    struct bpe_options bpe;
    struct tokenize_job_options job;
};

static const struct cli_option flags[] = {
    CLI_TEXT("output", struct request, job.output),
    CLI_TEXT("vocabulary", struct request, vocabulary),
    CLI_TEXT("merges", struct request, merges),
    CLI_FLAG("lowercase", struct request, wordpiece.lowercase),
    CLI_FLAG("strip-accents", struct request, wordpiece.strip_accents),
    CLI_UNSET("no-split-on-cjk", struct request, wordpiece.split_on_cjk),
    CLI_FLAG("special-as-text", struct request, bpe.special_as_text),
    CLI_TEXT("field", struct request, job.tokenize.field),
    CLI_FLAG("whole-files", struct request, job.tokenize.whole_files),
    CLI_INT("min-bytes", struct request, job.tokenize.min_bytes, 0, 1 << 30),
    CLI_DOUBLE("validation", struct request, job.tokenize.validation_share, 0, 1),
    CLI_INT("shard-tokens", struct request, job.shard_tokens, 1, SHARD_MOST_TOKENS),
    CLI_INT("piece-bytes", struct request, job.piece_bytes, 1, 1LL << 40),
    CLI_INT("threads", struct request, job.tokenize.threads, 1, 1024),
    {.name = NULL},
};

static struct error *parse(struct request *r, int argc, char **argv)
{
    struct cli_arguments rest;
    *r = (struct request){
        .wordpiece = {.split = true, .split_on_cjk = true},
        .job = {.shard_tokens = 100000000, .piece_bytes = 1 << 26, .tokenize = {.min_bytes = 1}},
    };
    TRY(cli_read_options(&rest, "tokenize", flags, r, argc, argv));
    if (!r->job.output)
        return error_new(ERROR_USAGE, "galley tokenize needs --output FOLDER");
    if (!r->vocabulary)
        return error_new(ERROR_USAGE, "galley tokenize needs --vocabulary FILE: vocab.json, a "
                         "folder with it and merges.txt, or a WordPiece vocabulary");
    if (rest.count == 0)
        return error_new(ERROR_USAGE, "galley tokenize needs text: files or globs; lines or JSON, "
                         "plain, gzip or zstd");
    r->job.inputs = (const char *const *)rest.list;
    r->job.input_count = rest.count;
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
    TRY(cli_open_comm(cli));    /* first: all ranks find the same mistakes, and one tells */
    struct error *e = comm_agree(cli->comm, parse(&r, argc, argv));
    if (!e)
        e = comm_agree(cli->comm, tokenizer_open(&tokenizer, r.vocabulary, r.merges, &r.wordpiece,
                                                 &r.bpe));
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
        "  --shard-tokens N      in every shard but the last, at most 4294967296; default 100000000\n"
        "  --piece-bytes N       of input that a rank works on at a time, and a kill makes it do\n"
        "                        again; default 67108864\n"
        "  --threads N           of a rank; default: its share of the cores\n\n"
        "example: galley tokenize --output tokens --vocabulary gpt2/vocab.json --validation 0.005 \\\n"
        "             'corpus/*.jsonl.zst'\n",
};
