/* wordpiece_words.c - keeps of all words those that tensorflow_text's learner keeps. */
#include "text/wordpiece_words.h"

#include "text/words.h"

#include <stdlib.h>
#include <string.h>

/* The constants of tensorflow_text's learner that keras_hub leaves as they are. */
enum { MOST_WORDS = 5000000, MOST_CHARACTERS = 1000 };

static int count_characters(const char *text, size_t bytes)
{
    int n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

/* One counter's words, folded. */
static struct error *fold_counter(struct wordpiece_words *w, const struct word_counter *counter,
                                  struct fold *fold)
{
    const struct tally *words = word_counter_words(counter);
    for (int32_t i = 0; i < tally_count(words); i++) {
        size_t bytes;
        const char *word = string_table_get(words->strings, i, &bytes);
        if (word_counter_lowercase(counter)) {
            TRY(fold_word(fold, word, bytes));
            word = fold->text;
            bytes = fold->bytes;
        }
        TRY(tally_add(&w->folded, word, bytes, words->counts[i]));
    }
    return NULL;
}

static struct error *fold_words(struct wordpiece_words *w, struct word_counter *const *counters,
                                int n)
{
    struct fold fold = {0};
    struct error *e = NULL;
    for (int c = 0; c < n && !e; c++)
        e = fold_counter(w, counters[c], &fold);
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
static struct error *keep_words(struct wordpiece_words *w, const char *const *reserved, int n)
{
    const int32_t count = tally_count(&w->folded);
    w->list = calloc((size_t)count + 1, sizeof *w->list);
    if (!w->list)
        return error_new(ERROR_MEMORY, "no memory for %d words", count);
    w->most = 0;
    w->least = INT64_MAX;
    for (int32_t i = 0; i < count; i++) {
        size_t bytes;
        const char *text = string_table_get(w->folded.strings, i, &bytes);
        const int64_t c = w->folded.counts[i];
        w->most = c > w->most ? c : w->most;
        w->least = c < w->least ? c : w->least;
        const int length = count_characters(text, bytes);
        if (length <= WORDPIECE_LONGEST && !is_reserved(text, bytes, reserved, n))
            w->list[w->count++] = (struct kept_word){.text = text, .count = c, .length = length};
    }
    return NULL;
}

/* Words in descending order of count. The original keeps equals in the order it met them, which
 * only decides who is dropped beyond MOST_WORDS; the text decides here, so threads do not
 * matter. */
static int by_word_count(const void *x, const void *y)
{
    const struct kept_word *a = x, *b = y;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return compare_texts(a->text, strlen(a->text), b->text, strlen(b->text));
}

static struct error *count_all_characters(const struct wordpiece_words *w, struct tally *characters)
{
    for (int64_t i = 0; i < w->count; i++)
        for (const char *at = w->list[i].text; *at; at += character_bytes(at))
            TRY(tally_add(characters, at, character_bytes(at), w->list[i].count));
    return NULL;
}

/* The most frequent of them. */
static struct error *choose_alphabet(struct wordpiece_words *w, const struct tally *characters)
{
    const int32_t n = tally_count(characters);
    struct error *e = NULL;
    struct tallied *list = calloc((size_t)n + 1, sizeof *list);
    if (!list)
        return error_new(ERROR_MEMORY, "no memory for %d characters", n);
    for (int32_t i = 0; i < n; i++) {
        list[i].text = string_table_get(characters->strings, i, &list[i].bytes);
        list[i].count = characters->counts[i];
    }
    qsort(list, (size_t)n, sizeof *list, tallied_by_count);
    for (int32_t i = 0; i < n && i < MOST_CHARACTERS && !e; i++)
        e = string_table_add(w->alphabet, list[i].text, list[i].bytes, &list[i].number);
    free(list);
    return e;
}

/* Drops words with a character outside the alphabet; of the rest the most frequent stay. */
static void drop_words(struct wordpiece_words *w)
{
    int64_t kept = 0;
    qsort(w->list, (size_t)w->count, sizeof *w->list, by_word_count);
    for (int64_t i = 0; i < w->count && kept < MOST_WORDS; i++) {
        bool allowed = w->list[i].length > 0;
        for (const char *at = w->list[i].text; *at && allowed; at += character_bytes(at))
            allowed = string_table_find(w->alphabet, at, character_bytes(at)) >= 0;
        if (allowed) {
            w->list[kept] = w->list[i];
            w->list[kept].first = w->places;
            w->places += w->list[kept].length;
            kept++;
        }
    }
    w->count = kept;
}

struct error *wordpiece_words_collect(struct wordpiece_words *words,
                                      struct word_counter *const *counters, int n,
                                      const char *const *reserved, int reserved_count)
{
    struct tally characters = {0};
    TRY(string_table_create(&words->alphabet));
    TRY(fold_words(words, counters, n));
    if (tally_count(&words->folded) == 0)
        return error_new(ERROR_INPUT, "the text holds no words to learn a vocabulary from");
    TRY(keep_words(words, reserved, reserved_count));
    struct error *e = count_all_characters(words, &characters);
    if (!e)
        e = choose_alphabet(words, &characters);
    tally_release(&characters);
    if (!e)
        drop_words(words);
    return e;
}

void wordpiece_words_release(struct wordpiece_words *words)
{
    string_table_destroy(words->alphabet);
    tally_release(&words->folded);
    free(words->list);
}
