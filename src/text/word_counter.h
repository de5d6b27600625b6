/*
 * word_counter.h - the words of texts (words.h), counted for a vocabulary to be learned.
 *
 * Each thread fills a counter of its own from pieces of text, which no word crosses: lines or whole
 * files.
 */
#ifndef GALLEY_TEXT_WORD_COUNTER_H
#define GALLEY_TEXT_WORD_COUNTER_H

#include "text/tally.h"
#include "text/tokenizer.h"

struct word_counter;

MUST_USE struct error *word_counter_create(struct word_counter **out,
                                           const struct wordpiece_options *options);
void word_counter_destroy(struct word_counter *counter);
/* Counts the words of a text. One thread a counter. */
MUST_USE struct error *word_counter_add(struct word_counter *counter, const char *text,
                                        size_t bytes);
/* What was counted, words as they stand in the text, and whether they are to be folded. */
const struct tally *word_counter_words(const struct word_counter *counter);
bool word_counter_lowercase(const struct word_counter *counter);

#endif
