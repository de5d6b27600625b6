/*
 * wordpiece_learner.c - finds the threshold whose vocabulary has the right size.
 *
 * tensorflow_text counts every piece of every word, then takes from each piece's count those of all
 * longer pieces it begins. What is left for a piece is exactly the number of places where it
 * reaches to the end of its word: so only whole words, endings "##xyz" of words and single
 * characters can become entries, and it suffices to count those. A learner knows every ending by
 * number; places in words are arrays of numbers, and trying a threshold walks arrays.
 */
#include "text/wordpiece_learner.h"

#include "text/wordpiece_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The constants of tensorflow_text's learner that keras_hub leaves as they are. */
enum { UPPER_THRESHOLD = 10000000, LOWER_THRESHOLD = 10, ITERATIONS = 4 };
static const double SLACK = 0.05;

struct learner {
    struct wordpiece_words words;    /* a word's characters have places */

    struct string_table *pieces;     /* whole words as they are; endings with ## before them */
    int32_t *endings;                /* (places): the piece from this place to the word's end */
    int32_t *characters;             /* (places): the piece of this one character */
    uint32_t *starts;                /* (places): byte offset in the word */
    /* Known pieces that begin at a place, but for its character: (end place in word, piece). */
    struct match {
        int32_t end, piece;
    } *matches;
    int64_t *first_match;            /* (places + 1) */
    int64_t n_matches, match_capacity;

    int64_t *counts;                 /* (pieces), of one iteration */
    int64_t *current;                /* (pieces): count if in the vocabulary being built, else 0 */
    bool *is_character;              /* (pieces): a character, alone or after ## */
    int32_t *chosen;                 /* (pieces): the entries of the last learn, in order */
    int32_t n_chosen;
};

/* The piece of text[0, bytes), with ## before it unless it begins its word. */
static size_t spell(char *piece, const char *text, size_t bytes, bool begins_word)
{
    const size_t marks = begins_word ? 0 : 2;
    memcpy(piece, "##", marks);
    memcpy(piece + marks, text, bytes);
    return marks + bytes;
}

enum { PIECE_BYTES = 2 + 4 * WORDPIECE_LONGEST };

/* Numbers for the ending and the character of every place. */
static struct error *number_places(struct learner *l)
{
    for (int64_t w = 0; w < l->words.count; w++) {
        const struct kept_word *word = &l->words.list[w];
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
                             (long long)l->words.count);
        l->matches = matches;
        l->match_capacity = capacity;
    }
    l->matches[l->n_matches++] = (struct match){.end = end, .piece = piece};
    return NULL;
}

/* For every place the known pieces that begin there, longest first. */
static struct error *find_matches(struct learner *l)
{
    for (int64_t w = 0; w < l->words.count; w++) {
        const struct kept_word *word = &l->words.list[w];
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
    l->first_match[l->words.places] = l->n_matches;
    return NULL;
}

static struct error *prepare_pieces(struct learner *l)
{
    const size_t places = (size_t)l->words.places + 1;
    l->endings = calloc(places, sizeof *l->endings);
    l->characters = calloc(places, sizeof *l->characters);
    l->starts = calloc(places, sizeof *l->starts);
    l->first_match = calloc(places, sizeof *l->first_match);
    if (!l->endings || !l->characters || !l->starts || !l->first_match)
        return error_new(ERROR_MEMORY, "no memory for %lld characters of words",
                         (long long)l->words.places);
    TRY(number_places(l));

    /* Every allowed character may stand alone and after others, wherever it was met. */
    const int32_t letters = string_table_count(l->words.alphabet);
    for (int32_t i = 0; i < letters; i++) {
        char piece[PIECE_BYTES];
        int32_t number;
        size_t bytes;
        const char *text = string_table_get(l->words.alphabet, i, &bytes);
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
    for (int64_t p = 0; p < l->words.places; p++) {
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
static int longest_match(const struct learner *l, const struct kept_word *word, int i)
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
        for (int64_t w = 0; w < l->words.count; w++) {
            const struct kept_word *word = &l->words.list[w];
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
    int64_t high = l->words.most < UPPER_THRESHOLD ? l->words.most : UPPER_THRESHOLD;
    int64_t low = l->words.least > LOWER_THRESHOLD ? l->words.least : LOWER_THRESHOLD;
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
    struct tallied *list = calloc((size_t)l->n_chosen + 1, sizeof *list);
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
    qsort(list, (size_t)n, sizeof *list, tallied_by_text);
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
    qsort(list, (size_t)n, sizeof *list, tallied_by_count);
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
    wordpiece_words_release(&l->words);
    string_table_destroy(l->pieces);
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
    TRY(wordpiece_words_collect(&l->words, counters, counter_count, reserved, reserved_count));
    TRY(string_table_create(&l->pieces));
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
        report->distinct_words = tally_count(&l.words.folded);
        for (int32_t i = 0; i < report->distinct_words; i++)
            report->words += l.words.folded.counts[i];
    }
    release(&l);
    return e;
}
