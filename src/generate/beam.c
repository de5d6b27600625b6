/*
 * beam.c - the best continuations, found in one pass.
 *
 * A list of the best so far is kept in order; a candidate goes behind its equals, so those seen
 * first win, as in jax.lax.top_k. Few candidates pass the list's last score, so the pass costs
 * little more than its logarithms.
 */
#include "generate/beam.h"

#include <math.h>
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

void beam_step(const struct beam *beams, const float *probabilities, int count, int V,
               struct beam *next)
{
    int n = 0;
    for (int b = 0; b < count; b++) {
        for (int v = 0; v < V; v++) {
            const float score = logf(probabilities[(int64_t)b * V + v]) + beams[b].score;
            if (n == count && !(score > next[n - 1].score))
                continue;
            n = insert(next, n, count, &(struct beam){.score = score, .from = b, .token = v});
        }
    }
}
