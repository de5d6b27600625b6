/* vocabulary.c - threads take blocks of lines in turn, each counts the words of its own. */
#include "data/vocabulary.h"

#include "data/source.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What the threads share. */
struct counting {
    const struct vocabulary_options *options;
    pthread_mutex_t lock;         /* of what follows */
    struct source *source;
    struct error *failure;        /* the first one ends all */
    int64_t lines, kept, longest;
};

struct counting_thread {
    struct counting *shared;
    struct word_counter *counter;
    struct source_block block;
    char *line;                   /* one line without its CRs */
    size_t line_capacity;
    int64_t lines, kept, longest;
    pthread_t thread;
    bool started;
};

/* The line without CR: itself where it has none. */
static struct error *strip_returns(struct counting_thread *t, const char **line, size_t *bytes)
{
    if (!memchr(*line, '\r', *bytes))
        return NULL;
    if (*bytes > t->line_capacity) {
        char *larger = realloc(t->line, *bytes);
        if (!larger)
            return error_new(ERROR_MEMORY, "no memory for a line of %zu bytes", *bytes);
        t->line = larger;
        t->line_capacity = *bytes;
    }
    size_t kept = 0;
    for (size_t i = 0; i < *bytes; i++)
        if ((*line)[i] != '\r')
            t->line[kept++] = (*line)[i];
    *line = t->line;
    *bytes = kept;
    return NULL;
}

static struct error *count_block(struct counting_thread *t)
{
    const char *at = t->block.text, *end = at + t->block.bytes;
    while (at < end) {
        const char *feed = memchr(at, t->block.separator, (size_t)(end - at));
        const char *line = at;
        size_t bytes = (size_t)((feed ? feed : end) - at);
        if (t->block.separator == '\n')
            TRY(strip_returns(t, &line, &bytes));
        t->lines++;
        t->longest = (int64_t)bytes > t->longest ? (int64_t)bytes : t->longest;
        if ((int64_t)bytes >= t->shared->options->min_bytes) {
            t->kept++;
            TRY(word_counter_add(t->counter, line, bytes));
        }
        at = feed ? feed + 1 : end;
    }
    return NULL;
}

static void *count_blocks(void *self)
{
    struct counting_thread *t = self;
    struct counting *c = t->shared;
    for (;;) {
        pthread_mutex_lock(&c->lock);
        t->block.bytes = 0;
        struct error *e = c->failure ? NULL : source_read(c->source, &t->block);
        if (e)
            c->failure = e;
        pthread_mutex_unlock(&c->lock);
        if (e || t->block.bytes == 0)
            return NULL;
        if ((e = count_block(t))) {
            pthread_mutex_lock(&c->lock);
            if (c->failure)
                error_destroy(e);
            else
                c->failure = e;
            pthread_mutex_unlock(&c->lock);
            return NULL;
        }
    }
}

static struct error *count_with_threads(struct counting *c, struct counting_thread *threads, int n)
{
    struct error *e = NULL;
    for (int i = 0; i < n && !e; i++) {
        threads[i].shared = c;
        e = word_counter_create(&threads[i].counter, &c->options->wordpiece);
    }
    /* This thread is the first of them; a thread that cannot start leaves its work to the others. */
    for (int i = 1; i < n && !e; i++)
        threads[i].started = !pthread_create(&threads[i].thread, NULL, count_blocks, &threads[i]);
    if (!e)
        count_blocks(&threads[0]);
    for (int i = 0; i < n; i++) {
        if (threads[i].started)
            pthread_join(threads[i].thread, NULL);
        c->lines += threads[i].lines;
        c->kept += threads[i].kept;
        c->longest = threads[i].longest > c->longest ? threads[i].longest : c->longest;
        source_block_release(&threads[i].block);
        free(threads[i].line);
    }
    if (e)
        error_destroy(c->failure);
    else
        e = c->failure;
    if (!e && c->kept == 0)
        e = error_new(ERROR_INPUT, "none of the %lld lines has %lld bytes or more; the longest has "
                      "%lld; lower the minimum", (long long)c->lines,
                      (long long)c->options->min_bytes, (long long)c->longest);
    return e;
}

struct error *vocabulary_learn(const struct vocabulary_options *options, char **vocabulary,
                               size_t *bytes, struct wordpiece_learning *report)
{
    const int n = options->threads > 0 ? options->threads : 1;
    struct counting counting = {.options = options};
    struct counting_thread *threads = calloc((size_t)n, sizeof *threads);
    struct word_counter **counters = calloc((size_t)n, sizeof *counters);
    struct error *e = NULL;
    if (!threads || !counters) {
        e = error_new(ERROR_MEMORY, "no memory for %d threads", n);
        goto done;
    }
    pthread_mutex_init(&counting.lock, NULL);
    e = source_open(&counting.source, &(struct source_options){
        .inputs = options->inputs, .input_count = options->input_count, .field = options->field,
        .name = "vocabulary", .block_bytes = SOURCE_BLOCK_BYTES});
    if (!e)
        e = count_with_threads(&counting, threads, n);
    for (int i = 0; i < n; i++)
        counters[i] = threads[i].counter;
    if (!e)
        e = wordpiece_learn(counters, n, options->size, options->reserved,
                            options->reserved_count, vocabulary, bytes, report);
    source_close(counting.source);
    pthread_mutex_destroy(&counting.lock);
    for (int i = 0; i < n; i++)
        word_counter_destroy(counters[i]);
done:
    free(threads);
    free(counters);
    return e ? error_context(e, "learning the vocabulary") : NULL;
}
