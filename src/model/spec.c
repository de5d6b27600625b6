/* spec.c - comparing model specifications. */
#include "model/spec.h"

#include <stddef.h>
#include <string.h>

const char *spec_family_name(enum model_family family)
{
    switch (family) {
    case MODEL_MINI_GPT:
        return "mini-gpt";
    case MODEL_GPT2:
        return "gpt2";
    }
    return "unknown";
}

bool spec_family_find(enum model_family *out, const char *name)
{
    for (int family = 0; family < MODEL_FAMILIES; family++) {
        if (!strcmp(name, spec_family_name((enum model_family)family))) {
            *out = (enum model_family)family;
            return true;
        }
    }
    return false;
}

struct error *spec_compare(const struct model_spec *a, const struct model_spec *b)
{
    if (a->family != b->family)
        return error_new(ERROR_INPUT, "family %s, expected %s", spec_family_name(a->family),
                         spec_family_name(b->family));
    const struct {
        const char *name;
        int found, expected;
    } sizes[] = {
        {"vocabulary_size", a->V, b->V}, {"max_positions", a->positions, b->positions},
        {"channels", a->C, b->C},        {"heads", a->NH, b->NH},
        {"feed_forward", a->F, b->F},    {"layers", a->L, b->L},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].found != sizes[i].expected)
            return error_new(ERROR_INPUT, "%s %d, expected %d", sizes[i].name, sizes[i].found,
                             sizes[i].expected);
    return NULL;
}
