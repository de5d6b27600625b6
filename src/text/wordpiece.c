/*
 * wordpiece.c - the WordPiece tokenizer: longest match first, one piece after the other.
 *
 * A word that cannot be cut into entries to its end is one [UNK] as a whole; so is one of more than
 * 100 bytes. Source: Song et al. 2021 (Fast WordPiece) for what is computed, keras_hub for the
 * limits.
 *
 * Text repeats its words: an encoder keeps the ids of words it met in a table of fixed size, keyed
 * by the word as it stands in the text, before folding. English text hits it 97 times in 100, so
 * its speed is the speed of cutting words.
 */
#include "text/tokenizer_kind.h"

#include "text/string_table.h"
#include "text/words.h"

#include <stdlib.h>
#include <string.h>

enum {
    LONGEST_WORD = 100,      /* bytes; a longer word is [UNK] */
    CACHE_SLOTS = 1 << 15,
    CACHE_BYTES = 24,        /* longer words are not cached */
    CACHE_IDS = 7,
};

struct wordpiece {
    struct tokenizer base;
    /* All entries; those that may begin a word; those after ##, without it. */
    struct string_table *entries, *starts, *suffixes;
    int32_t *entry_ids, *start_ids, *suffix_ids;    /* by number in the table */
    size_t longest_entry, longest_start, longest_suffix;
    int unknown;
};

struct cached_word {
    uint64_t key[CACHE_BYTES / 8];    /* the word's bytes, zeros after them */
    int32_t count;                    /* ids; -1: the slot is free */
    int32_t ids[CACHE_IDS];
};

struct wordpiece_encoder {
    struct encoder base;
    struct cached_word *cache;
    struct fold fold, accents;
};

/* ---- the vocabulary ---- */

static bool is_suffix(const char *entry, size_t bytes)
{
    return bytes > 2 && entry[0] == '#' && entry[1] == '#';
}

static struct error *add_piece(struct string_table *table, int32_t *ids, size_t *longest,
                               const char *text, size_t bytes, int id)
{
    int32_t number;
    const int32_t before = string_table_count(table);
    TRY(string_table_add(table, text, bytes, &number));
    if (number == before) {    /* of equal entries the first one counts */
        ids[number] = id;
        *longest = bytes > *longest ? bytes : *longest;
    }
    return NULL;
}

static struct error *add_entry(struct wordpiece *w, int id)
{
    const char *text = w->base.entries[id].text;
    const size_t bytes = w->base.entries[id].bytes;
    TRY(add_piece(w->entries, w->entry_ids, &w->longest_entry, text, bytes, id));
    if (is_suffix(text, bytes))
        return add_piece(w->suffixes, w->suffix_ids, &w->longest_suffix, text + 2, bytes - 2, id);
    return add_piece(w->starts, w->start_ids, &w->longest_start, text, bytes, id);
}

static struct error *read_vocabulary(struct wordpiece *w)
{
    struct tokenizer *t = &w->base;
    const char *at = t->definition.vocabulary, *end = at + t->definition.vocabulary_bytes;
    size_t lines = at < end && end[-1] != '\n';
    for (const char *c = at; c < end; c++)
        lines += *c == '\n';
    if (lines == 0 || lines > 1 << 24)
        return error_new(ERROR_INPUT, "%s holds %zu entries; a vocabulary has one entry a line, at "
                         "most 16777216", t->definition.name, lines);
    t->entries = calloc(lines, sizeof *t->entries);
    w->entry_ids = calloc(lines, sizeof *w->entry_ids);
    w->start_ids = calloc(lines, sizeof *w->start_ids);
    w->suffix_ids = calloc(lines, sizeof *w->suffix_ids);
    if (!t->entries || !w->entry_ids || !w->start_ids || !w->suffix_ids)
        return error_new(ERROR_MEMORY, "no memory for a vocabulary of %zu entries", lines);

    for (t->size = 0; at < end; t->size++) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        const char *stop = feed ? feed : end;
        t->entries[t->size] = (struct tokenizer_entry){at, (size_t)(stop - at)};
        TRY(add_entry(w, t->size));
        at = feed ? feed + 1 : end;
    }
    return NULL;
}

static int wordpiece_find(const struct tokenizer *tokenizer, const char *entry, size_t bytes)
{
    const struct wordpiece *w = (const struct wordpiece *)tokenizer;
    const int32_t number = string_table_find(w->entries, entry, bytes);
    return number < 0 ? -1 : w->entry_ids[number];
}

static struct error *wordpiece_load(struct tokenizer *t)
{
    struct wordpiece *w = (struct wordpiece *)t;
    TRY(string_table_create(&w->entries));
    TRY(string_table_create(&w->starts));
    TRY(string_table_create(&w->suffixes));
    TRY(read_vocabulary(w));
    w->unknown = wordpiece_find(t, "[UNK]", 5);
    t->start = wordpiece_find(t, "[BOS]", 5);
    if (w->unknown < 0)
        return error_new(ERROR_INPUT, "%s has no entry [UNK], which words outside the vocabulary "
                         "need; is it a WordPiece vocabulary?", t->definition.name);
    return NULL;
}

static void wordpiece_destroy(struct tokenizer *t)
{
    struct wordpiece *w = (struct wordpiece *)t;
    string_table_destroy(w->entries);
    string_table_destroy(w->starts);
    string_table_destroy(w->suffixes);
    free(w->entry_ids);
    free(w->start_ids);
    free(w->suffix_ids);
}

/* ---- encoding ---- */

static struct error *wordpiece_encoder_create(struct encoder **out,
                                              const struct tokenizer *tokenizer)
{
    struct wordpiece_encoder *c = calloc(1, sizeof *c);
    if (c)
        c->cache = calloc(CACHE_SLOTS, sizeof *c->cache);
    if (!c || !c->cache) {
        free(c);
        return error_new(ERROR_MEMORY, "no memory for an encoder (%zu bytes)",
                         CACHE_SLOTS * sizeof *c->cache);
    }
    c->base.tokenizer = tokenizer;
    for (int i = 0; i < CACHE_SLOTS; i++)
        c->cache[i].count = -1;
    *out = &c->base;
    return NULL;
}

static void wordpiece_encoder_destroy(struct encoder *encoder)
{
    struct wordpiece_encoder *c = (struct wordpiece_encoder *)encoder;
    fold_release(&c->fold);
    fold_release(&c->accents);
    free(c->cache);
    free(c);
}

/* The longest piece of `table` that `text` begins with; 0 bytes if there is none. */
static size_t longest_piece(const struct string_table *table, const int32_t *ids, size_t longest,
                            const char *text, size_t bytes, int32_t *id)
{
    for (size_t n = bytes < longest ? bytes : longest; n > 0; n--) {
        const int32_t number = string_table_find(table, text, n);
        if (number >= 0) {
            *id = ids[number];
            return n;
        }
    }
    return 0;
}

/* All ids of one folded word; at most one a byte. */
static int cut_word(const struct wordpiece *t, const char *word, size_t bytes, int32_t *ids)
{
    if (bytes == 0)
        return 0;
    ids[0] = t->unknown;
    if (bytes > LONGEST_WORD)
        return 1;
    size_t at = longest_piece(t->starts, t->start_ids, t->longest_start, word, bytes, &ids[0]);
    if (at == 0)
        return 1;
    int count = 1;
    while (at < bytes) {
        const size_t n = longest_piece(t->suffixes, t->suffix_ids, t->longest_suffix, word + at,
                                       bytes - at, &ids[count]);
        if (n == 0) {
            ids[0] = t->unknown;
            return 1;
        }
        at += n;
        count++;
    }
    return count;
}

/* Folds and cuts a word as it stands in the text. */
static struct error *encode_word(struct wordpiece_encoder *c, const char *word, size_t bytes,
                                 bool ascii, int32_t *ids, int *count)
{
    const struct wordpiece *w = (const struct wordpiece *)c->base.tokenizer;
    const bool lowercase = w->base.definition.wordpiece.lowercase;
    char lower[LONGEST_WORD];
    if (lowercase && !ascii) {
        TRY(fold_word(&c->fold, word, bytes));
        word = c->fold.text;
        bytes = c->fold.bytes;
    } else if (lowercase && bytes <= LONGEST_WORD) {
        for (size_t i = 0; i < bytes; i++)
            lower[i] = (char)(word[i] >= 'A' && word[i] <= 'Z' ? word[i] + 32 : word[i]);
        word = lower;
    }
    *count = cut_word(w, word, bytes, ids);
    return NULL;
}

static struct cached_word *cache_slot(struct wordpiece_encoder *c, const uint64_t *key)
{
    uint64_t h = key[0] * 0x9E3779B97F4A7C15u;
    h = (h ^ (h >> 29) ^ key[1]) * 0xBF58476D1CE4E5B9u;
    h = (h ^ (h >> 31) ^ key[2]) * 0x94D049BB133111EBu;
    return &c->cache[(h >> 40) & (CACHE_SLOTS - 1)];
}

/* One word's ids, from the cache where it is there; `ids` has room for LONGEST_WORD. */
static struct error *lookup_word(struct wordpiece_encoder *c, const char *word, size_t bytes,
                                 bool ascii, int32_t *ids, int *count)
{
    if (bytes > CACHE_BYTES)
        return encode_word(c, word, bytes, ascii, ids, count);
    uint64_t key[CACHE_BYTES / 8] = {0};
    memcpy(key, word, bytes);
    struct cached_word *slot = cache_slot(c, key);
    if (slot->count >= 0 && slot->key[0] == key[0] && slot->key[1] == key[1] &&
        slot->key[2] == key[2]) {
        *count = slot->count;
        memcpy(ids, slot->ids, sizeof slot->ids);
        return NULL;
    }
    TRY(encode_word(c, word, bytes, ascii, ids, count));
    if (*count <= CACHE_IDS) {
        memcpy(slot->key, key, sizeof key);
        memcpy(slot->ids, ids, (size_t)*count * sizeof *ids);
        slot->count = *count;
    }
    return NULL;
}

static struct error *wordpiece_encode(struct encoder *encoder, const char *text, size_t bytes,
                                      int32_t *ids, int capacity, int *count)
{
    struct wordpiece_encoder *c = (struct wordpiece_encoder *)encoder;
    const struct wordpiece_options *options = &encoder->tokenizer->definition.wordpiece;
    if (options->strip_accents) {
        TRY(fold_strip_accents(&c->accents, text, bytes));
        text = c->accents.text;
        bytes = c->accents.bytes;
    }
    struct words words = words_begin(text, bytes, options);
    const char *word;
    size_t word_bytes;
    bool ascii;
    int n = 0;
    while (n < capacity && words_next(&words, &word, &word_bytes, &ascii)) {
        int32_t found[LONGEST_WORD + CACHE_IDS];
        int found_count = 0;
        TRY(lookup_word(c, word, word_bytes, ascii, found, &found_count));
        for (int i = 0; i < found_count && n < capacity; i++)
            ids[n++] = found[i];
    }
    *count = n;
    return NULL;
}

/* ---- decoding ---- */

static struct token_text wordpiece_text(const struct tokenizer *t, int32_t id, bool first)
{
    const struct tokenizer_entry x = t->entries[id];
    const bool suffix = is_suffix(x.text, x.bytes);
    if (!first && suffix)
        return (struct token_text){.text = x.text + 2, .bytes = x.bytes - 2};
    return (struct token_text){.space = !first, .text = x.text, .bytes = x.bytes};
}

const struct tokenizer_ops wordpiece_ops = {
    .start_name = "[BOS]",
    .load = wordpiece_load,
    .destroy = wordpiece_destroy,
    .find = wordpiece_find,
    .text = wordpiece_text,
    .encoder_create = wordpiece_encoder_create,
    .encoder_destroy = wordpiece_encoder_destroy,
    .encode = wordpiece_encode,
    .tokenizer_bytes = sizeof(struct wordpiece),
};
