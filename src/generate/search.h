/* search.h - the searches over several branches of a row; for src/generate only. */
#ifndef GALLEY_GENERATE_SEARCH_H
#define GALLEY_GENERATE_SEARCH_H

#include "generate/generate.h"

/* Beam search over prompts (rows, length). `all` true: tokens (rows, beams, length), scores (rows,
 * beams) and ends (rows, beams), best first; false: the best beam of each row. scores, ends may be
 * NULL. tokens may be prompts unless `all`. */
MUST_USE struct error *search_beams(const struct generation *g, const int32_t *prompts, bool all,
                                    int32_t *tokens, double *scores, int *ends);

/* Contrastive search: fills `tokens` (rows, length) behind the prompts; ends (rows) may be NULL. */
MUST_USE struct error *search_contrastive(const struct generation *g, int32_t *tokens, int *ends);

#endif
