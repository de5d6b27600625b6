/*
 * bench_data.c - how fast text is scanned, samples are found and batches are made.
 *
 *     bench_data [TEXT [VOCABULARY]]
 *
 * Without arguments the novels of the data folder beside the repository; exit code 77 if they are
 * not there. One JSON line a figure: {"bench", "value", "unit", "config"}.
 */
#include "base/clock.h"
#include "data/source.h"
#include "data/order.h"
#include "data/stream.h"
#include "data/text_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    T = 128, BATCH = 64,    /* the mini-GPT example's */
    REPEATS = 5,            /* the best counts: others may use the machine */
};

static void give(const char *bench, double value, const char *unit, const char *config)
{
    printf("{\"bench\": \"%s\", \"value\": %.4g, \"unit\": \"%s\", \"config\": \"%s\"}\n", bench,
           value, unit, config);
    fflush(stdout);
}

static struct error *open_source(struct source **out, const char *const *path)
{
    return source_open(out, &(struct source_options){
        .inputs = path, .input_count = 1, .name = "bench", .block_bytes = SOURCE_BLOCK_BYTES});
}

/* The whole text of a source; for the caller to free. */
static struct error *read_text(const char *path, char **text, size_t *bytes)
{
    struct source *source;
    struct source_block block = {0};
    FILE *out = open_memstream(text, bytes);
    struct error *e = open_source(&source, &path);
    if (!e) {
        while (!(e = source_read(source, &block)) && block.bytes)
            fwrite(block.text, 1, block.bytes, out);
        source_block_release(&block);
        source_close(source);
    }
    fclose(out);
    return e;
}

/* GB/s of unpacked text, from page cache, and the share of it that scanning takes. */
static struct error *bench_scan(const char *path, size_t text_bytes, const char *config)
{
    double best_read_s = 1e9, best_open_s = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        struct source *source;
        struct source_block block = {0};
        double start_s = clock_now_s();
        TRY(open_source(&source, &path));
        struct error *e;
        do
            e = source_read(source, &block);
        while (!e && block.bytes);
        source_block_release(&block);
        source_close(source);
        TRY(e);
        const double read_s = clock_now_s() - start_s;

        struct dataset *dataset;
        start_s = clock_now_s();
        TRY(dataset_open(&dataset, &(struct dataset_options){
            .inputs = &path, .input_count = 1, .min_bytes = 513, .name = "bench",
        }));
        const double open_s = clock_now_s() - start_s;
        dataset_close(dataset);
        best_read_s = read_s < best_read_s ? read_s : best_read_s;
        best_open_s = open_s < best_open_s ? open_s : best_open_s;
    }
    give("source_read", (double)text_bytes * 1e-9 / best_read_s, "GB/s", config);
    give("dataset_open", (double)text_bytes * 1e-9 / best_open_s, "GB/s", config);
    return NULL;
}

/* As a stream asks, for a micro-batch at a time; the sum of what it says. */
static int64_t order_batch(const struct order *order, int64_t epoch, int64_t first, int64_t count)
{
    int64_t at[BATCH], sum = 0;
    for (int64_t i = 0; i < count; i++)
        at[i] = first + i;
    order_samples(order, epoch, at, count);
    for (int64_t i = 0; i < count; i++)
        sum += at[i];
    return sum;
}

static struct error *bench_samples(const struct dataset *dataset)
{
    const struct order order = {.seed = 1, .samples = dataset_samples(dataset), .shuffle = true};
    const int64_t samples = order.samples;
    char *const scratch = malloc(dataset_scratch_bytes(dataset));
    double best_order_s = 1e9, best_sample_s = 1e9;
    int64_t sum = 0;
    struct error *e = NULL;
    for (int i = 0; i < REPEATS && !e; i++) {
        double start_s = clock_now_s();
        for (int64_t p = 0; p < samples; p += BATCH)
            sum += order_batch(&order, i, p, p + BATCH < samples ? BATCH : samples - p);
        const double order_s = clock_now_s() - start_s;

        start_s = clock_now_s();
        for (int64_t p = 0; p < samples && !e; p++) {
            const char *text;
            size_t bytes;
            e = dataset_sample(dataset, p * 7919 % samples, scratch, &text, &bytes);
        }
        const double sample_s = clock_now_s() - start_s;
        best_order_s = order_s < best_order_s ? order_s : best_order_s;
        best_sample_s = sample_s < best_sample_s ? sample_s : best_sample_s;
    }
    free(scratch);
    TRY(e);
    if (sum != REPEATS * (samples * (samples - 1) / 2))
        return error_new(ERROR_INPUT, "the order is no permutation");
    give("order_sample", best_order_s / (double)samples * 1e9, "ns", "one position of 64");
    give("dataset_sample", best_sample_s / (double)samples * 1e9, "ns", "one sample, random order");
    return NULL;
}

/* Works for so long, as a training step of one rank on one core does. */
static void work(double seconds)
{
    const double end_s = clock_now_s() + seconds;
    while (clock_now_s() < end_s)
        continue;
}

/* Tokens of the rows per second, and the share of its time that a consumer waits. */
static struct error *bench_stream(const struct dataset *dataset, const struct tokenizer *tokenizer,
                                  int threads, double step_s)
{
    const struct text_rows rows = {.dataset = dataset, .tokenizer = tokenizer};
    const struct samples samples = text_rows_samples(&rows);
    const struct blend blend = blend_of(&samples, 1, true);
    const struct stream_options options = {
        .blend = &blend,
        .T = T,
        .global_batch = BATCH,
        .micro_batch = BATCH,
        .world_size = 1,
        .threads = threads,
        .prefetch = 4,
    };
    const int reads = step_s > 0 ? (int)(2 / step_s) : 1000;
    struct stream *stream;
    TRY(stream_open(&stream, &options, 0, 0));
    double waited_s = 0;
    struct error *e = NULL;
    struct batch batch;
    double first_s;
    e = stream_read(stream, &batch, &first_s);    /* before the first there is nothing to hide in */
    const double start_s = clock_now_s();
    for (int i = 0; i < reads && !e; i++) {
        double wait_s;
        work(step_s);
        e = stream_read(stream, &batch, &wait_s);
        waited_s += wait_s;
    }
    const double seconds = clock_now_s() - start_s;
    stream_close(stream);
    TRY(e);
    char config[128];
    if (step_s > 0) {
        snprintf(config, sizeof config, "%d x %d, %d thread, a step of %.0f ms", BATCH, T, threads,
                 step_s * 1e3);
        give("stream_wait_share", 100 * waited_s / seconds, "%", config);
    } else {
        snprintf(config, sizeof config, "%d x %d, %d thread%s", BATCH, T, threads,
                 threads > 1 ? "s" : "");
        give("stream_read", (double)(reads * BATCH * T) / seconds, "tokens/s", config);
    }
    return NULL;
}

static struct error *run(const char *packed, const char *vocabulary_path)
{
    struct error *e;
    char *text = NULL, *vocabulary = NULL, plain[] = "/tmp/galley-bench.XXXXXX";
    size_t bytes = 0, vocabulary_bytes = 0;
    struct dataset *dataset = NULL;
    struct tokenizer *tokenizer = NULL;
    const int fd = mkstemp(plain);
    FILE *const file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file)
        return error_errno(ERROR_IO, "cannot create %s", plain);
    e = read_text(packed, &text, &bytes);
    if (!e && fwrite(text, 1, bytes, file) != bytes)
        e = error_errno(ERROR_IO, "cannot write %s", plain);
    fclose(file);
    free(text);
    const struct wordpiece_options options = {.lowercase = true, .split = true,
                                              .split_on_cjk = true};
    if (e || (e = bench_scan(plain, bytes, "plain")) || (e = bench_scan(packed, bytes, "packed")) ||
        (e = dataset_open(&dataset, &(struct dataset_options){
             .inputs = (const char *const[]){plain}, .input_count = 1, .min_bytes = 513,
             .name = "bench"})) ||
        (e = bench_samples(dataset)) ||
        (e = read_text(vocabulary_path, &vocabulary, &vocabulary_bytes)) ||
        (e = tokenizer_create_wordpiece(&tokenizer, vocabulary, vocabulary_bytes, vocabulary_path,
                                        &options)) ||
        (e = bench_stream(dataset, tokenizer, 1, 0)) ||
        (e = bench_stream(dataset, tokenizer, 2, 0)))
        goto done;
    e = bench_stream(dataset, tokenizer, 1, 0.1);

done:
    dataset_close(dataset);
    tokenizer_destroy(tokenizer);
    free(vocabulary);
    unlink(plain);
    return e;
}

int main(int argc, char **argv)
{
    const char *const source = getenv("GALLEY_SOURCE");
    char text[4096], vocabulary[4096];
    snprintf(text, sizeof text, "%s/../shared/data/novels/train.txt.zst", source ? source : ".");
    snprintf(vocabulary, sizeof vocabulary, "%s/../shared/data/novels/wordpiece-5000.txt",
             source ? source : ".");
    const char *const text_path = argc > 1 ? argv[1] : text;
    const char *const vocabulary_path = argc > 2 ? argv[2] : vocabulary;
    if (access(text_path, R_OK) || access(vocabulary_path, R_OK)) {
        fprintf(stderr, "skipped: no %s or no %s\n", text_path, vocabulary_path);
        return 77;
    }
    struct error *e = run(text_path, vocabulary_path);
    if (e)
        fprintf(stderr, "%s\n", error_message(e));
    error_destroy(e);
    return e != NULL;
}
