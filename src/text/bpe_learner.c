/*
 * bpe_learner.c - counts pairs once, then keeps the counts true with every merge.
 *
 * A heap holds pairs by the count they had when they were put in; one whose count has fallen goes
 * back with the new one. A pair comes with the words it was found in, so a merge looks at those
 * alone.
 */
#include "text/bpe_learner.h"

#include "text/bpe_vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_COUNT = 2 };

/* Room for one element more in an array that grows by doubling. */
static struct error *grow(void *array, int32_t count, int32_t *capacity, size_t size)
{
    if (count < *capacity)
        return NULL;
    const int32_t larger = *capacity > 0 ? 2 * *capacity : 4;
    void **const a = array;
    void *more = realloc(*a, (size_t)larger * size);
    if (!more)
        return error_new(ERROR_MEMORY, "no memory to learn a vocabulary (%zu bytes)",
                         (size_t)larger * size);
    *a = more;
    *capacity = larger;
    return NULL;
}

struct word {
    int32_t *ids;
    int32_t length;
    int64_t count;
};

/* Words a pair was found in. */
struct places {
    int32_t *words;
    int32_t count, capacity;
};

struct pair {
    uint32_t left, right;
    int64_t count;
    struct places found;    /* since it was last put into the heap */
};

struct candidate {
    int64_t count;          /* when it was put in */
    int32_t pair;
    struct places places;
};

struct learner {
    struct tally all;               /* the counters' pieces, added up */
    struct word *words;
    int32_t n_words;
    int32_t *ids;                   /* of all words */
    struct string_table *entries;   /* by id */

    struct pair *pairs;
    int32_t n_pairs, pair_capacity;
    int32_t *slots;                 /* pair + 1 by hash; 0: free */
    uint32_t slot_mask;

    struct candidate *heap;
    int32_t heap_count, heap_capacity;
    int32_t *grown;                 /* pairs found in new places by the merge at hand */
    int32_t n_grown, grown_capacity;

    int32_t (*merges)[2];
    int32_t n_merges, merge_capacity;
};

/* GROW(array, count, capacity): room for element `count`. */
#define GROW(array, count, capacity)                                                               \
    do {                                                                                           \
        void *grow_array_ = (array);                                                               \
        struct error *grow_error_ = grow(&grow_array_, count, capacity, sizeof *(array));          \
        (array) = grow_array_;                                                                     \
        TRY(grow_error_);                                                                          \
    } while (0)

static struct error *grow_slots(struct learner *l)
{
    const uint32_t n = l->slots ? 2 * (l->slot_mask + 1) : 1 << 16;
    int32_t *slots = calloc(n, sizeof *slots);
    if (!slots)
        return error_new(ERROR_MEMORY, "no memory for %d pairs", l->n_pairs);
    for (int32_t i = 0; i < l->n_pairs; i++) {
        uint32_t s = bpe_pair_hash(l->pairs[i].left, l->pairs[i].right) & (n - 1);
        while (slots[s])
            s = (s + 1) & (n - 1);
        slots[s] = i + 1;
    }
    free(l->slots);
    l->slots = slots;
    l->slot_mask = n - 1;
    return NULL;
}

static struct error *find_pair(struct learner *l, int32_t left, int32_t right, int32_t *pair)
{
    if (!l->slots || 2 * (uint32_t)l->n_pairs > l->slot_mask)
        TRY(grow_slots(l));
    uint32_t s = bpe_pair_hash((uint32_t)left, (uint32_t)right) & l->slot_mask;
    for (; l->slots[s]; s = (s + 1) & l->slot_mask) {
        const struct pair *p = &l->pairs[l->slots[s] - 1];
        if (p->left == (uint32_t)left && p->right == (uint32_t)right) {
            *pair = l->slots[s] - 1;
            return NULL;
        }
    }
    GROW(l->pairs, l->n_pairs, &l->pair_capacity);
    *pair = l->n_pairs++;
    l->pairs[*pair] = (struct pair){.left = (uint32_t)left, .right = (uint32_t)right};
    l->slots[s] = l->n_pairs;
    return NULL;
}

/* A pair has appeared in a word, or gone from it. */
static struct error *change_pair(struct learner *l, int32_t left, int32_t right, int64_t count,
                                 int32_t word)
{
    int32_t pair;
    TRY(find_pair(l, left, right, &pair));
    struct pair *p = &l->pairs[pair];
    p->count += count;
    if (count < 0)
        return NULL;
    struct places *f = &p->found;
    if (f->count == 0) {
        GROW(l->grown, l->n_grown, &l->grown_capacity);
        l->grown[l->n_grown++] = pair;
    }
    if (f->count > 0 && f->words[f->count - 1] == word)
        return NULL;
    GROW(f->words, f->count, &f->capacity);
    f->words[f->count++] = word;
    return NULL;
}

/* Whether candidate a is to be merged before b. */
static bool is_before(const struct learner *l, const struct candidate *a,
                      const struct candidate *b)
{
    const struct pair *p = &l->pairs[a->pair], *q = &l->pairs[b->pair];
    if (a->count != b->count)
        return a->count > b->count;
    return p->left != q->left ? p->left < q->left : p->right < q->right;
}

static struct error *heap_push(struct learner *l, struct candidate candidate)
{
    GROW(l->heap, l->heap_count, &l->heap_capacity);
    int32_t at = l->heap_count++;
    while (at > 0 && is_before(l, &candidate, &l->heap[(at - 1) / 2])) {
        l->heap[at] = l->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    l->heap[at] = candidate;
    return NULL;
}

static struct candidate heap_pop(struct learner *l)
{
    const struct candidate first = l->heap[0], last = l->heap[--l->heap_count];
    int32_t at = 0;
    for (int32_t child; (child = 2 * at + 1) < l->heap_count; at = child) {
        if (child + 1 < l->heap_count && is_before(l, &l->heap[child + 1], &l->heap[child]))
            child++;
        if (!is_before(l, &l->heap[child], &last))
            break;
        l->heap[at] = l->heap[child];
    }
    l->heap[at] = last;
    return first;
}

/* Pairs found in new places become candidates with these. */
static struct error *push_grown(struct learner *l)
{
    for (int32_t i = 0; i < l->n_grown; i++) {
        struct pair *p = &l->pairs[l->grown[i]];
        const struct places found = p->found;
        p->found = (struct places){0};
        if (p->count <= 0) {
            free(found.words);
            continue;
        }
        struct error *e = heap_push(l, (struct candidate){p->count, l->grown[i], found});
        if (e) {
            free(found.words);
            return e;
        }
    }
    l->n_grown = 0;
    return NULL;
}

static struct error *merge_word(struct learner *l, int32_t word, int32_t left, int32_t right,
                                int32_t id)
{
    struct word *w = &l->words[word];
    int32_t *s = w->ids, kept = 0;
    for (int32_t i = 0; i < w->length;) {
        if (i + 1 == w->length || s[i] != left || s[i + 1] != right) {
            s[kept++] = s[i++];
            continue;
        }
        if (kept > 0) {
            TRY(change_pair(l, s[kept - 1], left, -w->count, word));
            TRY(change_pair(l, s[kept - 1], id, w->count, word));
        }
        if (i + 2 < w->length) {
            TRY(change_pair(l, right, s[i + 2], -w->count, word));
            TRY(change_pair(l, id, s[i + 2], w->count, word));
        }
        s[kept++] = id;
        i += 2;
    }
    w->length = kept;
    return NULL;
}

/* The id of the entry that two entries make together. */
static struct error *join_entries(struct learner *l, int32_t left, int32_t right, int32_t *id)
{
    size_t left_bytes, right_bytes;
    const char *a = string_table_get(l->entries, left, &left_bytes);
    const char *b = string_table_get(l->entries, right, &right_bytes);
    char *both = malloc(left_bytes + right_bytes);
    if (!both)
        return error_new(ERROR_MEMORY, "no memory for an entry of %zu bytes",
                         left_bytes + right_bytes);
    memcpy(both, a, left_bytes);
    memcpy(both + left_bytes, b, right_bytes);
    struct error *e = string_table_add(l->entries, both, left_bytes + right_bytes, id);
    free(both);
    return e;
}

static struct error *merge_candidate(struct learner *l, const struct candidate *c)
{
    const int32_t left = (int32_t)l->pairs[c->pair].left, right = (int32_t)l->pairs[c->pair].right;
    int32_t id;
    TRY(join_entries(l, left, right, &id));
    GROW(l->merges, l->n_merges, &l->merge_capacity);
    l->merges[l->n_merges][0] = left;
    l->merges[l->n_merges++][1] = right;
    for (int32_t i = 0; i < c->places.count; i++)
        TRY(merge_word(l, c->places.words[i], left, right, id));
    return push_grown(l);
}

static struct error *learn_merges(struct learner *l, int size)
{
    while (string_table_count(l->entries) < size && l->heap_count > 0) {
        struct candidate c = heap_pop(l);
        struct error *e = NULL;
        if (c.count != l->pairs[c.pair].count) {
            c.count = l->pairs[c.pair].count;
            e = heap_push(l, c);
            if (e)
                free(c.places.words);
            TRY(e);
            continue;
        }
        const bool enough = c.count >= LEAST_COUNT;
        if (enough)
            e = merge_candidate(l, &c);
        free(c.places.words);
        TRY(e);
        if (!enough)
            break;
    }
    return NULL;
}

/* ---- what goes in and what comes out ---- */

static struct error *add_up(struct learner *l, struct piece_counter *const *counters, int n,
                            struct bpe_learning *report)
{
    for (int c = 0; c < n; c++) {
        const struct tally *pieces = piece_counter_pieces(counters[c]);
        for (int32_t i = 0; i < tally_count(pieces); i++) {
            size_t bytes;
            const char *piece = string_table_get(pieces->strings, i, &bytes);
            TRY(tally_add(&l->all, piece, bytes, pieces->counts[i]));
            report->pieces += pieces->counts[i];
        }
    }
    report->distinct_pieces = tally_count(&l->all);
    return NULL;
}

/* The end token and the bytes in the order of their characters; `ids` of the bytes. */
static struct error *add_alphabet(struct learner *l, int32_t ids[256])
{
    static const char end[] = "<|endoftext|>";
    char characters[256][3];
    int32_t id;
    TRY(string_table_create(&l->entries));
    TRY(string_table_add(l->entries, end, sizeof end - 1, &id));
    bpe_byte_characters(characters);
    for (int second = 0; second < 2; second++)    /* those that stand for themselves are first */
        for (int b = 0; b < 256; b++) {
            const unsigned char *c = (const unsigned char *)characters[b];
            const bool is_second = c[0] >= 0xC4;
            const char byte = (char)b;
            if (is_second == second)
                TRY(string_table_add(l->entries, &byte, 1, &ids[b]));
        }
    return NULL;
}

static struct error *split_words(struct learner *l, const int32_t ids[256])
{
    const int32_t n = l->n_words = tally_count(&l->all);
    size_t total = 0, bytes;
    for (int32_t i = 0; i < n; i++) {
        string_table_get(l->all.strings, i, &bytes);
        total += bytes;
    }
    l->words = calloc((size_t)n + 1, sizeof *l->words);
    l->ids = malloc((total + 1) * sizeof *l->ids);
    if (!l->words || !l->ids || total > INT32_MAX)
        return error_new(ERROR_MEMORY, "no memory for %d different pieces of %zu bytes", n, total);
    int32_t *at = l->ids;
    for (int32_t i = 0; i < n; i++) {
        const char *piece = string_table_get(l->all.strings, i, &bytes);
        l->words[i] = (struct word){at, (int32_t)bytes, l->all.counts[i]};
        for (size_t b = 0; b < bytes; b++)
            *at++ = ids[(unsigned char)piece[b]];
        for (size_t b = 0; b + 1 < bytes; b++)
            TRY(change_pair(l, l->words[i].ids[b], l->words[i].ids[b + 1], l->words[i].count, i));
    }
    return push_grown(l);
}

static void write_entry(FILE *out, const struct learner *l, int32_t id, char characters[256][3],
                        bool json)
{
    size_t bytes;
    const char *entry = string_table_get(l->entries, id, &bytes);
    for (size_t i = 0; i < bytes; i++) {
        const char *c = characters[(unsigned char)entry[i]];
        fprintf(out, "%s%s", json && (*c == '"' || *c == '\\') ? "\\" : "", c);
    }
}

static struct error *write_files(const struct learner *l, bool end_token_last,
                                 struct bpe_files *files)
{
    char characters[256][3];
    bpe_byte_characters(characters);
    FILE *vocabulary = open_memstream(&files->vocabulary, &files->vocabulary_bytes);
    FILE *merges = open_memstream(&files->merges, &files->merges_bytes);
    bool good = vocabulary && merges;
    const int32_t n = string_table_count(l->entries);
    for (int32_t id = 0; good && id < n; id++) {
        fputs(id ? ",\"" : "{\"", vocabulary);
        write_entry(vocabulary, l, end_token_last ? (id + 1) % n : id, characters, true);
        fprintf(vocabulary, "\":%d", id);
    }
    if (good)
        fputs("#version: 0.2\n", merges);
    for (int32_t i = 0; good && i < l->n_merges; i++) {
        write_entry(merges, l, l->merges[i][0], characters, false);
        fputc(' ', merges);
        write_entry(merges, l, l->merges[i][1], characters, false);
        fputc('\n', merges);
    }
    if (vocabulary) {
        fputc('}', vocabulary);
        good &= !fclose(vocabulary);
    }
    if (merges)
        good &= !fclose(merges);
    if (good)
        return NULL;
    free(files->vocabulary);
    free(files->merges);
    *files = (struct bpe_files){0};
    return error_new(ERROR_MEMORY, "no memory for a vocabulary of %d entries",
                     string_table_count(l->entries));
}

static void release(struct learner *l)
{
    for (int32_t i = 0; i < l->n_pairs; i++)
        free(l->pairs[i].found.words);
    for (int32_t i = 0; i < l->heap_count; i++)
        free(l->heap[i].places.words);
    tally_release(&l->all);
    string_table_destroy(l->entries);
    free(l->words);
    free(l->ids);
    free(l->pairs);
    free(l->slots);
    free(l->heap);
    free(l->grown);
    free(l->merges);
}

struct error *bpe_learn(struct piece_counter *const *counters, int counter_count, int size,
                        bool end_token_last, struct bpe_files *files, struct bpe_learning *report)
{
    struct learner l = {0};
    struct bpe_learning own = {0};
    int32_t ids[256];
    *files = (struct bpe_files){0};
    struct error *e = size < 257 ? error_new(ERROR_USAGE, "a byte-level BPE vocabulary of %d "
                                             "entries is too small: 256 bytes and the end "
                                             "token are 257",
                                             size)
                                 : add_up(&l, counters, counter_count, &own);
    if (!e)
        e = add_alphabet(&l, ids);
    if (!e)
        e = split_words(&l, ids);
    if (!e)
        e = learn_merges(&l, size);
    if (!e)
        e = write_files(&l, end_token_last, files);
    if (!e && report) {
        own.entries = string_table_count(l.entries);
        *report = own;
    }
    release(&l);
    return e;
}
