/*
 * wordpiece_learner.h - a WordPiece vocabulary from text, exactly KerasHub's.
 *
 * One call learns from all counters of words; the result does not depend on how text was spread
 * over them.
 *
 * Source: keras_hub compute_word_piece_vocabulary, and tensorflow_text's
 * wordpiece_tokenizer_learner_lib, whose result the algorithm here gives by a shorter way.
 */
#ifndef GALLEY_TEXT_WORDPIECE_LEARNER_H
#define GALLEY_TEXT_WORDPIECE_LEARNER_H

#include "text/word_counter.h"

struct wordpiece_learning {
    int64_t words;             /* counted */
    int64_t distinct_words;    /* after folding */
    int entries;
};

/*
 * A vocabulary of at most `size` entries, `reserved` first: text of one entry a line, for the
 * caller to free. `report` may be NULL. Fewer entries than asked for are normal: the search stops
 * at the first threshold that comes within 5 %.
 */
MUST_USE struct error *wordpiece_learn(struct word_counter *const *counters, int counter_count,
                                       int size, const char *const *reserved, int reserved_count,
                                       char **vocabulary, size_t *bytes,
                                       struct wordpiece_learning *report);

#endif
