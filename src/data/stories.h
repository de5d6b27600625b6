/*
 * stories.h - short English stories from a seeded probabilistic grammar.
 *
 * Every choice the grammar makes is a draw from known weights and can be seen in the text, at a
 * place where no other choice could have put the same words: so a text has exactly one derivation,
 * and its probability is the product of the probabilities of its choices. The sum of -ln p is the
 * text's exact information content: what no model can go below on average.
 *
 * What happens early matters later: the thing found, or the friend met, gets the hero past what
 * stands in the way. Deterministic on every machine: integer arithmetic only.
 */
#ifndef GALLEY_DATA_STORIES_H
#define GALLEY_DATA_STORIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORY_BYTES = 2048, STORY_CHOICES = 96 };

struct story {
    char text[STORY_BYTES];    /* one line without line feed, null-terminated */
    size_t bytes;
    int sentences;
    int choices[STORY_CHOICES];    /* in the order they were made */
    int choice_count;
    double nats;               /* -ln of the text's probability */
    bool complete;             /* false: story_replay ran out of choices; text is what they made */
    int options;               /* then: how many ways there were to go on */
};

/* Story number `index` of a seed. */
void story_write(struct story *story, uint64_t seed, uint64_t index);
/* The story that given choices make, as far as they go. A choice beyond its options is a bug. */
void story_replay(struct story *story, const int *choices, int count);

#endif
