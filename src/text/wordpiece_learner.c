/*
 * wordpiece_learner.c - counts words, then finds the threshold whose vocabulary has the right size.
 *
 * tensorflow_text counts every piece of every word, then takes from each piece's count those of all
 * longer pieces it begins. What is left for a piece is exactly the number of places where it
 * reaches to the end of its word: so only whole words, endings "##xyz" of words and single
 * characters can become entries, and it suffices to count those. A learner knows every ending by
 * number; places in words are arrays of numbers, and trying a threshold walks arrays.
 */
#include "text/wordpiece_learner.h"

#include "text/string_table.h"
#include "text/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The constants of tensorflow_text's learner that keras_hub leaves as they are. */
enum {
    UPPER_THRESHOLD = 10000000,
    LOWER_THRESHOLD = 10,
    ITERATIONS = 4,
    MOST_WORDS = 5000000,
    LONGEST = 50,            /* characters, of words and pieces */
    MOST_CHARACTERS = 1000,
};
static const double SLACK = 0.05;

struct word_counter {
    struct wordpiece_options options;
    struct string_table *words;    /* as they stand in the text, not folded */
    int64_t *counts;
    int32_t capacity;
    struct fold accents;
};

struct error *word_counter_create(struct word_counter **out,
                                  const struct wordpiece_options *options)
{
    struct word_counter *c = calloc(1, sizeof *c);
    if (!c)
        return error_new(ERROR_MEMORY, "no memory to count words (%zu bytes)", sizeof *c);
    c->options = *options;
    struct error *e = string_table_create(&c->words);
    if (e) {
        free(c);
        return e;
    }
    *out = c;
    return NULL;
}

void word_counter_destroy(struct word_counter *counter)
{
    if (!counter)
        return;
    string_table_destroy(counter->words);
    fold_release(&counter->accents);
    free(counter->counts);
    free(counter);
}

static struct error *count_word(struct string_table *words, int64_t **counts, int32_t *capacity,
                                const char *word, size_t bytes, int64_t count)
{
    int32_t number = 0;
    TRY(string_table_add(words, word, bytes, &number));
    if (number >= *capacity) {
        const int32_t larger = *capacity > 0 ? 2 * *capacity : 4096;
        int64_t *more = realloc(*counts, (size_t)larger * sizeof *more);
        if (!more)
            return error_new(ERROR_MEMORY, "no memory to count %d words", larger);
        memset(more + *capacity, 0, (size_t)(larger - *capacity) * sizeof *more);
        *counts = more;
        *capacity = larger;
    }
    (*counts)[number] += count;
    return NULL;
}

struct error *word_counter_add(struct word_counter *counter, const char *text, size_t bytes)
{
    struct word_counter *c = counter;
    if (c->options.strip_accents) {
        TRY(fold_strip_accents(&c->accents, text, bytes));
        text = c->accents.text;
        bytes = c->accents.bytes;
    }
    struct words words = words_begin(text, bytes, &c->options);
    const char *word;
    size_t word_bytes;
    bool ascii;
    while (words_next(&words, &word, &word_bytes, &ascii))
        TRY(count_word(c->words, &c->counts, &c->capacity, word, word_bytes, 1));
    return NULL;
}

/* ---- the learner's view of the words ---- */

/* A kept word: its characters stand at [first, first + length) of the learner's places. */
struct word {
    const char *text;
    int64_t count;
    int64_t first;
    int length;
};

struct learner {
    struct string_table *folded;     /* distinct words after folding */
    int64_t *folded_counts;
    int32_t folded_capacity;
    int64_t most, least;             /* over all words, before any is left out */

    struct word *words;
    int64_t n_words, n_places;

    struct string_table *pieces;     /* whole words as they are; endings with ## before them */
    int32_t *endings;                /* (n_places): the piece from this place to the word's end */
    int32_t *characters;             /* (n_places): the piece of this one character */
    uint32_t *starts;                /* (n_places): byte offset in the word */
    /* Known pieces that begin at a place, but for its character: (end place in word, piece). */
    struct match {
        int32_t end, piece;
    } *matches;
    int64_t *first_match;            /* (n_places + 1) */
    int64_t n_matches, match_capacity;

    int64_t *counts;                 /* (pieces), of one iteration */
    int64_t *current;                /* (pieces): count if in the vocabulary being built, else 0 */
    bool *is_character;              /* (pieces): a character, alone or after ## */
    int32_t *chosen;                 /* (pieces): the entries of the last learn, in order */
    int32_t n_chosen;

    struct string_table *alphabet;   /* the allowed characters */
};

static size_t character_bytes(const char *at)
{
    const unsigned char c = (unsigned char)*at;
    return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

static int count_characters(const char *text, size_t bytes)
{
    int n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

/* All counters' words, folded, added up. */
static struct error *fold_words(struct learner *l, struct word_counter *const *counters, int n)
{
    struct fold fold = {0};
    struct error *e = NULL;
    for (int c = 0; c < n && !e; c++) {
        const int32_t count = string_table_count(counters[c]->words);
        for (int32_t i = 0; i < count && !e; i++) {
            size_t bytes;
            const char *word = string_table_get(counters[c]->words, i, &bytes);
            if (counters[c]->options.lowercase) {
                if ((e = fold_word(&fold, word, bytes)))
                    break;
                word = fold.text;
                bytes = fold.bytes;
            }
            e = count_word(l->folded, &l->folded_counts, &l->folded_capacity, word, bytes,
                           counters[c]->counts[i]);
        }
    }
    fold_release(&fold);
    return e;
}

static bool is_reserved(const char *word, size_t bytes, const char *const *reserved, int n)
{
    for (int i = 0; i < n; i++)
        if (strlen(reserved[i]) == bytes && !memcmp(reserved[i], word, bytes))
            return true;
    return false;
}

/* Words short enough and not reserved; the empty one (a fold can leave nothing) has no places. */
static struct error *keep_words(struct learner *l, const char *const *reserved, int n)
{
    const int32_t count = string_table_count(l->folded);
    l->words = calloc((size_t)count + 1, sizeof *l->words);
    if (!l->words)
        return error_new(ERROR_MEMORY, "no memory for %d words", count);
    l->most = 0;
    l->least = INT64_MAX;
    for (int32_t i = 0; i < count; i++) {
        size_t bytes;
        const char *text = string_table_get(l->folded, i, &bytes);
        const int64_t c = l->folded_counts[i];
        l->most = c > l->most ? c : l->most;
        l->least = c < l->least ? c : l->least;
        const int length = count_characters(text, bytes);
        if (length <= LONGEST && !is_reserved(text, bytes, reserved, n))
            l->words[l->n_words++] = (struct word){.text = text, .count = c, .length = length};
    }
    return NULL;
}

struct counted {
    const char *text;
    size_t bytes;
    int64_t count;
    int32_t number;
};

static int compare_texts(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    const int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

/* More frequent first, of equals the smaller text. */
static int by_count(const void *x, const void *y)
{
    const struct counted *a = x, *b = y;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return compare_texts(a->text, a->bytes, b->text, b->bytes);
}

static int by_text(const void *x, const void *y)
{
    const struct counted *a = x, *b = y;
    return compare_texts(a->text, a->bytes, b->text, b->bytes);
}

/* Words in descending order of count. The original keeps equals in the order it met them, which
 * only decides who is dropped beyond MOST_WORDS; the text decides here, so threads do not
 * matter. */
static int by_word_count(const void *x, const void *y)
{
    const struct word *a = x, *b = y;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return compare_texts(a->text, strlen(a->text), b->text, strlen(b->text));
}

/* Counts the characters of all kept words and keeps the most frequent ones. */
static struct error *choose_alphabet(struct learner *l)
{
    struct string_table *all;
    int64_t *counts = NULL;
    int32_t capacity = 0;
    struct counted *list = NULL;
    TRY(string_table_create(&all));
    struct error *e = NULL;
    for (int64_t w = 0; w < l->n_words && !e; w++)
        for (const char *at = l->words[w].text; *at && !e; at += character_bytes(at))
            e = count_word(all, &counts, &capacity, at, character_bytes(at), l->words[w].count);

    const int32_t n = string_table_count(all);
    if (!e && !(list = calloc((size_t)n + 1, sizeof *list)))
        e = error_new(ERROR_MEMORY, "no memory for %d characters", n);
    if (!e) {
        for (int32_t i = 0; i < n; i++) {
            list[i].text = string_table_get(all, i, &list[i].bytes);
            list[i].count = counts[i];
        }
        qsort(list, (size_t)n, sizeof *list, by_count);
        for (int32_t i = 0; i < n && i < MOST_CHARACTERS && !e; i++)
            e = string_table_add(l->alphabet, list[i].text, list[i].bytes, &list[i].number);
    }
    free(list);
    free(counts);
    string_table_destroy(all);
    return e;
}

/* Drops words with a character outside the alphabet; of the rest the most frequent stay. */
static void drop_words(struct learner *l)
{
    int64_t kept = 0;
    qsort(l->words, (size_t)l->n_words, sizeof *l->words, by_word_count);
    for (int64_t w = 0; w < l->n_words && kept < MOST_WORDS; w++) {
        bool allowed = l->words[w].length > 0;
        for (const char *at = l->words[w].text; *at && allowed; at += character_bytes(at))
            allowed = string_table_find(l->alphabet, at, character_bytes(at)) >= 0;
        if (allowed) {
            l->words[kept] = l->words[w];
            l->words[kept].first = l->n_places;
            l->n_places += l->words[kept].length;
            kept++;
        }
    }
    l->n_words = kept;
}

/* The piece of text[0, bytes), with ## before it unless it begins its word. */
static size_t spell(char *piece, const char *text, size_t bytes, bool begins_word)
{
    const size_t marks = begins_word ? 0 : 2;
    memcpy(piece, "##", marks);
    memcpy(piece + marks, text, bytes);
    return marks + bytes;
}

enum { PIECE_BYTES = 2 + 4 * LONGEST };

/* Numbers for the ending and the character of every place. */
static struct error *number_places(struct learner *l)
{
    for (int64_t w = 0; w < l->n_words; w++) {
        const struct word *word = &l->words[w];
        const size_t bytes = strlen(word->text);
        size_t at = 0;
        for (int i = 0; i < word->length; i++) {
            char piece[PIECE_BYTES];
            const int64_t place = word->first + i;
            const size_t one = character_bytes(word->text + at);
            l->starts[place] = (uint32_t)at;
            size_t n = spell(piece, word->text + at, bytes - at, i == 0);
            TRY(string_table_add(l->pieces, piece, n, &l->endings[place]));
            n = spell(piece, word->text + at, one, i == 0);
            TRY(string_table_add(l->pieces, piece, n, &l->characters[place]));
            at += one;
        }
    }
    return NULL;
}

static struct error *add_match(struct learner *l, int32_t end, int32_t piece)
{
    if (l->n_matches == l->match_capacity) {
        const int64_t capacity = l->match_capacity > 0 ? 2 * l->match_capacity : 1 << 16;
        struct match *matches = realloc(l->matches, (size_t)capacity * sizeof *matches);
        if (!matches)
            return error_new(ERROR_MEMORY, "no memory to learn a vocabulary from %lld words",
                             (long long)l->n_words);
        l->matches = matches;
        l->match_capacity = capacity;
    }
    l->matches[l->n_matches++] = (struct match){.end = end, .piece = piece};
    return NULL;
}

/* For every place the known pieces that begin there, longest first. */
static struct error *find_matches(struct learner *l)
{
    for (int64_t w = 0; w < l->n_words; w++) {
        const struct word *word = &l->words[w];
        const size_t bytes = strlen(word->text);
        for (int i = 0; i < word->length; i++) {
            const int64_t place = word->first + i;
            const size_t at = l->starts[place];
            l->first_match[place] = l->n_matches;
            for (int end = word->length; end > i + 1; end--) {
                char piece[PIECE_BYTES];
                const size_t stop =
                    end < word->length ? l->starts[word->first + end] : bytes;
                const size_t n = spell(piece, word->text + at, stop - at, i == 0);
                const int32_t number = string_table_find(l->pieces, piece, n);
                if (number >= 0)
                    TRY(add_match(l, end, number));
            }
        }
    }
    l->first_match[l->n_places] = l->n_matches;
    return NULL;
}

static struct error *prepare_pieces(struct learner *l)
{
    const size_t places = (size_t)l->n_places + 1;
    l->endings = calloc(places, sizeof *l->endings);
    l->characters = calloc(places, sizeof *l->characters);
    l->starts = calloc(places, sizeof *l->starts);
    l->first_match = calloc(places, sizeof *l->first_match);
    if (!l->endings || !l->characters || !l->starts || !l->first_match)
        return error_new(ERROR_MEMORY, "no memory for %lld characters of words",
                         (long long)l->n_places);
    TRY(number_places(l));

    /* Every allowed character may stand alone and after others, wherever it was met. */
    const int32_t letters = string_table_count(l->alphabet);
    for (int32_t i = 0; i < letters; i++) {
        char piece[PIECE_BYTES];
        int32_t number;
        size_t bytes;
        const char *text = string_table_get(l->alphabet, i, &bytes);
        TRY(string_table_add(l->pieces, text, bytes, &number));
        TRY(string_table_add(l->pieces, piece, spell(piece, text, bytes, false), &number));
    }
    TRY(find_matches(l));

    const size_t n = (size_t)string_table_count(l->pieces) + 1;
    l->counts = calloc(n, sizeof *l->counts);
    l->current = calloc(n, sizeof *l->current);
    l->is_character = calloc(n, sizeof *l->is_character);
    l->chosen = calloc(n, sizeof *l->chosen);
    if (!l->counts || !l->current || !l->is_character || !l->chosen)
        return error_new(ERROR_MEMORY, "no memory for %zu pieces", n);
    return NULL;
}

/* The characters that words hold, alone and after ##: they are entries whatever their count. */
static void mark_characters(struct learner *l)
{
    char piece[PIECE_BYTES];
    for (int64_t p = 0; p < l->n_places; p++) {
        size_t bytes;
        const char *text = string_table_get(l->pieces, l->characters[p], &bytes);
        const bool suffix = bytes > 2 && text[0] == '#' && text[1] == '#';
        const char *character = suffix ? text + 2 : text;
        const size_t n = suffix ? bytes - 2 : bytes;
        l->is_character[string_table_find(l->pieces, character, n)] = true;
        l->is_character[string_table_find(l->pieces, piece, spell(piece, character, n, false))] =
            true;
    }
}

/* Where the piece that greedy longest match takes at a place of a word ends. */
static int longest_match(const struct learner *l, const struct word *word, int i)
{
    const int64_t place = word->first + i;
    for (int64_t m = l->first_match[place]; m < l->first_match[place + 1]; m++)
        if (l->current[l->matches[m].piece] > 0)
            return l->matches[m].end;
    return i + 1;
}

/* l->current after the rounds of one threshold; returns how many pieces are in it. */
static int32_t learn(struct learner *l, int64_t threshold)
{
    const int32_t n = string_table_count(l->pieces);
    for (int round = 0; round < ITERATIONS; round++) {
        memset(l->counts, 0, (size_t)n * sizeof *l->counts);
        for (int64_t w = 0; w < l->n_words; w++) {
            const struct word *word = &l->words[w];
            for (int i = 0; i < word->length;) {
                l->counts[l->endings[word->first + i]] += word->count;
                i = round == 0 ? i + 1 : longest_match(l, word, i);
            }
        }
        for (int32_t p = 0; p < n; p++)
            l->current[p] = l->counts[p] >= threshold ? l->counts[p] : l->is_character[p];
    }
    l->n_chosen = 0;
    for (int32_t p = 0; p < n; p++)
        if (l->current[p] > 0)
            l->chosen[l->n_chosen++] = p;
    return l->n_chosen;
}

/* A binary search that takes the first vocabulary within the slack, as the original does. */
static void search(struct learner *l, int size, int reserved)
{
    int64_t high = l->most < UPPER_THRESHOLD ? l->most : UPPER_THRESHOLD;
    int64_t low = l->least > LOWER_THRESHOLD ? l->least : LOWER_THRESHOLD;
    for (;;) {
        const int64_t sum = high + low;
        const int64_t threshold = sum >= 0 ? sum / 2 : (sum - 1) / 2;
        const int entries = learn(l, threshold) + reserved;
        const bool fits = entries <= size && (double)(size - entries) <= SLACK * (double)size;
        if (fits || low >= high || threshold <= 1)
            return;
        if (entries > size)
            low = threshold + 1;
        else
            high = threshold - 1;
    }
}

/* ---- writing it down ---- */

/* Reserved entries, characters in order, then pieces by count; repeats left out, cut at `size`. */
static struct error *write_entries(struct learner *l, int size, const char *const *reserved,
                                   int reserved_count, char **vocabulary, size_t *bytes,
                                   int *entries)
{
    struct error *e = NULL;
    struct counted *list = calloc((size_t)l->n_chosen + 1, sizeof *list);
    FILE *out = list ? open_memstream(vocabulary, bytes) : NULL;
    if (!out) {
        free(list);
        return error_new(ERROR_MEMORY, "no memory for a vocabulary of %d entries", l->n_chosen);
    }
    *entries = 0;
    for (int i = 0; i < reserved_count && *entries < size; i++, (*entries)++)
        fprintf(out, "%s\n", reserved[i]);

    int32_t n = 0;
    for (int32_t i = 0; i < l->n_chosen; i++) {    /* first the characters alone */
        const int32_t p = l->chosen[i];
        list[n].text = string_table_get(l->pieces, p, &list[n].bytes);
        list[n].number = p;
        const bool suffix = list[n].bytes > 2 && !memcmp(list[n].text, "##", 2);
        n += l->is_character[p] && !suffix;
    }
    qsort(list, (size_t)n, sizeof *list, by_text);
    for (int32_t i = 0; i < n; i++) {
        if (*entries < size) {
            fprintf(out, "%s\n", list[i].text);
            (*entries)++;
        }
        l->current[list[i].number] = 0;    /* not again below */
    }

    n = 0;
    for (int32_t i = 0; i < l->n_chosen; i++) {
        const int32_t p = l->chosen[i];
        list[n].text = string_table_get(l->pieces, p, &list[n].bytes);
        list[n].count = l->current[p];
        n += l->current[p] > 0;
    }
    qsort(list, (size_t)n, sizeof *list, by_count);
    for (int32_t i = 0; i < n && *entries < size; i++, (*entries)++)
        fprintf(out, "%s\n", list[i].text);

    if (fclose(out)) {
        free(*vocabulary);
        *vocabulary = NULL;
        e = error_new(ERROR_MEMORY, "no memory for a vocabulary of %d entries", l->n_chosen);
    }
    free(list);
    return e;
}

static void release(struct learner *l)
{
    string_table_destroy(l->folded);
    string_table_destroy(l->pieces);
    string_table_destroy(l->alphabet);
    free(l->folded_counts);
    free(l->words);
    free(l->endings);
    free(l->characters);
    free(l->starts);
    free(l->matches);
    free(l->first_match);
    free(l->counts);
    free(l->current);
    free(l->is_character);
    free(l->chosen);
}

static struct error *prepare(struct learner *l, struct word_counter *const *counters,
                             int counter_count, const char *const *reserved, int reserved_count)
{
    TRY(string_table_create(&l->folded));
    TRY(string_table_create(&l->pieces));
    TRY(string_table_create(&l->alphabet));
    TRY(fold_words(l, counters, counter_count));
    if (string_table_count(l->folded) == 0)
        return error_new(ERROR_INPUT, "the text holds no words to learn a vocabulary from");
    TRY(keep_words(l, reserved, reserved_count));
    TRY(choose_alphabet(l));
    drop_words(l);
    TRY(prepare_pieces(l));
    mark_characters(l);
    return NULL;
}

struct error *wordpiece_learn(struct word_counter *const *counters, int counter_count, int size,
                              const char *const *reserved, int reserved_count, char **vocabulary,
                              size_t *bytes, struct wordpiece_learning *report)
{
    struct learner l = {0};
    int entries = 0;
    struct error *e = prepare(&l, counters, counter_count, reserved, reserved_count);
    if (!e) {
        search(&l, size, reserved_count);
        e = write_entries(&l, size, reserved, reserved_count, vocabulary, bytes, &entries);
    }
    if (!e && report) {
        *report = (struct wordpiece_learning){.entries = entries};
        report->distinct_words = string_table_count(l.folded);
        for (int32_t i = 0; i < report->distinct_words; i++)
            report->words += l.folded_counts[i];
    }
    release(&l);
    return e;
}
