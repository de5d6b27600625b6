/* shard_assembly.c - the pieces' tokens, one sequence, into shards of equal size. */
#include "data/tokenize.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AT_ONCE = 1 << 19 };    /* tokens copied, and documents looked at */

/* A stretch of a piece that belongs to the shard. */
struct stretch {
    int piece;
    int64_t first, count;             /* tokens, counted in the piece */
    int64_t documents_first, documents;    /* those that begin in it */
    int64_t place;                    /* of its first token in the shard */
};

struct assembly {
    const struct shard_plan *plan;
    const struct tokenize_options *options;
    int width;
    int64_t first, count;             /* tokens of the whole part that are the shard's */
    struct stretch *stretches;
    int stretch_count;
    int64_t documents;
    char *buffer;                     /* AT_ONCE of 8 bytes */
};

struct shard_plan shard_plan_of(const struct piece_summary *summaries, int pieces, enum part part,
                                int64_t shard_tokens)
{
    struct shard_plan plan = {
        .summaries = summaries, .pieces = pieces, .part = part, .shard_tokens = shard_tokens,
    };
    for (int i = 0; i < pieces; i++)
        plan.tokens += summaries[i].parts[part].tokens;
    plan.shards = (plan.tokens + shard_tokens - 1) / shard_tokens;
    return plan;
}

void shard_file_name(char *out, size_t bytes, enum part part, int64_t shard)
{
    snprintf(out, bytes, "%s-%05lld.h5", part == PART_TRAINING ? "train" : "validation",
             (long long)shard);
}

/* How many of a piece's documents begin before a token of it: a search by halves in its file. */
static struct error *documents_before(const struct piece_reader *reader, int64_t documents,
                                      int64_t token, int64_t *before)
{
    int64_t low = 0, high = documents;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        int64_t start;
        TRY(piece_read_starts(reader, middle, 1, &start));
        if (start < token)
            low = middle + 1;
        else
            high = middle;
    }
    *before = low;
    return NULL;
}

static struct error *find_documents(const struct assembly *a, struct stretch *s)
{
    struct piece_reader reader;
    const int64_t all = a->plan->summaries[s->piece].parts[a->plan->part].documents;
    int64_t end = 0;
    TRY(piece_reader_open(&reader, a->options->folder, s->piece, a->plan->part));
    struct error *e = documents_before(&reader, all, s->first, &s->documents_first);
    if (!e)
        e = documents_before(&reader, all, s->first + s->count, &end);
    piece_reader_close(&reader);
    s->documents = end - s->documents_first;
    return e;
}

static struct error *find_stretches(struct assembly *a)
{
    int64_t begin = 0;    /* of the piece in the part */
    a->stretches = calloc((size_t)a->plan->pieces, sizeof *a->stretches);
    a->buffer = malloc((size_t)AT_ONCE * 8);
    if (!a->stretches || !a->buffer)
        return error_new(ERROR_MEMORY, "no memory to put a shard together");
    for (int i = 0; i < a->plan->pieces; i++) {
        const int64_t tokens = a->plan->summaries[i].parts[a->plan->part].tokens;
        const int64_t from = begin > a->first ? begin : a->first;
        const int64_t end = begin + tokens < a->first + a->count ? begin + tokens
                                                                 : a->first + a->count;
        if (from < end) {
            struct stretch *const s = &a->stretches[a->stretch_count++];
            *s = (struct stretch){
                .piece = i, .first = from - begin, .count = end - from, .place = from - a->first,
            };
            TRY(find_documents(a, s));
            a->documents += s->documents;
        }
        begin += tokens;
    }
    return NULL;
}

static struct error *copy_tokens(const struct assembly *a, const struct stretch *s,
                                 const struct piece_reader *reader, struct shard_writer *writer,
                                 int64_t *largest)
{
    for (int64_t done = 0; done < s->count;) {
        const int64_t n = s->count - done < AT_ONCE ? s->count - done : AT_ONCE;
        TRY(piece_read_tokens(reader, a->width, s->first + done, n, a->buffer));
        const int64_t most = largest_token(a->buffer, a->width, n);
        *largest = most > *largest ? most : *largest;
        TRY(shard_write_tokens(writer, a->buffer, n));
        done += n;
    }
    return NULL;
}

static struct error *copy_documents(const struct assembly *a, const struct stretch *s,
                                    const struct piece_reader *reader, struct shard_writer *writer)
{
    int64_t *const places = (void *)a->buffer;
    for (int64_t done = 0; done < s->documents;) {
        const int64_t n = s->documents - done < AT_ONCE ? s->documents - done : AT_ONCE;
        TRY(piece_read_starts(reader, s->documents_first + done, n, places));
        for (int64_t i = 0; i < n; i++)
            places[i] += s->place - s->first;
        TRY(shard_write_documents(writer, places, n));
        done += n;
    }
    return NULL;
}

static struct error *copy_stretches(const struct assembly *a, struct shard_writer *writer,
                                    int64_t *largest)
{
    struct error *e = NULL;
    for (int documents = 0; documents < 2; documents++)
        for (int i = 0; i < a->stretch_count && !e; i++) {
            const struct stretch *const s = &a->stretches[i];
            struct piece_reader reader;
            TRY(piece_reader_open(&reader, a->options->folder, s->piece, a->plan->part));
            e = documents ? copy_documents(a, s, &reader, writer)
                          : copy_tokens(a, s, &reader, writer, largest);
            piece_reader_close(&reader);
        }
    return e;
}

static struct shard_facts facts_of(const struct assembly *a, int64_t shard, uint64_t key)
{
    const struct tokenizer *const t = a->options->tokenizer;
    struct shard_facts facts = {
        .width = a->width, .tokens = a->count, .documents = a->documents, .first_token = a->first,
        .shard = shard, .shards = a->plan->shards, .vocabulary_size = tokenizer_size(t),
        .end_token = tokenizer_end_id(t), .start_token = -1,
        .tokenizer = tokenizer_fingerprint(t), .made_from = key,
    };
    if (facts.end_token < 0)
        facts.start_token = tokenizer_start_id(t);
    snprintf(facts.tokenizer_kind, sizeof facts.tokenizer_kind, "%s",
             tokenizer_kind_name(tokenizer_definition(t)->kind));
    snprintf(facts.part, sizeof facts.part, "%s",
             a->plan->part == PART_TRAINING ? "train" : "validation");
    return facts;
}

/* Whether the shard is there from before, made of the same. */
static bool is_there(const char *path, const struct shard_facts *facts)
{
    struct shard *shard;
    if (access(path, F_OK))
        return false;
    struct error *e = shard_open(&shard, path);
    error_destroy(e);
    if (e)
        return false;
    const struct shard_facts *const found = shard_facts(shard);
    const bool same = found->made_from == facts->made_from && found->shard == facts->shard &&
                      found->shards == facts->shards && found->tokens == facts->tokens &&
                      found->documents == facts->documents;
    shard_close(shard);
    return same;
}

static struct error *write_shard(struct assembly *a, int64_t shard, uint64_t key,
                                 const char *output)
{
    char name[64], *path;
    struct shard_writer *writer;
    int64_t largest = 0;
    TRY(find_stretches(a));
    const struct shard_facts facts = facts_of(a, shard, key);
    shard_file_name(name, sizeof name, a->plan->part, shard);
    if (asprintf(&path, "%s/%s", output, name) < 0)
        return error_new(ERROR_MEMORY, "no memory for the name of a shard");
    struct error *e = NULL;
    if (!is_there(path, &facts) && !(e = shard_create(&writer, path, &facts))) {
        if ((e = copy_stretches(a, writer, &largest)))
            shard_discard(writer);
        else
            e = shard_finish(writer, largest);
    }
    free(path);
    return e;
}

struct error *shard_assemble(const struct shard_plan *plan, int64_t shard,
                             const struct tokenize_options *options, uint64_t key,
                             const char *output)
{
    struct assembly a = {
        .plan = plan, .options = options, .width = tokenize_width(options->tokenizer),
        .first = shard * plan->shard_tokens,
    };
    a.count = plan->tokens - a.first < plan->shard_tokens ? plan->tokens - a.first
                                                          : plan->shard_tokens;
    struct error *e = write_shard(&a, shard, key, output);
    free(a.stretches);
    free(a.buffer);
    return e;
}
