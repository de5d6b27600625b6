/* inspect.c - the verb `galley inspect`: what a checkpoint, run or vocabulary holds. */
#include "cli/verbs.h"
#include "text/tokenizer.h"
#include "train/checkpoint.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_VOCABULARY = 1 << 28 };

static void print_tensors(const struct parameters *p)
{
    printf("\ntensors: %d, %lld parameters (each in /weights, /optimizer/m and /optimizer/v)\n",
           p->n, (long long)p->count);
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

static struct error *print_checkpoint(const struct checkpoint_file *file)
{
    const struct model_spec *s = checkpoint_spec(file);
    const struct progress *p = checkpoint_progress(file);
    struct parameters *parameters;
    struct tokenizer *tokenizer;
    TRY(checkpoint_tokenizer(file, &tokenizer));
    const int entries = tokenizer_size(tokenizer);
    tokenizer_destroy(tokenizer);
    TRY(parameters_create(&parameters, s));

    printf("checkpoint %s\n", checkpoint_path(file));
    printf("model: %s, vocabulary %d, positions %d, channels %d, heads %d, feed-forward %d, "
           "layers %d\n", spec_family_name(s->family), s->V, s->positions, s->C, s->NH, s->F, s->L);
    printf("tokenizer: wordpiece, %d entries\n", entries);
    printf("progress: step %lld, next is step %lld of epoch %lld (from 0); %lld samples, %lld "
           "tokens seen\n", (long long)p->step, (long long)p->step_in_epoch, (long long)p->epoch,
           (long long)p->samples, (long long)p->tokens);
    printf("written by %d rank%s, seed %llu, training text %016llx\n", p->world_size,
           p->world_size == 1 ? "" : "s", (unsigned long long)p->seed,
           (unsigned long long)p->train_fingerprint);
    if (p->best_step >= 0)
        printf("best validation perplexity: %.3f at step %lld\n", p->best_perplexity,
               (long long)p->best_step);
    print_history(file);
    print_tensors(parameters);
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

static struct error *print_vocabulary(const char *path, const char *text, size_t bytes)
{
    const struct wordpiece_options options = {.split = true};
    struct tokenizer *t;
    TRY(tokenizer_create_wordpiece(&t, text, bytes, path, &options));
    int suffixes = 0;
    size_t longest = 0, length;
    for (int id = 0; id < tokenizer_size(t); id++) {
        const char *entry = tokenizer_entry(t, id, &length);
        suffixes += length > 2 && entry[0] == '#' && entry[1] == '#';
        longest = length > longest ? length : longest;
    }
    printf("vocabulary %s\n%d entries, %d of them continue a word (##), the longest has %zu bytes\n",
           path, tokenizer_size(t), suffixes, longest);
    printf("[UNK] is %d, [BOS] is %d\nfirst entries:", tokenizer_find(t, "[UNK]"),
           tokenizer_start_id(t));
    for (int id = 0; id < 24 && id < tokenizer_size(t); id++) {
        const char *entry = tokenizer_entry(t, id, &length);
        printf(" %.*s", (int)length, entry);
    }
    puts("");
    tokenizer_destroy(t);
    return NULL;
}

static struct error *inspect_vocabulary(const char *path, FILE *file, size_t bytes)
{
    char *text = malloc(bytes + 1);
    if (!text)
        return error_new(ERROR_MEMORY, "no memory for %s (%zu bytes)", path, bytes);
    struct error *e = NULL;
    if (fread(text, 1, bytes, file) != bytes)
        e = error_errno(ERROR_IO, "cannot read %s", path);
    else if (memchr(text, '\0', bytes))
        e = error_new(ERROR_INPUT, "%s is neither a Galley checkpoint nor a vocabulary", path);
    else
        e = print_vocabulary(path, text, bytes);
    free(text);
    return e;
}

static struct error *inspect(const char *path, bool verify)
{
    static const char magic[] = "galley checkpoint";
    struct stat status;
    char head[sizeof magic] = "";
    if (stat(path, &status))
        return error_errno(ERROR_INPUT, "cannot find %s", path);
    if (S_ISDIR(status.st_mode)) {
        char *newest;
        TRY(checkpoint_resolve(path, false, &newest));
        struct error *e = inspect_checkpoint(newest, verify);
        free(newest);
        return e;
    }
    FILE *file = fopen(path, "rbe");
    if (!file)
        return error_errno(ERROR_INPUT, "cannot read %s", path);
    const size_t n = fread(head, 1, sizeof magic - 1, file);
    const bool hdf5 = n >= 4 && !memcmp(head, "\x89HDF", 4);
    struct error *e;
    rewind(file);
    if (!strcmp(head, magic))
        e = inspect_checkpoint(path, verify);
    else if (hdf5 || status.st_size == 0 || status.st_size > MOST_VOCABULARY)
        e = error_new(ERROR_INPUT, "%s is neither a Galley checkpoint nor a vocabulary%s", path,
                      status.st_size == 0 ? ": it is empty" : "");
    else
        e = inspect_vocabulary(path, file, (size_t)status.st_size);
    fclose(file);
    return e;
}

static struct error *run_inspect(struct cli *cli, int argc, char **argv)
{
    static const struct option flags[] = {{"verify", no_argument, NULL, 'v'}, {NULL, 0, NULL, 0}};
    (void)cli;
    bool verify = false;
    opterr = 0;
    for (int flag; (flag = getopt_long(argc, argv, ":", flags, NULL)) != -1;) {
        if (flag != 'v')
            return cli_bad_option("inspect", argc, argv);
        verify = true;
    }
    if (argc - optind != 1)
        return error_new(ERROR_USAGE, "galley inspect takes one file or run folder");
    return inspect(argv[optind], verify);
}

const struct verb verb_inspect = {
    .name = "inspect",
    .summary = "shows what a checkpoint, run or vocabulary holds",
    .run = run_inspect,
    .help =
        "usage: galley inspect FILE [--verify]\n\n"
        "FILE is a checkpoint, a run folder (its newest checkpoint that is whole) or a vocabulary.\n\n"
        "  --verify    check every byte of a checkpoint against its hashes\n",
};
