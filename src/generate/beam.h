/*
 * beam.h - one step of beam search: which continuations of which beams live on.
 */
#ifndef GALLEY_GENERATE_BEAM_H
#define GALLEY_GENERATE_BEAM_H

#include <stdint.h>

struct beam {
    float score;      /* log-probability of all that was chosen; in fp32, so that ties are
                       * KerasHub's */
    int from;         /* the beam it continues */
    int32_t token;    /* and by what */
};

/* Scores before the first step: only beam 0 counts, since all beams hold the same prompt. */
void beam_start(struct beam *beams, int count);

/*
 * The `count` best of all beams' continuations, best first; among equal scores the lower (beam,
 * token) first. No length penalty. Each beam offers its own k best in that order, as none behind
 * `count` others of its beam can live on: tokens and scores (count, k), k = count or, where there
 * are fewer, all tokens. Writes `next` (count).
 */
void beam_step(const int32_t *tokens, const float *scores, int count, int k, struct beam *next);

#endif
