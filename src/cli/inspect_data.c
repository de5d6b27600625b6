/* inspect_data.c - what galley inspect shows of data. */
#include "cli/inspect_data.h"

#include "data/stream.h"
#include "data/token_file.h"
#include "data/tokenize.h"
#include "text/tokenizer_files.h"
#include "train/checkpoint.h"
#include "train/run_data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    USUAL_LENGTH = 128, SHOWN_BYTES = 160,
    MOST_SHARDS = 1 << 24,    /* a file that tells of more is damaged; each is looked for */
};

/* The text of some tokens, line feeds and the like escaped; `most` bytes of it, 0: all. */
static struct error *print_text(const struct tokenizer *tokenizer, const int32_t *tokens, int count,
                                size_t most)
{
    char *text;
    size_t bytes;
    TRY(tokenizer_decode(tokenizer, tokens, count, &text, &bytes));
    for (size_t i = 0; i < bytes && (!most || i < most); i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '\n')
            fputs("\\n", stdout);
        else if (c < ' ' || c == 0x7F)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    puts(most && bytes > most ? " ..." : "");
    free(text);
    return NULL;
}

/* ---- token files ---- */

static void print_shard(const struct shard_facts *f)
{
    printf("part: %s, shard %lld of %lld, from token %lld of the whole on\n", f->part,
           (long long)f->shard + 1, (long long)f->shards, (long long)f->first_token);
    printf("documents that begin in it: %lld\n", (long long)f->documents);
    printf("tokenizer: %s, %lld entries, fingerprint %016llx; largest token %lld\n",
           f->tokenizer_kind, (long long)f->vocabulary_size, (unsigned long long)f->tokenizer,
           (long long)f->largest_token);
    if (f->end_token >= 0)
        printf("documents end with token %lld\n", (long long)f->end_token);
    else
        printf("documents begin with token %lld\n", (long long)f->start_token);
}

/* Sample i is tokens i T to i T + T, as training takes them. */
static struct error *print_sample(const struct token_file *file, const struct inspect_options *o,
                                  const struct tokenizer *tokenizer)
{
    const int64_t T = o->length ? o->length : USUAL_LENGTH, all = token_file_tokens(file);
    const int64_t samples = (all - 1) / T;
    if (o->sample >= samples)
        return error_new(ERROR_USAGE, "--sample is %lld; %s has %lld samples of %lld "
                         "tokens, from 0",
                         o->sample, token_file_path(file), (long long)samples, (long long)T);
    int32_t *const tokens = malloc((size_t)(T + 1) * sizeof *tokens);
    void *const scratch = malloc(token_file_scratch_bytes(T + 1));
    struct error *e = tokens && scratch
                    ? token_file_read(file, o->sample * T, T + 1, tokens, scratch)
                    : error_new(ERROR_MEMORY, "no memory for %lld tokens", (long long)T);
    if (!e) {
        printf("\nsample %lld: tokens %lld to %lld\nids:", o->sample, o->sample * (long long)T,
               o->sample * (long long)T + (long long)T);
        for (int64_t t = 0; t <= T; t++)
            printf(" %d", tokens[t]);
        puts("");
    }
    if (!e && tokenizer) {
        fputs("text: ", stdout);
        e = print_text(tokenizer, tokens, (int)T + 1, 0);
    }
    free(tokens);
    free(scratch);
    return e;
}

/* The tokenizer of --vocabulary; it must be the shard's, whatever options that had. */
static struct error *open_tokenizer(struct tokenizer **out, const char *vocabulary,
                                    const struct token_file *file)
{
    const struct shard *const shard = token_file_shard(file);
    for (int options = 0; options < 16; options++) {
        struct tokenizer *t;
        TRY(tokenizer_open(&t, vocabulary, NULL, &(struct wordpiece_options){
            .split = true, .lowercase = options & 1, .strip_accents = options & 2,
            .split_on_cjk = !(options & 4)},
            &(struct bpe_options){.special_as_text = options & 8}));
        if (!shard || tokenizer_fingerprint(t) == shard_facts(shard)->tokenizer) {
            *out = t;
            return NULL;
        }
        tokenizer_destroy(t);
    }
    return error_new(ERROR_INPUT, "%s was made with another tokenizer than %s",
                     token_file_path(file), vocabulary);
}

static struct error *show_tokens(const struct token_file *file, const struct inspect_options *o)
{
    const struct shard *const shard = token_file_shard(file);
    uint64_t fingerprint;
    struct tokenizer *tokenizer = NULL;
    TRY(token_file_fingerprint(file, &fingerprint));
    printf("tokens %s\n%s: %lld tokens, fingerprint %016llx\n", token_file_path(file),
           token_file_format(file), (long long)token_file_tokens(file),
           (unsigned long long)fingerprint);
    if (shard)
        print_shard(shard_facts(shard));
    if (o->sample < 0)
        return NULL;
    if (o->vocabulary)
        TRY(open_tokenizer(&tokenizer, o->vocabulary, file));
    struct error *e = print_sample(file, o, tokenizer);
    tokenizer_destroy(tokenizer);
    return e;
}

struct error *inspect_tokens(const char *path, const struct inspect_options *options)
{
    struct token_file *file;
    TRY(token_file_open(&file, path, INT64_MAX));
    struct error *e = show_tokens(file, options);
    const bool is_shard = token_file_shard(file);
    token_file_close(file);
    TRY(e);
    if (!options->verify)
        return NULL;
    if (!is_shard)
        return error_new(ERROR_USAGE, "%s has no checksums to verify; galley's own shards do",
                         path);
    TRY(shard_verify(path));
    puts("\nverified: every byte is as it was written");
    return NULL;
}

/* ---- folders of shards ---- */

static void shard_path(char *out, size_t bytes, const char *folder, enum part part, int64_t shard)
{
    char name[64];
    shard_file_name(name, sizeof name, part, shard);
    snprintf(out, bytes, "%s/%s", folder, name);
}

static bool has_part(const char *folder, enum part part)
{
    char path[4400];
    shard_path(path, sizeof path, folder, part, 0);
    return !access(path, F_OK);
}

bool inspect_is_shards(const char *folder)
{
    bool any = false;
    for (int part = 0; part < PARTS; part++)
        any |= has_part(folder, (enum part)part);
    return any;
}

static struct error *show_shard(const char *path, bool verify, int64_t *tokens, int64_t *shards)
{
    struct shard *shard;
    TRY(shard_open(&shard, path));
    const struct shard_facts *const f = shard_facts(shard);
    printf("  %s  %lld tokens, %lld documents, %s of %lld entries\n", path, (long long)f->tokens,
           (long long)f->documents, f->tokenizer_kind, (long long)f->vocabulary_size);
    *tokens += f->tokens;
    *shards = f->shards;
    shard_close(shard);
    if (*shards < 1 || *shards > MOST_SHARDS)
        return error_new(ERROR_INPUT, "%s says that it is one of %lld shards, expected 1 to %d; "
                         "tokenize the text anew", path, (long long)*shards, MOST_SHARDS);
    return verify ? shard_verify(path) : NULL;
}

/* Of an interrupted run some shards behind the first may be missing. */
static struct error *show_part(const char *folder, enum part part, bool verify)
{
    int64_t tokens = 0, shards = 1, there = 0;
    for (int64_t i = 0; i < shards; i++) {
        char path[4400];
        shard_path(path, sizeof path, folder, part, i);
        if (access(path, F_OK))
            continue;
        TRY(show_shard(path, verify, &tokens, &shards));
        there++;
    }
    printf("%s: %lld tokens in %lld of %lld shards\n",
           part == PART_TRAINING ? "train" : "validation",
           (long long)tokens, (long long)there, (long long)shards);
    return NULL;
}

struct error *inspect_shards(const char *folder, const struct inspect_options *options)
{
    char unfinished[4400];
    if (options->sample >= 0 || options->length || options->vocabulary)
        return error_new(ERROR_USAGE, "%s is a folder of shards; --sample, --sequence-length and "
                         "--vocabulary are for one of them, such as %s/train-00000.h5", folder,
                         folder);
    printf("tokens in %s\n", folder);
    for (int part = 0; part < PARTS; part++)
        if (has_part(folder, (enum part)part))
            TRY(show_part(folder, (enum part)part, options->verify));
    snprintf(unfinished, sizeof unfinished, "%s/unfinished", folder);
    if (!access(unfinished, F_OK))
        puts("not all of it: galley tokenize was interrupted, and goes on when it is "
             "started again");
    if (options->verify)
        puts("verified: every byte is as it was written");
    return NULL;
}

/* ---- batches ---- */

static struct error *print_rows(const struct corpus *corpus, const struct stream *stream,
                                const struct batch *batch, const struct tokenizer *tokenizer)
{
    for (int b = 0; b < batch->rows; b++) {
        char where[4400];
        const int64_t number = stream_sample(stream, b);
        const size_t at = (size_t)b * (size_t)batch->T;
        corpus_where(corpus, number, where, sizeof where);
        printf("%5d  sample %lld  %s\n       ", b, (long long)number, where);
        TRY(print_text(tokenizer, batch->tokens + at, batch->T, SHOWN_BYTES));
    }
    return NULL;
}

static struct error *show_batch(const struct corpus *corpus, const struct config *c,
                                const struct tokenizer *tokenizer, int64_t number)
{
    const struct stream_options options = {
        .blend = corpus_blend(corpus), .T = (int)c->data.sequence_length,
        .global_batch = (int)c->train.global_batch, .micro_batch = (int)c->train.global_batch,
        .world_size = 1, .threads = 1, .prefetch = 2, .drop_last = c->data.drop_last,
    };
    const int64_t steps = stream_steps_per_epoch(&options);
    if (steps == 0)
        return error_new(ERROR_INPUT, "the data of the run no longer fill one global batch of %d "
                         "samples", options.global_batch);
    struct stream *stream;
    struct batch batch;
    double waited_s;
    TRY(stream_open(&stream, &options, number / steps, number % steps));
    struct error *e = stream_read(stream, &batch, &waited_s);
    if (!e) {
        printf("global batch %lld: step %lld of epoch %lld (from 0), %d samples\n",
               (long long)number, (long long)(number % steps), (long long)(number / steps),
               batch.rows);
        e = print_rows(corpus, stream, &batch, tokenizer);
    }
    stream_close(stream);
    return e;
}

/* Of a pipe nothing is left to be read again. */
static struct error *check_files(const struct checkpoint_file *file, const struct config *c)
{
    if (checkpoint_progress(file)->train_fingerprint)
        return NULL;
    return error_new(ERROR_USAGE, "%s was trained on what came through a pipe (data.train \"%s\"), "
                     "of which no batch can be shown again; --batch is for runs on files, and what "
                     "the checkpoint knows of the pipe shows without it", checkpoint_path(file),
                     c->data.train.count ? c->data.train.items[0] : "");
}

/* Nor is the order of an earlier version known any more. */
static struct error *check_order(const struct checkpoint_file *file, const struct corpus *corpus)
{
    if (!checkpoint_progress(file)->older_order || !corpus_has_lanes(corpus))
        return NULL;
    return error_new(ERROR_INPUT, "%s is of an earlier version, which took the samples of token "
                     "files and of blends in another order, so its batches cannot be told; --batch "
                     "shows them with that version", checkpoint_path(file));
}

struct error *inspect_batch(const char *run_folder, const struct inspect_options *options)
{
    char *path;
    struct checkpoint_file *file = NULL;
    struct config *config = NULL;
    struct tokenizer *tokenizer = NULL;
    struct corpus *corpus = NULL;
    TRY(checkpoint_resolve(run_folder, false, &path));
    struct error *e;
    if (!(e = checkpoint_open(&file, path)) &&
        !(e = config_parse(&config, checkpoint_config(file), path, NULL, 0)) &&
        !(e = check_files(file, config)) && !(e = checkpoint_tokenizer(file, &tokenizer)) &&
        !(e = run_data_open(&corpus, config, false, tokenizer, RUN_DATA_READ)) &&
        !(e = check_order(file, corpus))) {
        if (corpus_fingerprint(corpus) != checkpoint_progress(file)->train_fingerprint)
            puts("the data is not what the run was trained on: it changed since");
        e = show_batch(corpus, config, tokenizer, options->batch);
    }
    corpus_close(corpus);
    tokenizer_destroy(tokenizer);
    config_destroy(config);
    checkpoint_close(file);
    free(path);
    return e;
}
