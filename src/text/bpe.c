/*
 * bpe.c - the byte-level BPE tokenizer of GPT-2: added tokens, pieces, a cache of pieces, merges.
 *
 * Text repeats its words: an encoder keeps the ids of pieces it met in a table of fixed size, two
 * pieces a cache line. What is not there, or too long for it, is merged anew (bpe_merge.h).
 */
#include "text/added_tokens.h"
#include "text/bpe_merge.h"
#include "text/bpe_split.h"
#include "text/string_table.h"
#include "text/tokenizer_kind.h"

#include <stdlib.h>
#include <string.h>

static const char special[] = "<|endoftext|>";

enum {
    SPECIAL_BYTES = sizeof special - 1,
    CACHE_SETS = 1 << 14,
    CACHE_WAYS = 2,
    CACHE_BYTES = 15,    /* longer pieces are not cached */
    CACHE_IDS = 3,       /* nor those of more ids */
    MOST_BYTES = 1 << 30,
    SHOWN = 40,          /* bytes of a text that an error shows */
};

struct bpe {
    struct tokenizer base;
    struct bpe_vocabulary vocabulary;
    struct added_tokens added;
    struct characters *characters;
};

/* Zero in key[1]: free, since its highest byte is the length of the piece. */
struct cached_piece {
    uint64_t key[2];
    int32_t ids[CACHE_IDS], count;
};

struct cache_set {
    struct cached_piece ways[CACHE_WAYS];    /* the first one is the newest */
};

struct bpe_encoder {
    struct encoder base;
    struct cache_set *cache;
    struct bpe_merger merger;
    int32_t *scratch;          /* the ids of a piece, where there is not room for all of them */
    size_t scratch_capacity;
};

/* ---- the vocabulary ---- */

/* Entries are found by their bytes, then as a text that stands for itself. */
static int find_entry(const struct bpe_vocabulary *v, const char *entry, size_t bytes)
{
    char characters[256][3];
    char *written = malloc(2 * bytes + 1);
    if (!written)
        return -1;
    size_t length = 0;
    bpe_byte_characters(characters);
    for (size_t i = 0; i < bytes; i++) {
        const char *c = characters[(unsigned char)entry[i]];
        for (; *c; c++)
            written[length++] = *c;
    }
    int32_t number = string_table_find(v->written, written, length);
    if (number < 0)
        number = string_table_find(v->written, entry, bytes);
    free(written);
    return number < 0 ? -1 : v->written_ids[number];
}

static int bpe_find(const struct tokenizer *t, const char *entry, size_t bytes)
{
    const struct bpe *b = (const struct bpe *)t;
    const struct added_token *added = added_tokens_find(&b->added, entry, bytes);
    return added ? added->id : find_entry(&b->vocabulary, entry, bytes);
}

/*
 * Added tokens that the vocabulary does not have get the ids behind its own. As Hugging Face's
 * tokenizers, it has one where an entry is written like its content, not where one's bytes are.
 */
static struct error *add_entries(struct bpe *b)
{
    struct tokenizer *t = &b->base;
    const struct bpe_vocabulary *v = &b->vocabulary;
    const int own = t->size, most = own + b->added.count;
    struct tokenizer_entry *entries = realloc(t->entries, (size_t)most * sizeof *entries);
    if (!entries)
        return error_new(ERROR_MEMORY, "no memory for a vocabulary of %d entries", most);
    memset(entries + own, 0, (size_t)b->added.count * sizeof *entries);
    t->entries = entries;
    for (int i = 0; i < b->added.count; i++) {
        const struct added_token *a = &b->added.tokens[i];
        const int32_t number = string_table_find(v->written, a->content, a->bytes);
        if (number >= 0 ? v->written_ids[number] != a->id : a->id < own || a->id >= most)
            return error_new(ERROR_INPUT, "%s: the added token \"%.*s\" has the id %d; of this "
                             "vocabulary of %d entries it must be %d%s", t->definition.name,
                             (int)(a->bytes < SHOWN ? a->bytes : SHOWN), a->content, a->id, own,
                             number >= 0 ? v->written_ids[number] : own,
                             number >= 0 ? "" : " or one of those that follow");
        t->size += number < 0;
        entries[a->id] = (struct tokenizer_entry){a->content, a->bytes};
    }
    for (int id = own; id < t->size; id++)
        if (!entries[id].text)
            return error_new(ERROR_INPUT, "%s: no added token has the id %d", t->definition.name,
                             id);
    return NULL;
}

static struct error *bpe_load(struct tokenizer *t)
{
    struct bpe *b = (struct bpe *)t;
    TRY(bpe_vocabulary_read(&b->vocabulary, &t->definition, &t->entries, &t->size));
    const int end_id = find_entry(&b->vocabulary, special, SPECIAL_BYTES);
    TRY(added_tokens_read(&b->added, &t->definition, end_id));
    TRY(add_entries(b));
    t->start = t->end = bpe_find(t, special, SPECIAL_BYTES);
    return characters_create(&b->characters);
}

static void bpe_destroy(struct tokenizer *t)
{
    struct bpe *b = (struct bpe *)t;
    bpe_vocabulary_release(&b->vocabulary);
    added_tokens_release(&b->added);
    characters_destroy(b->characters);
}

static struct token_text bpe_text(const struct tokenizer *t, int32_t id, bool first)
{
    (void)first;
    return (struct token_text){.text = t->entries[id].text, .bytes = t->entries[id].bytes};
}

/* ---- encoding ---- */

static struct error *bpe_encoder_create(struct encoder **out, const struct tokenizer *tokenizer)
{
    struct bpe_encoder *c = calloc(1, sizeof *c);
    if (c)
        c->cache = aligned_alloc(sizeof *c->cache, CACHE_SETS * sizeof *c->cache);
    if (!c || !c->cache) {
        free(c);
        return error_new(ERROR_MEMORY, "no memory for an encoder (%zu bytes)",
                         CACHE_SETS * sizeof *c->cache);
    }
    memset(c->cache, 0, CACHE_SETS * sizeof *c->cache);
    c->base.tokenizer = tokenizer;
    c->merger.vocabulary = &((const struct bpe *)tokenizer)->vocabulary;
    *out = &c->base;
    return NULL;
}

static void bpe_encoder_destroy(struct encoder *encoder)
{
    struct bpe_encoder *c = (struct bpe_encoder *)encoder;
    bpe_merger_release(&c->merger);
    free(c->cache);
    free(c->scratch);
    free(c);
}

/* Where the ids of an encoding go. */
struct ids {
    int32_t *at;
    int count, capacity;
};

static struct error *merge_piece(struct bpe_encoder *c, const char *piece, size_t bytes,
                                 struct ids *ids, int *count)
{
    if (bytes <= (size_t)(ids->capacity - ids->count)) {
        TRY(bpe_merge_piece(&c->merger, piece, bytes, ids->at + ids->count, count));
        ids->count += *count;
        return NULL;
    }
    if (bytes > c->scratch_capacity) {
        int32_t *larger = realloc(c->scratch, bytes * sizeof *larger);
        if (!larger)
            return error_new(ERROR_MEMORY, "no memory for the tokens of %zu bytes without a space",
                             bytes);
        c->scratch = larger;
        c->scratch_capacity = bytes;
    }
    TRY(bpe_merge_piece(&c->merger, piece, bytes, c->scratch, count));
    for (int i = 0; i < *count && ids->count < ids->capacity; i++)
        ids->at[ids->count++] = c->scratch[i];
    return NULL;
}

/* The bytes of a piece, zeros behind them, and their number; reads no byte from `end` on. */
static inline void piece_key(const char *piece, size_t bytes, const char *end, uint64_t key[2])
{
    if (end - piece >= 16) {
        memcpy(key, piece, 16);
        if (bytes < 8)
            key[0] &= ((uint64_t)1 << (8 * bytes)) - 1;
        key[1] &= bytes > 8 ? ((uint64_t)1 << (8 * (bytes - 8))) - 1 : 0;
    } else {
        key[0] = key[1] = 0;
        memcpy(key, piece, bytes);
    }
    key[1] |= (uint64_t)bytes << 56;
}

static inline struct cache_set *cache_set(struct bpe_encoder *c, const uint64_t key[2])
{
    uint64_t h = (key[0] ^ (key[1] * 0x9E3779B97F4A7C15u)) * 0xBF58476D1CE4E5B9u;
    return &c->cache[(h ^ h >> 29) >> 24 & (CACHE_SETS - 1)];
}

static struct error *encode_new_piece(struct bpe_encoder *c, const char *piece, size_t bytes,
                                      const uint64_t key[2], struct cache_set *set,
                                      struct ids *ids)
{
    int count;
    const bool whole = bytes <= (size_t)(ids->capacity - ids->count);
    TRY(merge_piece(c, piece, bytes, ids, &count));
    if (whole && count <= CACHE_IDS) {
        set->ways[1] = set->ways[0];
        struct cached_piece *way = &set->ways[0];
        memcpy(way->key, key, sizeof way->key);
        memcpy(way->ids, ids->at + ids->count - count, (size_t)count * sizeof *way->ids);
        way->count = count;
    }
    return NULL;
}

static inline bool take_cached(const struct cached_piece *way, const uint64_t key[2],
                               struct ids *ids)
{
    if (way->key[0] != key[0] || way->key[1] != key[1])
        return false;
    if (ids->capacity - ids->count >= CACHE_IDS) {
        memcpy(ids->at + ids->count, way->ids, sizeof way->ids);
        ids->count += way->count;
    } else {
        for (int i = 0; i < way->count && ids->count < ids->capacity; i++)
            ids->at[ids->count++] = way->ids[i];
    }
    return true;
}

/* Text without added tokens. */
static struct error *encode_text(struct bpe_encoder *c, const char *at, const char *end,
                                 struct ids *ids)
{
    const struct characters *characters =
        ((const struct bpe *)c->base.tokenizer)->characters;
    while (at < end && ids->count < ids->capacity) {
        const size_t bytes = bpe_piece(characters, at, end);
        if (bytes <= CACHE_BYTES) {
            uint64_t key[2];
            piece_key(at, bytes, end, key);
            struct cache_set *set = cache_set(c, key);
            if (!take_cached(&set->ways[0], key, ids) && !take_cached(&set->ways[1], key, ids))
                TRY(encode_new_piece(c, at, bytes, key, set, ids));
        } else {
            int count;
            TRY(merge_piece(c, at, bytes, ids, &count));
        }
        at += bytes;
    }
    return NULL;
}

/* Text in which the added tokens of `pass` and the passes after it are to be found. */
static struct error *encode_pass(struct bpe_encoder *c, int pass, const char *text, const char *end,
                                 struct ids *ids)
{
    if (pass == ADDED_PASSES)
        return encode_text(c, text, end, ids);
    const struct bpe *b = (const struct bpe *)c->base.tokenizer;
    struct added_scan scan = added_scan_begin(text, end);
    struct added_match match;
    while (ids->count < ids->capacity &&
           added_scan_next(&scan, &b->added, (enum added_pass)pass, b->characters,
                           b->base.definition.bpe.special_as_text, &match)) {
        if (match.before < match.start)
            TRY(encode_pass(c, pass + 1, match.before, match.start, ids));
        if (ids->count < ids->capacity)
            ids->at[ids->count++] = match.id;
    }
    return encode_pass(c, pass + 1, scan.done, end, ids);
}

static struct error *bpe_encode(struct encoder *encoder, const char *text, size_t bytes,
                                int32_t *ids, int capacity, int *count)
{
    struct ids out = {.at = ids, .capacity = capacity};
    if (bytes > MOST_BYTES)
        return error_new(ERROR_INPUT, "a text of %zu bytes is too long to be encoded at once; the "
                         "most is %d", bytes, MOST_BYTES);
    TRY(encode_pass((struct bpe_encoder *)encoder, 0, text, text + bytes, &out));
    *count = out.count;
    return NULL;
}

const struct tokenizer_ops bpe_ops = {
    .start_name = special,
    .load = bpe_load,
    .destroy = bpe_destroy,
    .find = bpe_find,
    .text = bpe_text,
    .encoder_create = bpe_encoder_create,
    .encoder_destroy = bpe_encoder_destroy,
    .encode = bpe_encode,
    .tokenizer_bytes = sizeof(struct bpe),
};
