/* spec.h - the sizes that define a model. Plain data. */
#ifndef GALLEY_MODEL_SPEC_H
#define GALLEY_MODEL_SPEC_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Which architecture: the example's post-norm ReLU blocks with a head of their own, or GPT-2's
 * pre-norm GELU blocks, a final norm and a head tied to the token embedding. */
enum model_family { MODEL_MINI_GPT, MODEL_GPT2 };
enum { MODEL_FAMILIES = MODEL_GPT2 + 1 };

struct model_spec {
    enum model_family family;
    int V;           /* vocabulary size */
    int positions;   /* rows of the position table: the longest sequence */
    int C;           /* channels */
    int NH;          /* heads; each HS = C / NH wide, so NH * HS may be less than C */
    int F;           /* feed-forward width */
    int L;           /* layers */
    float dropout;   /* rate in training, at the places KerasHub has it; 0: none */
};

static inline int spec_head_size(const struct model_spec *spec)
{
    return spec->C / spec->NH;
}

/* "mini-gpt", "gpt2". */
const char *spec_family_name(enum model_family family);
/* The family of that name; false if there is none. */
bool spec_family_find(enum model_family *out, const char *name);
/* Whether two specifications have the same weights; else the first difference, as "channels 256,
 * expected 128" (a is what was found, b what was expected). Dropout may differ: it is no size. */
MUST_USE struct error *spec_compare(const struct model_spec *a, const struct model_spec *b);

#endif
