/*
 * sampler.c - names, numbers and limits of the ways to choose a token; the choice itself is made
 * where the logits are, by the kernels of kernels/choose.h.
 */
#include "generate/sampler.h"

#include "kernels/choose.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [SAMPLER_GREEDY] = "greedy", [SAMPLER_RANDOM] = "random", [SAMPLER_TOP_K] = "top_k",
    [SAMPLER_TOP_P] = "top_p",   [SAMPLER_BEAM] = "beam",     [SAMPLER_CONTRASTIVE] = "contrastive",
};
enum { KINDS = sizeof names / sizeof names[0], MOST_BEAMS = LARGEST_MOST };

static const double LEAST_TEMPERATURE = 1e-6, MOST_TEMPERATURE = 1e6;

struct error *sampler_parse(enum sampler_kind *out, const char *name)
{
    for (int i = 0; i < KINDS; i++) {
        if (!strcmp(name, names[i])) {
            *out = (enum sampler_kind)i;
            return NULL;
        }
    }
    return error_new(ERROR_USAGE, "there is no sampler \"%s\"; it may be greedy, random, top_k, "
                     "top_p, beam or contrastive", name);
}

const char *sampler_name(enum sampler_kind kind)
{
    return names[kind];
}

bool sampler_is_random(enum sampler_kind kind)
{
    return kind == SAMPLER_RANDOM || kind == SAMPLER_TOP_K || kind == SAMPLER_TOP_P;
}

struct error *sampler_check(const struct sampler *sampler)
{
    const struct sampler *s = sampler;
    if (!(s->temperature >= LEAST_TEMPERATURE && s->temperature <= MOST_TEMPERATURE))
        return error_new(ERROR_USAGE, "the temperature is %g; it must be from %g to %g",
                         s->temperature, LEAST_TEMPERATURE, MOST_TEMPERATURE);
    if ((s->kind == SAMPLER_TOP_K || s->kind == SAMPLER_CONTRASTIVE) && s->k < 1)
        return error_new(ERROR_USAGE, "%s's k is %d; it must be 1 or more", names[s->kind], s->k);
    if (s->kind == SAMPLER_CONTRASTIVE && s->k > MOST_BEAMS)
        return error_new(ERROR_USAGE, "contrastive's k is %d; it must be from 1 to %d", s->k,
                         MOST_BEAMS);
    if (s->kind == SAMPLER_CONTRASTIVE && !(s->alpha >= 0 && s->alpha <= 1))
        return error_new(ERROR_USAGE, "contrastive's alpha is %g; it must be from 0 to 1",
                         s->alpha);
    if (s->kind == SAMPLER_TOP_P && s->k < 0)
        return error_new(ERROR_USAGE, "top_p's k is %d; it must be 0 (no cut) or more", s->k);
    if (s->kind == SAMPLER_TOP_P && !(s->p >= 0 && s->p <= 1))
        return error_new(ERROR_USAGE, "top_p's p is %g; it must be from 0 to 1", s->p);
    if (s->kind == SAMPLER_BEAM && (s->beams < 1 || s->beams > MOST_BEAMS))
        return error_new(ERROR_USAGE, "the number of beams is %d; it must be from 1 to %d",
                         s->beams, MOST_BEAMS);
    return NULL;
}

void sampler_describe(const struct sampler *sampler, char *text, size_t bytes)
{
    const struct sampler *s = sampler;
    const char *const name = names[s->kind];
    char own[64] = "", common[64] = "";
    if (s->kind == SAMPLER_TOP_K)
        snprintf(own, sizeof own, ", k %d", s->k);
    else if (s->kind == SAMPLER_TOP_P && s->k > 0)
        snprintf(own, sizeof own, ", p %g, k %d", s->p, s->k);
    else if (s->kind == SAMPLER_TOP_P)
        snprintf(own, sizeof own, ", p %g", s->p);
    else if (s->kind == SAMPLER_BEAM)
        snprintf(own, sizeof own, ", beams %d", s->beams);
    else if (s->kind == SAMPLER_CONTRASTIVE)
        snprintf(own, sizeof own, ", k %d, alpha %g", s->k, s->alpha);

    if (sampler_is_random(s->kind))
        snprintf(common, sizeof common, ", temperature %g, seed %llu", s->temperature,
                 (unsigned long long)s->seed);
    else if (s->kind != SAMPLER_GREEDY)
        snprintf(common, sizeof common, ", temperature %g", s->temperature);
    snprintf(text, bytes, "%s%s%s", name, own, common);
}

void sampler_cut(const struct sampler *sampler, int *most, float *mass)
{
    const struct sampler *s = sampler;
    *most = 0;
    *mass = INFINITY;
    switch (s->kind) {
    case SAMPLER_GREEDY:
        *most = 1;
        break;
    case SAMPLER_TOP_K:
        *most = s->k;
        break;
    case SAMPLER_TOP_P:
        *most = s->k > 0 ? s->k : INT_MAX;
        *mass = (float)s->p;
        break;
    case SAMPLER_RANDOM:
    case SAMPLER_BEAM:
    case SAMPLER_CONTRASTIVE:
        break;
    }
}
