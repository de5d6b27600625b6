/* corpus.c - the verb `galley corpus`: stories whose entropy is known. */
#include "base/log.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "data/stories.h"
#include "formats/output.h"
#include "text/tokenizer_files.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct request {
    const char *output, *vocabulary;
    long long sentences, seed, length;
    bool entropy;
};

struct totals {
    long long stories, sentences, bytes, words;
    double nats;
    /* Under the vocabulary, whole stories of at most `length` tokens only. */
    long long counted_stories, tokens;
    double counted_nats;
};

static struct error *read_vocabulary(void *request, const char *path)
{
    struct request *const r = request;
    r->vocabulary = path;
    r->entropy = true;
    return NULL;
}

static const struct cli_option flags[] = {
    CLI_INT("sentences", struct request, sentences, 1, 1000000000000),
    CLI_INT("seed", struct request, seed, 0, 1LL << 62),
    CLI_TEXT("output", struct request, output),
    CLI_FLAG("entropy", struct request, entropy),
    CLI_READ("vocabulary", read_vocabulary),
    CLI_INT("sequence-length", struct request, length, 2, 1 << 20),
    {.name = NULL},
};

static struct error *parse(struct request *r, int argc, char **argv)
{
    struct cli_arguments rest;
    *r = (struct request){.sentences = 10000, .seed = 1, .length = 128};
    TRY(cli_read_options(&rest, "corpus", flags, r, argc, argv));
    if (rest.count > 0)
        return error_new(ERROR_USAGE, "galley corpus takes options only, not \"%s\"", rest.list[0]);
    if (!r->output && !r->entropy)
        return error_new(ERROR_USAGE, "galley corpus needs --output FILE (- is standard output), "
                         "or --entropy");
    return NULL;
}

/* The tokenizer that the bound is counted with, as the trainer makes it. */
static struct error *open_tokenizer(const char *path, struct tokenizer **tokenizer,
                                    struct encoder **encoder)
{
    TRY(tokenizer_open(tokenizer, path, NULL, &(struct wordpiece_options){
        .lowercase = true, .split = true, .split_on_cjk = true,
    }, &(struct bpe_options){.special_as_text = true}));
    return encoder_create(encoder, *tokenizer);
}

static struct error *count_tokens(const struct request *r, const struct story *story,
                                  struct encoder *encoder, int32_t *ids, struct totals *totals)
{
    int n;
    TRY(encoder_encode(encoder, story->text, story->bytes, ids, (int)r->length + 1, &n));
    if (n <= r->length) {
        totals->counted_stories++;
        totals->tokens += n;
        totals->counted_nats += story->nats;
    }
    return NULL;
}

static struct error *write_stories(const struct request *r, FILE *out, struct encoder *encoder,
                                   int32_t *ids, struct totals *totals)
{
    struct story story;
    for (uint64_t i = 0; totals->sentences < r->sentences; i++) {
        story_write(&story, (uint64_t)r->seed, i);
        story.text[story.bytes++] = '\n';
        if (out && fwrite(story.text, 1, story.bytes, out) != story.bytes)
            return error_errno(ERROR_IO, "cannot write the stories");
        story.bytes--;
        totals->stories++;
        totals->sentences += story.sentences;
        totals->bytes += (long long)story.bytes + 1;
        for (size_t c = 0; c < story.bytes; c++)
            totals->words += story.text[c] == ' ';
        totals->words++;
        totals->nats += story.nats;
        if (encoder)
            TRY(count_tokens(r, &story, encoder, ids, totals));
    }
    return NULL;
}

static void print_entropy(const struct request *r, const struct totals *t)
{
    const double bits = t->nats / log(2);
    printf("entropy  %.3f bits a sentence, %.4f bits a word, %.4f bits a byte (%lld stories, "
           "exact: every text has one derivation)\n", bits / (double)t->sentences,
           bits / (double)t->words, bits / (double)t->bytes, t->stories);
    if (r->vocabulary && t->tokens > 0)
        printf("bound    perplexity %.4f: %.4f nats a token over the %lld stories of at most %lld "
               "tokens (%lld are longer)\n", exp(t->counted_nats / (double)t->tokens),
               t->counted_nats / (double)t->tokens, t->counted_stories, r->length,
               t->stories - t->counted_stories);
}

static struct error *write_output(const struct request *r, struct encoder *encoder, int32_t *ids,
                                  struct totals *totals)
{
    if (!r->output || !strcmp(r->output, "-"))
        return write_stories(r, r->output ? stdout : NULL, encoder, ids, totals);
    struct output output;
    TRY(output_begin(&output, r->output, false, true));
    FILE *out = fopen(output.partial, "we");
    struct error *e = out ? write_stories(r, out, encoder, ids, totals) : NULL;
    if ((!out || fclose(out)) && !e)
        e = error_errno(ERROR_IO, "cannot write %s", r->output);
    return output_end(&output, e);
}

static struct error *run_corpus(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    struct request r;
    struct totals totals = {0};
    struct tokenizer *tokenizer = NULL;
    struct encoder *encoder = NULL;
    TRY(parse(&r, argc, argv));
    int32_t *ids = calloc((size_t)r.length + 1, sizeof *ids);
    struct error *e = ids ? NULL : error_new(ERROR_MEMORY, "no memory for %lld tokens", r.length);
    if (!e && r.vocabulary)
        e = open_tokenizer(r.vocabulary, &tokenizer, &encoder);
    if (!e)
        e = write_output(&r, encoder, ids, &totals);
    if (!e && r.output && strcmp(r.output, "-"))
        log_info("%s  %lld stories, %lld sentences, %lld bytes", r.output, totals.stories,
                 totals.sentences, totals.bytes);
    if (!e && r.entropy)
        print_entropy(&r, &totals);
    encoder_destroy(encoder);
    tokenizer_destroy(tokenizer);
    free(ids);
    return e;
}

const struct verb verb_corpus = {
    .name = "corpus",
    .summary = "writes stories whose entropy is known, to train on",
    .run = run_corpus,
    .help =
        "usage: galley corpus --sentences N --seed S --output FILE [--entropy]\n\n"
        "Writes simple English stories from a probabilistic grammar, one a line. The same seed gives\n"
        "the same stories everywhere.\n\n"
        "  --sentences N          ends with the story that reaches N sentences; default 10000\n"
        "  --seed S               default 1\n"
        "  --output FILE          - is standard output\n"
        "  --entropy              prints the exact information content of what was written\n"
        "  --vocabulary FILE      also as a bound on perplexity, per token of this lower-case\n"
        "                         WordPiece vocabulary: what a perfect model of the grammar reaches,\n"
        "                         counted as the trainer counts (padding is left out)\n"
        "  --sequence-length N    stories of more tokens are not counted for it; default 128\n\n"
        "example: galley corpus --sentences 100000 --seed 1 --output train.txt\n",
};
