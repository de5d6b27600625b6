/* vocab.c - the verb `galley vocab`: learns a vocabulary from text. */
#include "base/clock.h"
#include "base/log.h"
#include "cli/verbs.h"
#include "data/vocabulary.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_RESERVED = 64 };

struct request {
    const char *output;
    struct vocabulary_options options;
    char *reserved_text;                      /* cut at its commas */
    const char *reserved[MOST_RESERVED];
};

enum flag {
    FLAG_OUTPUT, FLAG_KIND, FLAG_END_TOKEN_LAST, FLAG_FIELD, FLAG_SIZE, FLAG_LOWERCASE,
    FLAG_STRIP_ACCENTS, FLAG_NO_SPLIT_ON_CJK, FLAG_MIN_BYTES, FLAG_RESERVED, FLAG_THREADS
};

static const struct option flags[] = {
    {"output", required_argument, NULL, FLAG_OUTPUT},
    {"kind", required_argument, NULL, FLAG_KIND},
    {"end-token-last", no_argument, NULL, FLAG_END_TOKEN_LAST},
    {"field", required_argument, NULL, FLAG_FIELD},
    {"size", required_argument, NULL, FLAG_SIZE},
    {"lowercase", no_argument, NULL, FLAG_LOWERCASE},
    {"strip-accents", no_argument, NULL, FLAG_STRIP_ACCENTS},
    {"no-split-on-cjk", no_argument, NULL, FLAG_NO_SPLIT_ON_CJK},
    {"min-bytes", required_argument, NULL, FLAG_MIN_BYTES},
    {"reserved", required_argument, NULL, FLAG_RESERVED},
    {"threads", required_argument, NULL, FLAG_THREADS},
    {NULL, 0, NULL, 0},
};

static struct error *read_reserved(struct request *r, const char *text)
{
    free(r->reserved_text);
    r->reserved_text = strdup(text);
    if (!r->reserved_text)
        return error_new(ERROR_MEMORY, "no memory for --reserved");
    r->options.reserved_count = 0;
    char *rest = r->reserved_text;
    for (char *item = strsep(&rest, ","); item; item = strsep(&rest, ",")) {
        if (!*item || strchr(item, '\n'))
            return error_new(ERROR_USAGE, "--reserved is \"%s\"; it must be entries with commas "
                             "between them, as '[PAD],[UNK],[BOS]'", text);
        if (r->options.reserved_count == MOST_RESERVED)
            return error_new(ERROR_USAGE, "--reserved has more than %d entries", MOST_RESERVED);
        r->reserved[r->options.reserved_count++] = item;
    }
    return NULL;
}

static struct error *read_flag(struct request *r, int flag)
{
    long long value;
    switch ((enum flag)flag) {
    case FLAG_OUTPUT:
        r->output = optarg;
        return NULL;
    case FLAG_KIND:
        return tokenizer_kind_parse(&r->options.kind, optarg);
    case FLAG_END_TOKEN_LAST:
        r->options.end_token_last = true;
        return NULL;
    case FLAG_FIELD:
        r->options.field = optarg;
        return NULL;
    case FLAG_SIZE:
        TRY(cli_parse_int(&value, "--size", optarg, 4, 1 << 24));
        r->options.size = (int)value;
        return NULL;
    case FLAG_LOWERCASE:
        r->options.wordpiece.lowercase = true;
        return NULL;
    case FLAG_STRIP_ACCENTS:
        r->options.wordpiece.strip_accents = true;
        return NULL;
    case FLAG_NO_SPLIT_ON_CJK:
        r->options.wordpiece.split_on_cjk = false;
        return NULL;
    case FLAG_MIN_BYTES:
        TRY(cli_parse_int(&value, "--min-bytes", optarg, 0, 1 << 30));
        r->options.min_bytes = value;
        return NULL;
    case FLAG_RESERVED:
        return read_reserved(r, optarg);
    case FLAG_THREADS:
        TRY(cli_parse_int(&value, "--threads", optarg, 1, 1024));
        r->options.threads = (int)value;
        return NULL;
    }
    BUG("option %d is unknown", flag);
}

static struct error *parse(struct request *r, int argc, char **argv)
{
    opterr = 0;
    for (int flag; (flag = getopt_long(argc, argv, ":", flags, NULL)) != -1;) {
        if (flag == '?' || flag == ':')
            return cli_bad_option("vocab", argc, argv);
        TRY(read_flag(r, flag));
    }
    if (!r->output)
        return error_new(ERROR_USAGE, "galley vocab needs --output");
    if (optind == argc)
        return error_new(ERROR_USAGE, "galley vocab needs text: files or globs, plain, gzip or zstd");
    const struct wordpiece_options *w = &r->options.wordpiece;
    if (r->options.kind == TOKENIZER_BPE && (w->lowercase || w->strip_accents || !w->split_on_cjk))
        return error_new(ERROR_USAGE, "--lowercase, --strip-accents and --no-split-on-cjk: each "
                         "means nothing to bpe");
    r->options.inputs = (const char *const *)(argv + optind);
    r->options.input_count = argc - optind;
    r->options.reserved = r->reserved;
    return NULL;
}

/* Whole or not at all. */
static struct error *write_output(const char *path, const char *text, size_t bytes)
{
    char *partial;
    if (asprintf(&partial, "%s.partial", path) < 0)
        return error_new(ERROR_MEMORY, "no memory for a path");
    struct error *e = NULL;
    FILE *file = fopen(partial, "we");
    bool good = file && fwrite(text, 1, bytes, file) == bytes && !fflush(file) &&
                !fsync(fileno(file));
    if (file)
        good &= !fclose(file);
    if (!good || rename(partial, path)) {
        e = error_errno(ERROR_IO, "cannot write %s", path);
        unlink(partial);
    }
    free(partial);
    return e;
}

/* vocab.json and merges.txt; the folder is made if it is not there. */
static struct error *write_folder(const char *folder, const struct vocabulary *v)
{
    char *vocabulary = NULL, *merges = NULL;
    struct error *e = NULL;
    if (mkdir(folder, 0777) && errno != EEXIST)
        return error_errno(ERROR_IO, "cannot make the folder %s", folder);
    if (asprintf(&vocabulary, "%s/vocab.json", folder) < 0 ||
        asprintf(&merges, "%s/merges.txt", folder) < 0)
        e = error_new(ERROR_MEMORY, "no memory for a path");
    if (!e)
        e = write_output(merges, v->merges, v->merges_bytes);
    if (!e)
        e = write_output(vocabulary, v->text, v->bytes);
    free(vocabulary);
    free(merges);
    return e;
}

static struct error *run_vocab(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    struct request r = {
        .options = {
            .size = 5000, .threads = (int)sysconf(_SC_NPROCESSORS_ONLN),
            .wordpiece = {.split = true, .split_on_cjk = true},
        },
    };
    struct vocabulary learned = {0};
    const double start_s = clock_now_s();
    struct error *e = read_reserved(&r, "[PAD],[UNK],[BOS]");
    if (!e)
        e = parse(&r, argc, argv);
    if (!e)
        e = vocabulary_learn(&r.options, &learned);
    if (!e)
        e = learned.merges ? write_folder(r.output, &learned)
                           : write_output(r.output, learned.text, learned.bytes);
    if (!e)
        log_info("%s  %d entries from %lld words, %lld different, in %.1f s", r.output,
                 learned.entries, (long long)learned.words, (long long)learned.distinct_words,
                 clock_now_s() - start_s);
    free(learned.text);
    free(learned.merges);
    free(r.reserved_text);
    return e;
}

const struct verb verb_vocab = {
    .name = "vocab",
    .summary = "learns a vocabulary from text",
    .run = run_vocab,
    .help =
        "usage: galley vocab --output FILE [OPTION...] INPUT...\n"
        "       galley vocab --kind bpe --output FOLDER [OPTION...] INPUT...\n\n"
        "Learns a vocabulary from text files (or globs; plain, gzip or zstd): WordPiece exactly as\n"
        "KerasHub's compute_word_piece_vocabulary, byte-level BPE exactly as Hugging Face's BpeTrainer\n"
        "(the end token first, then the 256 bytes, then pairs that stand at least twice).\n\n"
        "  --kind KIND         wordpiece (default) or bpe\n"
        "  --output PATH       wordpiece: a file, one entry a line; bpe: a folder that gets vocab.json\n"
        "                      and merges.txt\n"
        "  --end-token-last    bpe: <|endoftext|> behind all others, as GPT-2 has it: needed to train\n"
        "                      on padded lines, as the first entry stands for padding\n"
        "  --field NAME        of .jsonl and .json: the field with the text; default text\n"
        "  --size N            entries at most; default 5000\n"
        "  --min-bytes N       only lines of at least N bytes; default 0: all\n"
        "  --threads N         default: the cores there are\n\n"
        "of wordpiece alone:\n"
        "  --lowercase         fold case (NFKC_Casefold)\n"
        "  --strip-accents     remove accents\n"
        "  --no-split-on-cjk   leave Chinese, Japanese and Korean characters in words\n"
        "  --reserved LIST     first entries; default [PAD],[UNK],[BOS]\n\n"
        "example: galley vocab --output vocabulary.txt --size 5000 --lowercase books/*.txt.gz\n"
        "         galley vocab --kind bpe --end-token-last --output bpe --size 8000 books/*.txt.gz\n",
};
