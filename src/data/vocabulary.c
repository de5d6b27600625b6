/*
 * vocabulary.c - threads take blocks of lines in turn, each counts the words of its own.
 *
 * WordPiece counts line by line. BPE, whose pieces hold line feeds, counts whole files as one text:
 * of a block what no piece crosses, and the rest in front of the next block.
 */
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
    char *held;                   /* bpe: the end of the block before, in the same file */
    size_t held_bytes, held_capacity;
    int held_file;
};

struct counting_thread {
    struct counting *shared;
    struct word_counter *counter;      /* wordpiece */
    struct piece_counter *pieces;      /* bpe */
    struct source_block block;
    size_t whole_bytes;           /* bpe: of the block, what is counted now */
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

static struct error *reserve(char **text, size_t *capacity, size_t bytes)
{
    if (bytes <= *capacity)
        return NULL;
    char *larger = realloc(*text, bytes);
    if (!larger)
        return error_new(ERROR_MEMORY, "no memory for a text of %zu bytes", bytes);
    *text = larger;
    *capacity = bytes;
    return NULL;
}

/* Whole files of text are counted as they stand; records and lines of a length one by one. */
static bool counts_whole_files(const struct counting_thread *t)
{
    return t->pieces && t->block.separator == '\n' && t->shared->options->min_bytes == 0;
}

/* Under the lock: puts what was held back before the block, and holds back its end. */
static struct error *hold_end_back(struct counting *c, struct counting_thread *t)
{
    struct source_block *b = &t->block;
    if (c->held_bytes > 0 && (b->bytes == 0 || b->file != c->held_file)) {
        TRY(piece_counter_add(t->pieces, c->held, c->held_bytes));
        c->held_bytes = 0;
    }
    t->whole_bytes = 0;
    if (b->bytes == 0)
        return NULL;
    TRY(reserve(&b->text, &b->capacity, b->bytes + c->held_bytes));
    memmove(b->text + c->held_bytes, b->text, b->bytes);
    if (c->held_bytes > 0)
        memcpy(b->text, c->held, c->held_bytes);
    b->bytes += c->held_bytes;
    t->whole_bytes = piece_counter_cut(t->pieces, b->text, b->bytes);
    c->held_bytes = b->bytes - t->whole_bytes;
    c->held_file = b->file;
    TRY(reserve(&c->held, &c->held_capacity, c->held_bytes));
    memcpy(c->held, b->text + t->whole_bytes, c->held_bytes);
    return NULL;
}

static struct error *count_block(struct counting_thread *t)
{
    if (counts_whole_files(t)) {
        t->kept++;
        return piece_counter_add(t->pieces, t->block.text, t->whole_bytes);
    }
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
            TRY(t->pieces ? piece_counter_add(t->pieces, line, bytes)
                          : word_counter_add(t->counter, line, bytes));
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
        if (!e && !c->failure && (counts_whole_files(t) || c->held_bytes > 0))
            e = hold_end_back(c, t);
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
        e = c->options->kind == TOKENIZER_BPE
                ? piece_counter_create(&threads[i].pieces)
                : word_counter_create(&threads[i].counter, &c->options->wordpiece);
    }
    /* This thread is the first of them; a thread that cannot start leaves its work to the
     * others. */
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

/* The counters of all threads, one array for each kind. */
static struct error *learn(struct counting_thread *threads, int n,
                           const struct vocabulary_options *o, struct vocabulary *out)
{
    struct word_counter **words = calloc((size_t)n, sizeof *words);
    struct piece_counter **pieces = calloc((size_t)n, sizeof *pieces);
    struct error *e = NULL;
    for (int i = 0; words && pieces && i < n; i++) {
        words[i] = threads[i].counter;
        pieces[i] = threads[i].pieces;
    }
    if (!words || !pieces) {
        e = error_new(ERROR_MEMORY, "no memory for %d threads", n);
    } else if (o->kind == TOKENIZER_BPE) {
        struct bpe_files files;
        struct bpe_learning report;
        if (!(e = bpe_learn(pieces, n, o->size, o->end_token_last, &files, &report)))
            *out = (struct vocabulary){files.vocabulary, files.vocabulary_bytes, files.merges,
                                       files.merges_bytes, report.pieces, report.distinct_pieces,
                                       report.entries};
    } else {
        struct wordpiece_learning report;
        if (!(e = wordpiece_learn(words, n, o->size, o->reserved, o->reserved_count, &out->text,
                                  &out->bytes, &report))) {
            out->words = report.words;
            out->distinct_words = report.distinct_words;
            out->entries = report.entries;
        }
    }
    free(words);
    free(pieces);
    return e;
}

struct error *vocabulary_learn(const struct vocabulary_options *options, struct vocabulary *out)
{
    const int n = options->threads > 0 ? options->threads : 1;
    struct counting counting = {.options = options};
    *out = (struct vocabulary){0};
    struct counting_thread *threads = calloc((size_t)n, sizeof *threads);
    if (!threads)
        return error_new(ERROR_MEMORY, "no memory for %d threads", n);
    pthread_mutex_init(&counting.lock, NULL);
    struct error *e = source_open(&counting.source, &(struct source_options){
        .inputs = options->inputs, .input_count = options->input_count, .field = options->field,
        .name = "vocabulary", .block_bytes = SOURCE_BLOCK_BYTES});
    if (!e)
        e = count_with_threads(&counting, threads, n);
    if (!e)
        e = learn(threads, n, options, out);
    source_close(counting.source);
    pthread_mutex_destroy(&counting.lock);
    free(counting.held);
    for (int i = 0; i < n; i++) {
        word_counter_destroy(threads[i].counter);
        piece_counter_destroy(threads[i].pieces);
    }
    free(threads);
    return e ? error_context(e, "learning the vocabulary") : NULL;
}
