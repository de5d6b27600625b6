/*
 * bench_tokens.c - how fast text becomes tokens, and tokens batches.
 *
 *     bench_tokens [TEXT [VOCABULARY [MEGABYTES]]]
 *
 * TEXT is repeated to so many megabytes (100), in a file of $TMPDIR that is removed again;
 * VOCABULARY is as galley tokenize takes it. Without arguments the novels and GPT-2's vocabulary of
 * the data folder beside the repository; exit code 77 if they are not there. One JSON line a
 * figure.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "data/corpus.h"
#include "data/source.h"
#include "data/stream.h"
#include "data/tokenize.h"
#include "text/tokenizer_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 64, READS_S = 2 };

static void give(const char *bench, double value, const char *unit, const char *config)
{
    printf("{\"bench\": \"%s\", \"value\": %.4g, \"unit\": \"%s\", \"config\": \"%s\"}\n", bench,
           value, unit, config);
    fflush(stdout);
}

/* The text again and again, to at least so many bytes; each time with a number in every line, so
 * that no line comes twice. */
static struct error *write_text(const char *path, const char *text, int64_t bytes)
{
    FILE *const out = fopen(path, "w");
    struct error *e = NULL;
    if (!out)
        return error_errno(ERROR_IO, "cannot create %s", path);
    for (int64_t written = 0, round = 0; written < bytes && !e; round++) {
        struct source *source;
        struct source_block block = {0};
        if ((e = source_open(&source, &(struct source_options){
                 .inputs = &text, .input_count = 1, .name = "bench",
                 .block_bytes = SOURCE_BLOCK_BYTES})))
            break;
        while (written < bytes && !(e = source_read(source, &block)) && block.bytes) {
            written += (int64_t)block.bytes;
            for (const char *at = block.text, *end = at + block.bytes; at < end;) {
                const char *const feed = memchr(at, '\n', (size_t)(end - at));
                const char *const stop = feed ? feed + 1 : end;
                if (round)
                    fprintf(out, "%lld ", (long long)round);
                fwrite(at, 1, (size_t)(stop - at), out);
                at = stop;
            }
        }
        source_block_release(&block);
        source_close(source);
    }
    if (fclose(out) && !e)
        e = error_errno(ERROR_IO, "cannot write %s", path);
    return e;
}

/* MB/s of text into a piece's files, from page cache; leaves them in `folder`. */
static struct error *bench_tokenize(const struct tokenizer *tokenizer, const struct inputs *inputs,
                                    const char *folder, int threads, struct piece_summary *summary)
{
    const int64_t bytes = inputs->files[0].bytes;
    const struct tokenize_options options = {
        .inputs = inputs, .min_bytes = 1, .tokenizer = tokenizer, .threads = threads,
        .folder = folder,
    };
    const struct piece piece = {.files = 1, .bytes = bytes};
    char config[128];
    const size_t before = memory_resident_bytes();
    const double start_s = clock_now_s();
    TRY(tokenize_piece(&options, &piece, 0, summary));
    const double seconds = clock_now_s() - start_s;
    snprintf(config, sizeof config, "%s, %.0f MB, %d thread%s",
             tokenizer_kind_name(tokenizer_definition(tokenizer)->kind), 1e-6 * (double)bytes,
             threads, threads > 1 ? "s" : "");
    give("tokenize", 1e-6 * (double)bytes / seconds, "MB/s", config);
    give("tokenize_memory", 1e-6 * ((double)memory_resident_bytes() - (double)before), "MB",
         config);
    return NULL;
}

static struct error *bench_assemble(const struct tokenizer *tokenizer, const struct inputs *inputs,
                                    const char *folder, const struct piece_summary *summary)
{
    const struct tokenize_options options = {.inputs = inputs, .tokenizer = tokenizer,
                                             .folder = folder};
    const struct shard_plan plan = shard_plan_of(summary, 1, PART_TRAINING, 20000000);
    const double start_s = clock_now_s();
    for (int64_t i = 0; i < plan.shards; i++)
        TRY(shard_assemble(&plan, i, &options, 1, folder));
    give("shard_assemble", 1e-6 * (double)plan.tokens / (clock_now_s() - start_s), "M tokens/s",
         "written, checked and flushed");
    return NULL;
}

/* Works for so long, as a training step of one rank on one core does. */
static void work(double seconds)
{
    const double end_s = clock_now_s() + seconds;
    while (clock_now_s() < end_s)
        continue;
}

/* Tokens a second, and the share of its time that a consumer waits, which works `step_s` a
 * batch. */
static struct error *bench_stream(const char *folder, int64_t vocabulary_size, int T, int threads,
                                  double step_s)
{
    char glob[4400], config[128];
    const char *const input = glob;
    struct corpus *corpus;
    struct stream *stream;
    struct batch batch;
    double waited_s = 0, wait_s, tokens = 0;
    snprintf(glob, sizeof glob, "%s/train-*.h5", folder);
    TRY(corpus_open(&corpus, &(struct corpus_options){
        .data = {.inputs = &input, .input_count = 1, .name = "bench"}, .T = T,
        .vocabulary_size = vocabulary_size, .seed = 1, .shuffle = true, .global_batch = BATCH}));
    struct error *e = stream_open(&stream, &(struct stream_options){
        .blend = corpus_blend(corpus), .T = T, .global_batch = BATCH, .micro_batch = BATCH,
        .world_size = 1, .threads = threads, .prefetch = 8}, 0, 0);
    if (e) {
        corpus_close(corpus);
        return e;
    }
    /* An epoch first: each chunk is checked when it is first touched. */
    for (int64_t left = corpus_samples(corpus); left > 0 && !e; left -= BATCH)
        e = stream_read(stream, &batch, &wait_s);
    const double start_s = clock_now_s();
    while (!e && clock_now_s() < start_s + (double)READS_S) {
        work(step_s);
        e = stream_read(stream, &batch, &wait_s);
        waited_s += wait_s;
        tokens += (double)batch.rows * T;
    }
    const double seconds = clock_now_s() - start_s;
    stream_close(stream);
    corpus_close(corpus);
    TRY(e);
    snprintf(config, sizeof config, "%d x %d, %d thread%s", BATCH, T, threads,
             threads > 1 ? "s" : "");
    if (step_s > 0)
        give("token_wait_share", 100 * waited_s / seconds, "%", config);
    else
        give("token_stream", 1e-6 * tokens / seconds, "M tokens/s", config);
    return NULL;
}

/* Bytes that this process had the system fetch from disk. */
static double bytes_fetched(void)
{
    char line[128];
    long long bytes = 0;
    FILE *const f = fopen("/proc/self/io", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "read_bytes: %lld", &bytes) == 1)
            break;
    if (f)
        fclose(f);
    return (double)bytes;
}

/* What was written a moment ago is in page cache: out with it. */
static struct error *drop_from_cache(const char *glob)
{
    struct inputs inputs;
    struct error *e = NULL;
    TRY(inputs_expand(&inputs, &glob, 1, "bench"));
    for (int i = 0; i < inputs.count && !e; i++) {
        const int fd = open(inputs.files[i].path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
            e = error_errno(ERROR_IO, "cannot drop %s from cache", inputs.files[i].path);
        if (fd >= 0)
            close(fd);
    }
    inputs_release(&inputs);
    return e;
}

/* What one rank of four fetches in its first epoch, in which it checks every chunk that it
 * touches. */
static struct error *bench_rank(const char *folder, int64_t vocabulary_size, int T)
{
    enum { RANKS = 4 };
    char glob[4400], config[128];
    const char *const input = glob;
    struct corpus *corpus;
    struct stream *stream;
    struct batch batch;
    double wait_s;
    snprintf(glob, sizeof glob, "%s/train-*.h5", folder);
    TRY(corpus_open(&corpus, &(struct corpus_options){
        .data = {.inputs = &input, .input_count = 1, .name = "bench"}, .T = T,
        .vocabulary_size = vocabulary_size, .seed = 1, .shuffle = true, .global_batch = BATCH}));
    struct error *e = drop_from_cache(glob);
    const double before = bytes_fetched();
    const double all = (double)corpus_samples(corpus) * T * shard_width(vocabulary_size);
    if (!e && !(e = stream_open(&stream, &(struct stream_options){
        .blend = corpus_blend(corpus), .T = T, .global_batch = BATCH, .micro_batch = BATCH / RANKS,
        .rank = 1, .world_size = RANKS, .threads = 2, .prefetch = 8, .epochs = 1}, 0, 0))) {
        do
            e = stream_read(stream, &batch, &wait_s);
        while (!e && batch.rows >= 0);
        stream_close(stream);
    }
    corpus_close(corpus);
    TRY(e);
    snprintf(config, sizeof config, "rank 1 of %d, %d x %d, %.0f MB", RANKS, BATCH, T, 1e-6 * all);
    give("token_rank_reads", 100 * (bytes_fetched() - before) / all, "% of the data", config);
    return NULL;
}

static struct error *run(const char *text, const char *vocabulary, int64_t megabytes,
                         const char *folder)
{
    char path[4400];
    const char *const input = path;
    struct tokenizer *tokenizer = NULL;
    struct inputs inputs = {0};
    struct piece_summary summary;
    struct error *e;
    snprintf(path, sizeof path, "%s/text.txt", folder);
    if ((e = write_text(path, text, megabytes * 1000000)) ||
        (e = inputs_expand(&inputs, &input, 1, "bench")) ||
        (e = tokenizer_open(&tokenizer, vocabulary, NULL,
                            &(struct wordpiece_options){.lowercase = true, .split = true,
                                                        .split_on_cjk = true},
                            &(struct bpe_options){.special_as_text = false})) ||
        (e = bench_tokenize(tokenizer, &inputs, folder, 1, &summary)) ||
        (e = bench_tokenize(tokenizer, &inputs, folder, 2, &summary)) ||
        (e = bench_assemble(tokenizer, &inputs, folder, &summary)))
        goto done;
    static const int lengths[] = {128, 1024};
    for (int i = 0; i < 2 && !e; i++)
        for (int threads = 1; threads <= 2 && !e; threads++)
            e = bench_stream(folder, tokenizer_size(tokenizer), lengths[i], threads, 0);
    if (!e)
        e = bench_stream(folder, tokenizer_size(tokenizer), 1024, 1, 0.02);
    for (int i = 0; i < 2 && !e; i++)
        e = bench_rank(folder, tokenizer_size(tokenizer), lengths[i]);

done:
    tokenizer_destroy(tokenizer);
    inputs_release(&inputs);
    return e;
}

/* What run() left: files only. */
static void remove_folder(const char *folder)
{
    char command[4400];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    if (system(command))
        fprintf(stderr, "could not remove %s\n", folder);
}

int main(int argc, char **argv)
{
    const char *const source = getenv("GALLEY_SOURCE"), *const temporary = getenv("TMPDIR");
    char text[4096], vocabulary[4096], folder[4096];
    snprintf(text, sizeof text, "%s/../shared/data/novels/train.txt.zst", source ? source : ".");
    snprintf(vocabulary, sizeof vocabulary, "%s/../shared/data/gpt2", source ? source : ".");
    const char *const text_path = argc > 1 ? argv[1] : text;
    const char *const vocabulary_path = argc > 2 ? argv[2] : vocabulary;
    const int64_t megabytes = argc > 3 ? strtoll(argv[3], NULL, 10) : 100;
    if (access(text_path, R_OK) || access(vocabulary_path, R_OK)) {
        fprintf(stderr, "skipped: no %s or no %s\n", text_path, vocabulary_path);
        return 77;
    }
    snprintf(folder, sizeof folder, "%s/galley-bench.XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    struct error *e = run(text_path, vocabulary_path, megabytes, folder);
    remove_folder(folder);
    if (e)
        fprintf(stderr, "%s\n", error_message(e));
    const int code = e != NULL;
    error_destroy(e);
    return code;
}
