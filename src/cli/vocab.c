/* vocab.c - the verb `galley vocab`: learns a vocabulary from text. */
#include "base/clock.h"
#include "base/log.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "data/vocabulary.h"
#include "formats/output.h"

#include <errno.h>
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

static struct error *read_reserved(void *request, const char *text)
{
    struct request *const r = request;
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

static struct error *read_kind(void *request, const char *name)
{
    struct request *const r = request;
    return tokenizer_kind_parse(&r->options.kind, name);
}

static const struct cli_option flags[] = {
    CLI_TEXT("output", struct request, output),
    CLI_READ("kind", read_kind),
    CLI_FLAG("end-token-last", struct request, options.end_token_last),
    CLI_TEXT("field", struct request, options.field),
    CLI_INT("size", struct request, options.size, 4, 1 << 24),
    CLI_FLAG("lowercase", struct request, options.wordpiece.lowercase),
    CLI_FLAG("strip-accents", struct request, options.wordpiece.strip_accents),
    CLI_UNSET("no-split-on-cjk", struct request, options.wordpiece.split_on_cjk),
    CLI_INT("min-bytes", struct request, options.min_bytes, 0, 1 << 30),
    CLI_READ("reserved", read_reserved),
    CLI_INT("threads", struct request, options.threads, 1, 1024),
    {.name = NULL},
};

static struct error *parse(struct request *r, int argc, char **argv)
{
    struct cli_arguments rest;
    TRY(cli_read_options(&rest, "vocab", flags, r, argc, argv));
    if (!r->output)
        return error_new(ERROR_USAGE, "galley vocab needs --output");
    if (rest.count == 0)
        return error_new(ERROR_USAGE, "galley vocab needs text: files or globs, "
                         "plain, gzip or zstd");
    const struct wordpiece_options *w = &r->options.wordpiece;
    if (r->options.kind == TOKENIZER_BPE && (w->lowercase || w->strip_accents || !w->split_on_cjk))
        return error_new(ERROR_USAGE, "--lowercase, --strip-accents and --no-split-on-cjk: each "
                         "means nothing to bpe");
    r->options.inputs = (const char *const *)rest.list;
    r->options.input_count = rest.count;
    r->options.reserved = r->reserved;
    return NULL;
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
        e = output_write(merges, v->merges, v->merges_bytes);
    if (!e)
        e = output_write(vocabulary, v->text, v->bytes);
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
                           : output_write(r.output, learned.text, learned.bytes);
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
