/* word_counter.c - cuts texts into words, and counts. */
#include "text/word_counter.h"

#include "text/words.h"

#include <stdlib.h>

struct word_counter {
    struct wordpiece_options options;
    struct tally words;
    struct fold accents;
};

struct error *word_counter_create(struct word_counter **out,
                                  const struct wordpiece_options *options)
{
    struct word_counter *c = calloc(1, sizeof *c);
    if (!c)
        return error_new(ERROR_MEMORY, "no memory to count words (%zu bytes)", sizeof *c);
    c->options = *options;
    *out = c;
    return NULL;
}

void word_counter_destroy(struct word_counter *counter)
{
    if (!counter)
        return;
    tally_release(&counter->words);
    fold_release(&counter->accents);
    free(counter);
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
        TRY(tally_add(&c->words, word, word_bytes, 1));
    return NULL;
}

const struct tally *word_counter_words(const struct word_counter *counter)
{
    return &counter->words;
}

bool word_counter_lowercase(const struct word_counter *counter)
{
    return counter->options.lowercase;
}
