/*
 * bench_text.c - how fast one thread turns text into GPT-2's tokens, and into WordPieces.
 *
 *     bench_text [VOCABULARY TEXT...]
 *
 * Without arguments GPT-2's vocabulary and the texts of the data folder beside the repository, and
 * the WordPiece vocabulary of the first; exit code 77 if they are not there. One JSON line a
 * figure: {"bench", "value", "unit", "config"}. Cold: a new encoder for each pass over the text;
 * warm: the same one again. Where python3 ($PYTHON) has tiktoken or tokenizers, bench_text_peers.py
 * encodes the same bytes in the same call.
 */
#include "base/clock.h"
#include "data/source.h"
#include "text/tokenizer_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    REPEATS = 3,                  /* the best counts: others may use the machine */
    MOST_BYTES = 1 << 25,         /* of a text */
    CHUNK_BYTES = 1 << 16,        /* encoded at a time, as long documents are */
};

struct text {
    char *bytes;
    size_t count;
};

/* The first MOST_BYTES of a text; of JSON the paragraphs of its poems. */
static struct error *read_text(const char *path, struct text *text)
{
    struct source *source;
    struct source_block block = {0};
    TRY(source_open(&source, &(struct source_options){
        .inputs = &path, .input_count = 1, .field = "paragraphs", .name = "bench",
        .block_bytes = SOURCE_BLOCK_BYTES}));
    FILE *out = open_memstream(&text->bytes, &text->count);
    struct error *e = NULL;
    size_t written = 0;
    while (written < MOST_BYTES && !(e = source_read(source, &block)) && block.bytes)
        written += fwrite(block.text, 1, block.bytes, out);
    source_block_release(&block);
    source_close(source);
    fclose(out);
    return e;
}

/* Seconds and tokens of one pass. */
static struct error *encode(struct encoder *encoder, const struct text *text, int32_t *ids,
                            double *seconds, int64_t *tokens)
{
    const double start_s = clock_now_s();
    *tokens = 0;
    for (size_t at = 0; at < text->count; at += CHUNK_BYTES) {
        const size_t left = text->count - at;
        int count;
        TRY(encoder_encode(encoder, text->bytes + at, left < CHUNK_BYTES ? left : CHUNK_BYTES, ids,
                           CHUNK_BYTES, &count));
        *tokens += count;
    }
    *seconds = clock_now_s() - start_s;
    return NULL;
}

static void give(const char *kind, const char *bench, const struct text *text, double seconds,
                 int64_t tokens, const char *path)
{
    printf("{\"bench\": \"%s_%s\", \"value\": %.4g, \"unit\": \"MB/s\", \"config\": \"%s, %.1f MB, "
           "%lld tokens\"}\n", kind, bench, 1e-6 * (double)text->count / seconds, path,
           1e-6 * (double)text->count, (long long)tokens);
    fflush(stdout);
}

static struct error *bench(const struct tokenizer *tokenizer, const char *path)
{
    struct text text = {0};
    double cold_s = 1e9, warm_s = 1e9;
    int64_t tokens = 0;
    TRY(read_text(path, &text));
    int32_t *ids = malloc(CHUNK_BYTES * sizeof *ids);
    struct error *e = ids ? NULL : error_new(ERROR_MEMORY, "no memory for ids");
    for (int i = 0; i < REPEATS && !e; i++) {
        struct encoder *encoder;
        double seconds = 0;
        if ((e = encoder_create(&encoder, tokenizer)))
            break;
        if (!(e = encode(encoder, &text, ids, &seconds, &tokens)))
            cold_s = seconds < cold_s ? seconds : cold_s;
        if (!e && !(e = encode(encoder, &text, ids, &seconds, &tokens)))
            warm_s = seconds < warm_s ? seconds : warm_s;
        encoder_destroy(encoder);
    }
    if (!e) {
        const char *const kind = tokenizer_kind_name(tokenizer_definition(tokenizer)->kind);
        give(kind, "encode_cold", &text, cold_s, tokens, path);
        give(kind, "encode_warm", &text, warm_s, tokens, path);
    }
    free(ids);
    free(text.bytes);
    return e;
}

static struct error *run(const char *vocabulary, const char *const *paths, int count)
{
    struct tokenizer *tokenizer;
    const double start_s = clock_now_s();
    TRY(tokenizer_open(&tokenizer, vocabulary, NULL,
                       &(struct wordpiece_options){.split = true, .lowercase = true,
                                                   .split_on_cjk = true},
                       &(struct bpe_options){.special_as_text = true}));
    printf("{\"bench\": \"%s_open\", \"value\": %.3g, \"unit\": \"ms\", \"config\": \"%s\"}\n",
           tokenizer_kind_name(tokenizer_definition(tokenizer)->kind),
           1e3 * (clock_now_s() - start_s), vocabulary);
    struct error *e = NULL;
    for (int i = 0; i < count && !e; i++)
        e = bench(tokenizer, paths[i]);
    tokenizer_destroy(tokenizer);
    return e;
}

/* The peers' figures are printed by a program of their own; without Python or them, nothing is. */
static void run_peers(const char *source, const char *vocabulary, const char *const *paths,
                      int count)
{
    const char *python = getenv("PYTHON");
    char **arguments = calloc((size_t)count + 4, sizeof *arguments);
    char script[4096];
    snprintf(script, sizeof script, "%s/tests/bench/bench_text_peers.py", source);
    if (arguments && !access(script, R_OK)) {
        arguments[0] = strdup(python ? python : "python3");
        arguments[1] = script;
        arguments[2] = strdup(vocabulary);
        for (int i = 0; i < count; i++)
            arguments[3 + i] = strdup(paths[i]);
        execvp(arguments[0], arguments);
    }
    free(arguments);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {
        "novels/train.txt.zst", "wikitext-2/train.txt.gz", "shakespeare/input.txt",
        "poems/poet.tang.1000.json",
    };
    enum { TEXTS = sizeof names / sizeof names[0] };
    const char *const given = getenv("GALLEY_SOURCE"), *const source = given ? given : ".";
    static char paths[TEXTS][4096], vocabulary[4096], pieces[4096];
    const char *own_texts[TEXTS];
    snprintf(vocabulary, sizeof vocabulary, "%s/../shared/data/gpt2", source);
    snprintf(pieces, sizeof pieces, "%s/../shared/data/novels/wordpiece-5000.txt", source);
    for (int i = 0; i < TEXTS; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/../shared/data/%s", source, names[i]);
        own_texts[i] = paths[i];
    }
    const bool own = argc < 3;
    if (own && (!tokenizer_files_in(vocabulary) || access(paths[0], R_OK))) {
        fprintf(stderr, "skipped: no %s\n", vocabulary);
        return 77;
    }
    const char *const *texts = own ? own_texts : (const char *const *)(argv + 2);
    const int count = own ? TEXTS : argc - 2;
    struct error *e = run(own ? vocabulary : argv[1], texts, count);
    if (!e && own)
        e = run(pieces, texts, 1);
    if (e) {
        fprintf(stderr, "%s\n", error_message(e));
        error_destroy(e);
        return 1;
    }
    run_peers(source, own ? vocabulary : argv[1], texts, count);
    return 0;
}
