/*
 * tokenize.c - one piece of text into tokens, with several threads.
 *
 * Threads take blocks of records in turn from the source, encode them on their own, and hand over
 * in the order of the blocks: who is early waits. So memory is a block and its tokens a thread, and
 * what is written does not depend on their number.
 */
#include "data/tokenize.h"

#include "data/source.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <xxhash.h>

/* Documents of one part out of one block. */
struct pile {
    char *tokens;           /* as wide as in files */
    int64_t token_count, token_capacity;
    int64_t *starts;
    int64_t document_count, document_capacity;
};

struct shared {
    const struct tokenize_options *options;
    const struct piece *piece;
    int width;
    int32_t start_token, end_token;    /* of documents; -1: none */
    uint64_t validation_below;         /* hashes of the validation part */

    pthread_mutex_t reading;
    struct source *source;
    struct error *read_failure;        /* the first failure of any kind ends all */

    pthread_mutex_t writing;
    pthread_cond_t written;
    struct piece_writer *writer;
    int64_t turn;                      /* sequence of the block to write next */
    atomic_bool stop;
    struct error *failure;
    int64_t text_bytes;
};

struct worker {
    struct shared *shared;
    struct encoder *encoder;
    struct source_block block;
    int32_t *ids;
    size_t id_capacity;
    char *line;                        /* one line without its CRs */
    size_t line_capacity;
    struct pile piles[PARTS];
    pthread_t thread;
    bool started;
};

int tokenize_width(const struct tokenizer *tokenizer)
{
    return shard_width(tokenizer_size(tokenizer));
}

uint64_t tokenize_key(const struct tokenize_options *options, int64_t shard_tokens, uint64_t inputs)
{
    const char *const field = options->field ? options->field : "text";
    uint64_t share;
    memcpy(&share, &options->validation_share, sizeof share);
    const uint64_t facts[] = {
        tokenizer_fingerprint(options->tokenizer), (uint64_t)options->min_bytes,
        options->whole_files, share, (uint64_t)shard_tokens,
        XXH3_64bits(field, strlen(field)), inputs,
    };
    return XXH3_64bits(facts, sizeof facts);
}

/* ---- one document ---- */

static struct error *reserve(void **buffer, size_t bytes)
{
    void *const grown = realloc(*buffer, bytes);
    if (!grown)
        return error_new(ERROR_MEMORY, "no memory for %zu bytes of tokens", bytes);
    *buffer = grown;
    return NULL;
}

static struct error *encode(struct worker *w, const char *text, size_t bytes, int *count)
{
    const size_t most = bytes + 1;    /* at most a token a byte */
    if (most > INT32_MAX)
        return error_new(ERROR_INPUT, "a document of %zu bytes; at most 2 GB can be one", bytes);
    if (most > w->id_capacity) {
        TRY(reserve((void **)&w->ids, most * sizeof *w->ids));
        w->id_capacity = most;
    }
    return encoder_encode(w->encoder, text, bytes, w->ids, (int)most, count);
}

static void put_token(struct pile *pile, int width, int32_t token)
{
    const uint32_t wide = (uint32_t)token;
    const uint16_t narrow = (uint16_t)token;
    memcpy(pile->tokens + pile->token_count * width, width == 2 ? (const void *)&narrow : &wide,
           (size_t)width);
    pile->token_count++;
}

static void put_tokens(struct pile *pile, int width, const int32_t *ids, int count)
{
    if (width == 2) {
        uint16_t *const to = (uint16_t *)(void *)pile->tokens + pile->token_count;
        for (int i = 0; i < count; i++)
            to[i] = (uint16_t)ids[i];
    } else {
        memcpy(pile->tokens + pile->token_count * 4, ids, (size_t)count * 4);
    }
    pile->token_count += count;
}

static struct error *add_document(struct worker *w, const char *text, size_t bytes)
{
    const struct shared *const s = w->shared;
    int count;
    if ((int64_t)bytes < s->options->min_bytes)
        return NULL;
    TRY(encode(w, text, bytes, &count));
    const bool validation = s->validation_below && XXH3_64bits(text, bytes) < s->validation_below;
    struct pile *const pile = &w->piles[validation ? PART_VALIDATION : PART_TRAINING];

    const int64_t need = pile->token_count + count + 2;
    if (need > pile->token_capacity) {
        const int64_t capacity = need + need / 2;
        TRY(reserve((void **)&pile->tokens, (size_t)capacity * (size_t)s->width));
        pile->token_capacity = capacity;
    }
    if (pile->document_count == pile->document_capacity) {
        const int64_t capacity = 2 * pile->document_capacity + 1024;
        TRY(reserve((void **)&pile->starts, (size_t)capacity * sizeof *pile->starts));
        pile->document_capacity = capacity;
    }
    pile->starts[pile->document_count++] = pile->token_count;
    if (s->end_token < 0)
        put_token(pile, s->width, s->start_token);
    put_tokens(pile, s->width, w->ids, count);
    if (s->end_token >= 0)
        put_token(pile, s->width, s->end_token);
    return NULL;
}

/* The line without CR: itself where it has none. */
static struct error *strip_returns(struct worker *w, const char **line, size_t *bytes)
{
    size_t kept = 0;
    if (!memchr(*line, '\r', *bytes))
        return NULL;
    if (*bytes > w->line_capacity) {
        TRY(reserve((void **)&w->line, *bytes));
        w->line_capacity = *bytes;
    }
    for (size_t i = 0; i < *bytes; i++)
        if ((*line)[i] != '\r')
            w->line[kept++] = (*line)[i];
    *line = w->line;
    *bytes = kept;
    return NULL;
}

static struct error *add_block(struct worker *w)
{
    const char *at = w->block.text, *const end = at + w->block.bytes;
    for (int part = 0; part < PARTS; part++)
        w->piles[part].token_count = w->piles[part].document_count = 0;
    while (at < end) {
        const char *const stop = memchr(at, w->block.separator, (size_t)(end - at));
        const char *text = at;
        size_t bytes = (size_t)((stop ? stop : end) - at);
        if (w->block.separator == '\n')
            TRY(strip_returns(w, &text, &bytes));
        TRY(add_document(w, text, bytes));
        at = stop ? stop + 1 : end;
    }
    return NULL;
}

/* ---- the threads ---- */

/* The next block; false at the end, or when all shall stop. */
static bool take_block(struct worker *w)
{
    struct shared *const s = w->shared;
    pthread_mutex_lock(&s->reading);
    w->block.bytes = 0;
    if (!s->read_failure && !s->stop)
        s->read_failure = source_read(s->source, &w->block);
    const bool more = !s->read_failure && w->block.bytes;
    pthread_mutex_unlock(&s->reading);
    return more;
}

/* Writes what the block became when its turn comes. */
static struct error *hand_over(struct worker *w)
{
    struct shared *const s = w->shared;
    while (s->turn != w->block.sequence && !s->stop)
        pthread_cond_wait(&s->written, &s->writing);
    if (s->stop)
        return NULL;
    for (int part = 0; part < PARTS; part++) {
        const struct pile *const p = &w->piles[part];
        if (p->document_count)
            TRY(piece_writer_add(s->writer, (enum part)part, p->tokens, p->token_count, p->starts,
                                 p->document_count));
    }
    s->text_bytes += (int64_t)w->block.bytes;
    if (s->options->text_bytes)
        atomic_fetch_add(s->options->text_bytes, (long long)w->block.bytes);
    s->turn++;
    pthread_cond_broadcast(&s->written);
    return NULL;
}

static void *run_worker(void *self)
{
    struct worker *const w = self;
    struct shared *const s = w->shared;
    while (take_block(w)) {
        struct error *e = add_block(w);
        pthread_mutex_lock(&s->writing);
        if (!e)
            e = hand_over(w);
        if (e) {
            if (s->failure)
                error_destroy(e);
            else
                s->failure = e;
            s->stop = true;
            pthread_cond_broadcast(&s->written);
        }
        pthread_mutex_unlock(&s->writing);
    }
    return NULL;
}

/* One of two errors, if there is any; the other is ended. */
static struct error *first_of(struct error *a, struct error *b)
{
    if (!a)
        return b;
    error_destroy(b);
    return a;
}

static struct error *run_workers(struct shared *s, struct worker *workers, int count)
{
    struct error *e = NULL;
    for (int i = 0; i < count && !e; i++) {
        workers[i].shared = s;
        e = encoder_create(&workers[i].encoder, s->options->tokenizer);
    }
    /* This thread is the first; one that cannot start leaves its work to the others. */
    for (int i = 1; i < count && !e; i++)
        workers[i].started = !pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]);
    if (!e)
        run_worker(&workers[0]);
    for (int i = 0; i < count; i++) {
        struct worker *const w = &workers[i];
        if (w->started)
            pthread_join(w->thread, NULL);
        encoder_destroy(w->encoder);
        source_block_release(&w->block);
        free(w->ids);
        free(w->line);
        for (int part = 0; part < PARTS; part++) {
            free(w->piles[part].tokens);
            free(w->piles[part].starts);
        }
    }
    return first_of(e, first_of(s->failure, s->read_failure));
}

/* ---- the piece ---- */

/* An input that changed since it was planned would make shards of two states of it. */
static struct error *check_unchanged(const struct inputs *inputs, const struct piece *piece)
{
    for (int i = piece->file; i < piece->file + piece->files; i++) {
        const struct input *const then = &inputs->files[i];
        struct stat now;
        if (stat(then->path, &now))
            return error_errno(ERROR_IO, "cannot read %s", then->path);
        if (now.st_size != then->bytes || file_modified_ns(&now) != then->modified_ns)
            return error_new(ERROR_INPUT, "%s changed while it was tokenized (%lld bytes, before "
                             "%lld%s); when nobody writes to it any more, remove what is in "
                             "--output and start the same command again", then->path,
                             (long long)now.st_size, (long long)then->bytes,
                             now.st_size == then->bytes ? ", but another time of change" : "");
    }
    return NULL;
}

static struct error *open_source(struct shared *s)
{
    const struct piece *const piece = s->piece;
    const char **const paths = calloc((size_t)piece->files, sizeof *paths);
    if (!paths)
        return error_new(ERROR_MEMORY, "no memory for the names of %d files", piece->files);
    for (int i = 0; i < piece->files; i++)
        paths[i] = s->options->inputs->files[piece->file + i].path;
    struct error *e = source_open(&s->source, &(struct source_options){
        .inputs = paths, .input_count = piece->files, .field = s->options->field, .name = "text",
        .block_bytes = SOURCE_BLOCK_BYTES, .whole_files = s->options->whole_files,
        .from = piece->from, .to = piece->to});
    free(paths);
    return e;
}

static struct error *find_document_tokens(struct shared *s)
{
    s->end_token = tokenizer_end_id(s->options->tokenizer);
    s->start_token = tokenizer_start_id(s->options->tokenizer);
    if (s->end_token < 0 && s->start_token < 0)
        return error_new(ERROR_INPUT, "the vocabulary has no token to set documents apart: neither "
                         "<|endoftext|> nor [BOS]");
    return NULL;
}

struct error *tokenize_piece(const struct tokenize_options *options, const struct piece *piece,
                             int number, struct piece_summary *summary)
{
    struct shared s = {
        .options = options, .piece = piece, .width = tokenize_width(options->tokenizer),
        .validation_below = options->validation_share >= 1
                                ? UINT64_MAX
                                : (uint64_t)(options->validation_share * 0x1p63) * 2,
    };
    TRY(find_document_tokens(&s));
    const int threads = options->threads > 0 ? options->threads : 1;
    struct worker *workers = calloc((size_t)threads, sizeof *workers);
    if (!workers)
        return error_new(ERROR_MEMORY, "no memory for %d threads", threads);
    pthread_mutex_init(&s.reading, NULL);
    pthread_mutex_init(&s.writing, NULL);
    pthread_cond_init(&s.written, NULL);
    struct error *e;
    if (!(e = open_source(&s)) &&
        !(e = piece_writer_open(&s.writer, options->folder, number, s.width)) &&
        !(e = run_workers(&s, workers, threads)))
        e = check_unchanged(options->inputs, piece);
    if (!e) {
        e = piece_writer_finish(s.writer, s.text_bytes, summary);
        s.writer = NULL;
    }
    piece_writer_discard(s.writer);
    source_close(s.source);
    pthread_cond_destroy(&s.written);
    pthread_mutex_destroy(&s.writing);
    pthread_mutex_destroy(&s.reading);
    free(workers);
    return e;
}
