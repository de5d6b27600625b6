/* spec.h - the sizes that define a model. Plain data. */
#ifndef GALLEY_MODEL_SPEC_H
#define GALLEY_MODEL_SPEC_H

#include "base/error.h"

#include <stdint.h>

/* Which architecture: the example's post-norm ReLU decoder with its own head. */
enum model_family { MODEL_MINI_GPT };

struct model_spec {
    enum model_family family;
    int V;           /* vocabulary size */
    int positions;   /* rows of the position table: the longest sequence */
    int C;           /* channels */
    int NH;          /* heads; each HS = C / NH wide, so NH * HS may be less than C */
    int F;           /* feed-forward width */
    int L;           /* layers */
};

static inline int spec_head_size(const struct model_spec *spec)
{
    return spec->C / spec->NH;
}

/* "mini-gpt". */
const char *spec_family_name(enum model_family family);
/* Whether two specifications are the same; else the first difference, as "channels 256, expected 128"
 * (a is what was found, b what was expected). */
MUST_USE struct error *spec_compare(const struct model_spec *a, const struct model_spec *b);

#endif
