/* inspect.c - the verb `galley inspect`: what a checkpoint, run, preset, vocabulary or token file
 * holds. */
#include "cli/inspect_data.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "data/token_file.h"
#include "presets/preset.h"
#include "text/tokenizer_files.h"
#include "train/checkpoint.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_VOCABULARY = 1 << 28 };

static void print_sizes(const struct model_spec *s)
{
    printf("model: %s, vocabulary %d, positions %d, channels %d, heads %d, feed-forward %d, "
           "layers %d\n", spec_family_name(s->family), s->V, s->positions, s->C, s->NH, s->F, s->L);
}

static void print_tensors(const struct parameters *p, const char *where)
{
    printf("\ntensors: %d, %lld parameters%s\n", p->n, (long long)p->count, where);
    for (int i = 0; i < p->n; i++) {
        const struct parameter *t = &p->list[i];
        printf("  %-36s (", t->name);
        for (int d = 0; d < t->dimensions; d++)
            printf("%s%lld", d ? ", " : "", (long long)t->shape[d]);
        puts(")");
    }
}

static void print_history(const struct checkpoint_file *file)
{
    int rows;
    const struct history_row *history = checkpoint_history(file, &rows);
    if (rows == 0)
        return;
    printf("\nvalidations: %d\n  %10s %8s %10s %12s %10s\n", rows, "step", "epoch", "loss",
           "perplexity", "accuracy");
    for (int i = 0; i < rows; i++)
        printf("  %10lld %8.2f %10.4f %12.3f %10.4f\n", (long long)history[i].step,
               history[i].epoch, history[i].validation_loss, history[i].validation_perplexity,
               history[i].validation_accuracy);
}

/* Of a pipe, how much of it was used. */
static void print_data(const struct progress *p)
{
    if (p->train_fingerprint)
        printf("trained on data of fingerprint %016llx\n",
               (unsigned long long)p->train_fingerprint);
    else
        printf("trained on a pipe: window %lld (from 0), which begins at byte %lld (unpacked), and "
               "%lld of its samples\n", (long long)p->stream.window,
               (long long)p->stream.start.bytes, (long long)p->stream.taken);
}

static struct error *print_checkpoint(const struct checkpoint_file *file)
{
    const struct model_spec *s = checkpoint_spec(file);
    const struct progress *p = checkpoint_progress(file);
    struct parameters *parameters;
    struct tokenizer *tokenizer;
    TRY(checkpoint_tokenizer(file, &tokenizer));
    const int entries = tokenizer_size(tokenizer);
    const uint64_t fingerprint = tokenizer_fingerprint(tokenizer);
    const char *kind = tokenizer_kind_name(tokenizer_definition(tokenizer)->kind);
    tokenizer_destroy(tokenizer);
    TRY(parameters_create(&parameters, s));

    printf("checkpoint %s\n", checkpoint_path(file));
    print_sizes(s);
    printf("tokenizer: %s, %d entries, fingerprint %016llx\n", kind, entries,
           (unsigned long long)fingerprint);
    printf("progress: step %lld, next is step %lld of epoch %lld (from 0); %lld samples, %lld "
           "tokens seen\n", (long long)p->step, (long long)p->step_in_epoch, (long long)p->epoch,
           (long long)p->samples, (long long)p->tokens);
    printf("written by %d rank%s, seed %llu\n", p->world_size, p->world_size == 1 ? "" : "s",
           (unsigned long long)p->seed);
    print_data(p);
    if (p->best_step >= 0)
        printf("best validation perplexity: %.3f at step %lld\n", p->best_perplexity,
               (long long)p->best_step);
    print_history(file);
    print_tensors(parameters, " (each in /weights, /optimizer/m and /optimizer/v)");
    printf("\nconfiguration:\n%s", checkpoint_config(file));
    parameters_destroy(parameters);
    return NULL;
}

static struct error *inspect_checkpoint(const char *path, bool verify)
{
    struct checkpoint_file *file;
    TRY(checkpoint_open(&file, path));
    struct error *e = print_checkpoint(file);
    checkpoint_close(file);
    TRY(e);
    if (verify) {
        TRY(checkpoint_verify(path));
        puts("\nverified: every byte is as it was written");
    }
    return NULL;
}

/* Bytes of BPE entries need not be whole characters: what is not printable ASCII shows as \\xNN. */
static void print_entry(const struct tokenizer *t, int id)
{
    size_t bytes;
    const char *entry = tokenizer_entry(t, id, &bytes);
    const bool escape = tokenizer_definition(t)->kind == TOKENIZER_BPE;
    putchar(' ');
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)entry[i];
        if (escape && (c <= ' ' || c > '~'))
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

static void print_tokenizer(const struct tokenizer *t, const char *path)
{
    int suffixes = 0;
    size_t longest = 0, length;
    for (int id = 0; id < tokenizer_size(t); id++) {
        const char *entry = tokenizer_entry(t, id, &length);
        suffixes += length > 2 && entry[0] == '#' && entry[1] == '#';
        longest = length > longest ? length : longest;
    }
    printf("vocabulary %s\n%s, %d entries, ", path,
           tokenizer_kind_name(tokenizer_definition(t)->kind), tokenizer_size(t));
    if (tokenizer_definition(t)->kind == TOKENIZER_WORDPIECE)
        printf("%d of them continue a word (##), ", suffixes);
    printf("the longest has %zu bytes\n", longest);
    if (tokenizer_definition(t)->kind == TOKENIZER_WORDPIECE)
        printf("[UNK] is %d, ", tokenizer_find(t, "[UNK]"));
    printf("%s is %d\nfirst entries:", tokenizer_start_name(t), tokenizer_start_id(t));
    for (int id = 0; id < 24 && id < tokenizer_size(t); id++)
        print_entry(t, id);
    puts("");
}

static struct error *inspect_vocabulary(const char *path)
{
    struct tokenizer *t;
    TRY(tokenizer_open(&t, path, NULL, &(struct wordpiece_options){.split = true},
                       &(struct bpe_options){.special_as_text = false}));
    print_tokenizer(t, path);
    tokenizer_destroy(t);
    return NULL;
}

/* Models of others: what they are in our words. */
static struct error *inspect_preset(const char *path, bool verify)
{
    struct preset *preset;
    struct parameters *parameters = NULL;
    if (verify)
        return error_new(ERROR_USAGE, "--verify is for checkpoints; %s has no hashes", path);
    TRY(preset_open(&preset, path));
    const struct tokenizer *tokenizer = preset_tokenizer(preset);
    struct error *e = parameters_create(&parameters, preset_spec(preset));
    if (!e) {
        printf("%s %s\n", preset_kind_name(preset_kind(preset)), path);
        print_sizes(preset_spec(preset));
        if (tokenizer)
            printf("tokenizer: bpe, %d entries\n", tokenizer_size(tokenizer));
        else
            puts("tokenizer: none");
        print_tensors(parameters, "");
    }
    parameters_destroy(parameters);
    preset_close(preset);
    return e;
}

static struct error *inspect(const char *path, const struct inspect_options *options)
{
    static const char magic[] = "galley checkpoint";
    struct stat status;
    char head[sizeof magic] = "";
    if (stat(path, &status))
        return error_errno(ERROR_INPUT, "cannot find %s", path);
    if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode))
        return error_new(ERROR_USAGE, "%s is neither a file nor a folder; what comes through a "
                         "pipe can only be read once, so save it to a file to look at it", path);
    if (options->batch >= 0)
        return inspect_batch(path, options);
    if (preset_recognize(path) != PRESET_NONE)
        return inspect_preset(path, options->verify);
    if (tokenizer_files_in(path))
        return inspect_vocabulary(path);
    if (S_ISDIR(status.st_mode) && inspect_is_shards(path))
        return inspect_shards(path, options);
    if (S_ISDIR(status.st_mode)) {
        char *newest;
        TRY(checkpoint_resolve(path, false, &newest));
        struct error *e = inspect_checkpoint(newest, options->verify);
        free(newest);
        return e;
    }
    bool tokens;
    TRY(token_file_is_one(path, &tokens));
    if (tokens)
        return inspect_tokens(path, options);
    FILE *file = fopen(path, "rbe");
    if (!file)
        return error_errno(ERROR_INPUT, "cannot read %s", path);
    const size_t n = fread(head, 1, sizeof magic - 1, file);
    const bool binary = memchr(head, '\0', n) || (n >= 4 && !memcmp(head, "\x89HDF", 4));
    fclose(file);
    if (!strcmp(head, magic))
        return inspect_checkpoint(path, options->verify);
    if (binary || status.st_size == 0 || status.st_size > MOST_VOCABULARY)
        return error_new(ERROR_INPUT, "%s is neither a Galley checkpoint nor a vocabulary nor a "
                         "file of tokens%s", path, status.st_size == 0 ? ": it is empty" : "");
    return inspect_vocabulary(path);
}

static const struct cli_option flags[] = {
    CLI_FLAG("verify", struct inspect_options, verify),
    CLI_TEXT("vocabulary", struct inspect_options, vocabulary),
    CLI_INT("sample", struct inspect_options, sample, 0, INT64_MAX),
    CLI_INT("sequence-length", struct inspect_options, length, 1, 1 << 24),
    CLI_INT("batch", struct inspect_options, batch, 0, INT64_MAX),
    {.name = NULL},
};

static struct error *run_inspect(struct cli *cli, int argc, char **argv)
{
    struct cli_arguments rest;
    struct inspect_options options = {.sample = -1, .batch = -1};
    (void)cli;
    TRY(cli_read_options(&rest, "inspect", flags, &options, argc, argv));
    if (rest.count != 1)
        return error_new(ERROR_USAGE, "galley inspect takes one file or run folder");
    return inspect(rest.list[0], &options);
}

const struct verb verb_inspect = {
    .name = "inspect",
    .summary = "shows what a checkpoint, run, preset, vocabulary or token file holds",
    .run = run_inspect,
    .help =
        "usage: galley inspect FILE [OPTION...]\n\n"
        "FILE is a checkpoint, a run folder (its newest checkpoint that is whole), a KerasHub preset, a\n"
        "Hugging Face folder, a .weights.h5 file, a vocabulary (of WordPiece, a vocab.json, or a folder\n"
        "with vocab.json and merges.txt), a file of tokens (a shard, or .bin of llm.c,\n"
        "modded-nanogpt, nanoGPT or Megatron), or a folder of shards.\n\n"
        "  --verify             check every byte of a checkpoint or shard against its hashes\n"
        "  --sample I           of a file of tokens: sample I, from 0\n"
        "  --sequence-length T  tokens of a sample; default 128\n"
        "  --vocabulary FILE    shows the sample as text, too\n"
        "  --batch S            of a run: the samples of global batch S, from 0, and where each stands\n",
};
