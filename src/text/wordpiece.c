/*
 * wordpiece.c - the WordPiece tokenizer: longest match first, one piece after the other.
 *
 * A word that cannot be cut into entries to its end is one [UNK] as a whole; so is one of more than
 * 100 bytes. Source: Song et al. 2021 (Fast WordPiece) for what is computed, keras_hub for the limits.
 *
 * Text repeats its words: an encoder keeps the ids of words it met in a table of fixed size, keyed by
 * the word as it stands in the text, before folding. English text hits it 97 times in 100, so its
 * speed is the speed of cutting words.
 */
#include "text/tokenizer.h"

#include "text/string_table.h"
#include "text/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LONGEST_WORD = 100,      /* bytes; a longer word is [UNK] */
    CACHE_SLOTS = 1 << 15,
    CACHE_BYTES = 24,        /* longer words are not cached */
    CACHE_IDS = 7,
};

struct tokenizer {
    struct wordpiece_options options;
    /* All entries; those that may begin a word; those after ##, without it. */
    struct string_table *entries, *starts, *suffixes;
    int32_t *entry_ids, *start_ids, *suffix_ids;    /* by number in the table */
    size_t longest_entry, longest_start, longest_suffix;
    struct line {
        const char *text;
        size_t bytes;
    } *lines;                         /* by id */
    int size, unknown, start, pad;
    char *text;                       /* the vocabulary file's bytes */
    size_t text_bytes;
};

struct cached_word {
    uint64_t key[CACHE_BYTES / 8];    /* the word's bytes, zeros after them */
    int32_t count;                    /* ids; -1: the slot is free */
    int32_t ids[CACHE_IDS];
};

struct encoder {
    const struct tokenizer *tokenizer;
    struct cached_word *cache;
    struct fold fold, accents;
};

/* ---- the vocabulary ---- */

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

static struct error *add_entry(struct tokenizer *t, int id)
{
    const char *text = t->lines[id].text;
    const size_t bytes = t->lines[id].bytes;
    TRY(add_piece(t->entries, t->entry_ids, &t->longest_entry, text, bytes, id));
    if (bytes > 2 && text[0] == '#' && text[1] == '#')
        return add_piece(t->suffixes, t->suffix_ids, &t->longest_suffix, text + 2, bytes - 2, id);
    return add_piece(t->starts, t->start_ids, &t->longest_start, text, bytes, id);
}

static struct error *read_vocabulary(struct tokenizer *t, const char *name)
{
    size_t lines = 0;
    for (size_t i = 0; i < t->text_bytes; i++)
        lines += t->text[i] == '\n';
    lines += t->text_bytes > 0 && t->text[t->text_bytes - 1] != '\n';
    if (lines == 0 || lines > 1 << 24)
        return error_new(ERROR_INPUT, "%s holds %zu entries; a vocabulary has one entry a line, at "
                         "most 16777216", name, lines);
    t->lines = calloc(lines, sizeof *t->lines);
    t->entry_ids = calloc(lines, sizeof *t->entry_ids);
    t->start_ids = calloc(lines, sizeof *t->start_ids);
    t->suffix_ids = calloc(lines, sizeof *t->suffix_ids);
    if (!t->lines || !t->entry_ids || !t->start_ids || !t->suffix_ids)
        return error_new(ERROR_MEMORY, "no memory for a vocabulary of %zu entries", lines);

    const char *at = t->text, *end = t->text + t->text_bytes;
    for (t->size = 0; at < end; t->size++) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        const char *stop = feed ? feed : end;
        t->lines[t->size].text = at;
        t->lines[t->size].bytes = (size_t)(stop - at);
        TRY(add_entry(t, t->size));
        at = feed ? feed + 1 : end;
    }
    return NULL;
}

struct error *tokenizer_create_wordpiece(struct tokenizer **out, const char *vocabulary,
                                         size_t bytes, const char *name,
                                         const struct wordpiece_options *options)
{
    struct error *e;
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return error_new(ERROR_MEMORY, "no memory for the tokenizer (%zu bytes)", sizeof *t);
    t->options = *options;
    t->text_bytes = bytes;
    t->text = malloc(bytes + 1);
    if (!t->text) {
        e = error_new(ERROR_MEMORY, "no memory for the vocabulary (%zu bytes)", bytes);
        goto fail;
    }
    memcpy(t->text, vocabulary, bytes);
    if ((e = string_table_create(&t->entries)) || (e = string_table_create(&t->starts)) ||
        (e = string_table_create(&t->suffixes)) || (e = read_vocabulary(t, name)))
        goto fail;
    t->unknown = tokenizer_find(t, "[UNK]");
    t->start = tokenizer_find(t, "[BOS]");
    if (t->unknown < 0) {
        e = error_new(ERROR_INPUT, "%s has no entry [UNK], which words outside the vocabulary need; "
                      "is it a WordPiece vocabulary?", name);
        goto fail;
    }
    *out = t;
    return NULL;

fail:
    tokenizer_destroy(t);
    return e;
}

void tokenizer_destroy(struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    string_table_destroy(tokenizer->entries);
    string_table_destroy(tokenizer->starts);
    string_table_destroy(tokenizer->suffixes);
    free(tokenizer->entry_ids);
    free(tokenizer->start_ids);
    free(tokenizer->suffix_ids);
    free(tokenizer->lines);
    free(tokenizer->text);
    free(tokenizer);
}

int tokenizer_size(const struct tokenizer *tokenizer)
{
    return tokenizer->size;
}

int tokenizer_find(const struct tokenizer *tokenizer, const char *entry)
{
    const int32_t number = string_table_find(tokenizer->entries, entry, strlen(entry));
    return number < 0 ? -1 : tokenizer->entry_ids[number];
}

int tokenizer_start_id(const struct tokenizer *tokenizer)
{
    return tokenizer->start;
}

int tokenizer_pad_id(const struct tokenizer *tokenizer)
{
    return tokenizer->pad;
}

const char *tokenizer_entry(const struct tokenizer *tokenizer, int id, size_t *bytes)
{
    if (id < 0 || id >= tokenizer->size)
        return NULL;
    *bytes = tokenizer->lines[id].bytes;
    return tokenizer->lines[id].text;
}

const char *tokenizer_vocabulary(const struct tokenizer *tokenizer, size_t *bytes)
{
    *bytes = tokenizer->text_bytes;
    return tokenizer->text;
}

const struct wordpiece_options *tokenizer_options(const struct tokenizer *tokenizer)
{
    return &tokenizer->options;
}

/* ---- encoding ---- */

struct error *encoder_create(struct encoder **out, const struct tokenizer *tokenizer)
{
    struct encoder *c = calloc(1, sizeof *c);
    if (c)
        c->cache = calloc(CACHE_SLOTS, sizeof *c->cache);
    if (!c || !c->cache) {
        free(c);
        return error_new(ERROR_MEMORY, "no memory for an encoder (%zu bytes)",
                         CACHE_SLOTS * sizeof *c->cache);
    }
    c->tokenizer = tokenizer;
    for (int i = 0; i < CACHE_SLOTS; i++)
        c->cache[i].count = -1;
    *out = c;
    return NULL;
}

void encoder_destroy(struct encoder *encoder)
{
    if (!encoder)
        return;
    fold_release(&encoder->fold);
    fold_release(&encoder->accents);
    free(encoder->cache);
    free(encoder);
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
static int cut_word(const struct tokenizer *t, const char *word, size_t bytes, int32_t *ids)
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
static struct error *encode_word(struct encoder *c, const char *word, size_t bytes, bool ascii,
                                 int32_t *ids, int *count)
{
    const struct tokenizer *t = c->tokenizer;
    char lower[LONGEST_WORD];
    if (t->options.lowercase && !ascii) {
        TRY(fold_word(&c->fold, word, bytes));
        word = c->fold.text;
        bytes = c->fold.bytes;
    } else if (t->options.lowercase && bytes <= LONGEST_WORD) {
        for (size_t i = 0; i < bytes; i++)
            lower[i] = (char)(word[i] >= 'A' && word[i] <= 'Z' ? word[i] + 32 : word[i]);
        word = lower;
    }
    *count = cut_word(t, word, bytes, ids);
    return NULL;
}

static struct cached_word *cache_slot(struct encoder *c, const uint64_t *key)
{
    uint64_t h = key[0] * 0x9E3779B97F4A7C15u;
    h = (h ^ (h >> 29) ^ key[1]) * 0xBF58476D1CE4E5B9u;
    h = (h ^ (h >> 31) ^ key[2]) * 0x94D049BB133111EBu;
    return &c->cache[(h >> 40) & (CACHE_SLOTS - 1)];
}

/* One word's ids, from the cache where it is there; `ids` has room for LONGEST_WORD. */
static struct error *lookup_word(struct encoder *c, const char *word, size_t bytes, bool ascii,
                                 int32_t *ids, int *count)
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

struct error *encoder_encode(struct encoder *encoder, const char *text, size_t bytes, int32_t *ids,
                             int capacity, int *count)
{
    struct encoder *c = encoder;
    if (c->tokenizer->options.strip_accents) {
        TRY(fold_strip_accents(&c->accents, text, bytes));
        text = c->accents.text;
        bytes = c->accents.bytes;
    }
    struct words words = words_begin(text, bytes, &c->tokenizer->options);
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

struct error *tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, int count,
                               char **text)
{
    size_t bytes = 0;
    char *result = NULL;
    FILE *out = open_memstream(&result, &bytes);
    if (!out)
        return error_errno(ERROR_MEMORY, "no memory for the text of %d tokens", count);
    for (int i = 0; i < count; i++) {
        size_t length;
        const char *entry = tokenizer_entry(tokenizer, ids[i], &length);
        if (!entry) {
            fclose(out);
            free(result);
            return error_new(ERROR_INPUT, "token id %d is outside the vocabulary of %d", (int)ids[i],
                             tokenizer->size);
        }
        const bool suffix = length > 2 && entry[0] == '#' && entry[1] == '#';
        if (i > 0 && !suffix)
            fputc(' ', out);
        if (i > 0 && suffix)
            fwrite(entry + 2, 1, length - 2, out);
        else
            fwrite(entry, 1, length, out);
    }
    if (fclose(out)) {
        free(result);
        return error_errno(ERROR_MEMORY, "no memory for the text of %d tokens", count);
    }
    *text = result;
    return NULL;
}
