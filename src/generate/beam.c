/*
 * beam.c - the best of the beams' best continuations.
 *
 * A list of the best so far is kept in order; a candidate goes behind its equals, so those seen
 * first win, as in jax.lax.top_k.
 */
#include "generate/beam.h"

#include <string.h>

void beam_start(struct beam *beams, int count)
{
    for (int b = 0; b < count; b++)
        beams[b] = (struct beam){.score = b == 0 ? 0 : -1e9f};
}

static int insert(struct beam *list, int n, int most, const struct beam *candidate)
{
    int at = n;
    while (at > 0 && candidate->score > list[at - 1].score)
        at--;
    if (n == most)
        n--;
    memmove(list + at + 1, list + at, (size_t)(n - at) * sizeof *list);
    list[at] = *candidate;
    return n + 1;
}

void beam_step(const int32_t *tokens, const float *scores, int count, int k, struct beam *next)
{
    int n = 0;
    for (int b = 0; b < count; b++) {
        for (int i = b * k; i < (b + 1) * k; i++) {
            if (n == count && !(scores[i] > next[n - 1].score))
                break;    /* nor is one of the beam's others */
            n = insert(next, n, count,
                       &(struct beam){.score = scores[i], .from = b, .token = tokens[i]});
        }
    }
}
