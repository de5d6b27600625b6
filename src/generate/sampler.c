/*
 * sampler.c - distributions, cut as KerasHub cuts them, and draws by inverse CDF.
 *
 * The largest probabilities come from a binary heap of ids: building it costs V, each of those kept
 * log V, whether k of them are wanted or as many as top-p's mass takes. Sums are taken in double
 * and in one order, so a text depends on the logits and the seed alone.
 */
#include "generate/sampler.h"

#include "base/philox.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [SAMPLER_GREEDY] = "greedy", [SAMPLER_RANDOM] = "random", [SAMPLER_TOP_K] = "top_k",
    [SAMPLER_TOP_P] = "top_p",   [SAMPLER_BEAM] = "beam",     [SAMPLER_CONTRASTIVE] = "contrastive",
};
enum { KINDS = sizeof names / sizeof names[0], MOST_BEAMS = 1024 };

static const double LEAST_TEMPERATURE = 1e-6, MOST_TEMPERATURE = 1e6;

struct error *sampler_parse(enum sampler_kind *out, const char *name)
{
    for (int i = 0; i < KINDS; i++) {
        if (!strcmp(name, names[i])) {
            *out = (enum sampler_kind)i;
            return NULL;
        }
    }
    return error_new(ERROR_USAGE, "there is no sampler \"%s\"; it may be greedy, random, top_k, top_p, "
                     "beam or contrastive", name);
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
        return error_new(ERROR_USAGE, "contrastive's alpha is %g; it must be from 0 to 1", s->alpha);
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

static void softmax(const float *logits, int V, float temperature, float *probabilities)
{
    float largest = -INFINITY;
    for (int v = 0; v < V; v++) {
        probabilities[v] = logits[v] / temperature;
        if (probabilities[v] > largest)
            largest = probabilities[v];
    }
    double sum = 0;
    for (int v = 0; v < V; v++) {
        probabilities[v] = expf(probabilities[v] - largest);
        sum += (double)probabilities[v];
    }
    for (int v = 0; v < V; v++)
        probabilities[v] /= (float)sum;
}

/* Of probabilities, not of logits: KerasHub's choice where two that differ round to the same. */
static void keep_first_maximum(float *probabilities, int V)
{
    int best = 0;
    for (int v = 1; v < V; v++)
        if (probabilities[v] > probabilities[best])
            best = v;
    memset(probabilities, 0, (size_t)V * sizeof *probabilities);
    probabilities[best] = 1;
}

/* Larger probability first; among equals the lower id, as in jax.lax.top_k and tf.math.top_k. */
static bool comes_before(const float *probabilities, int a, int b)
{
    return probabilities[a] > probabilities[b] || (probabilities[a] == probabilities[b] && a < b);
}

static void sift_down(const float *probabilities, int *heap, int n, int at)
{
    const int id = heap[at];
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && comes_before(probabilities, heap[child + 1], heap[child]))
            child++;
        if (!comes_before(probabilities, heap[child], id))
            break;
        heap[at] = heap[child];
    }
    heap[at] = id;
}

static void build_heap(const float *probabilities, int *heap, int n)
{
    for (int v = 0; v < n; v++)
        heap[v] = v;
    for (int at = n / 2 - 1; at >= 0; at--)
        sift_down(probabilities, heap, n, at);
}

/* Takes the first of a heap of n; it then stands behind the n - 1 that are left. */
static int take_first(const float *probabilities, int *heap, int n)
{
    const int id = heap[0];
    heap[0] = heap[n - 1];
    sift_down(probabilities, heap, n - 1, 0);
    heap[n - 1] = id;
    return id;
}

/*
 * Keeps the `most` largest, but only while what was kept before is at most `mass`: the entry that
 * crosses it is kept too. KerasHub compares in fp32.
 */
static void keep_largest(float *probabilities, int V, int most, float mass, int *order)
{
    build_heap(probabilities, order, V);
    double sum = 0;
    int left = V;
    while (left > 0 && V - left < most && (left == V || (float)sum <= mass))
        sum += (double)probabilities[take_first(probabilities, order, left--)];

    for (int i = 0; i < left; i++)
        probabilities[order[i]] = 0;
    for (int i = left; i < V; i++)
        probabilities[order[i]] /= (float)sum;
}

void sampler_distribution(const struct sampler *sampler, const float *logits, int V,
                          float *probabilities, int *order)
{
    const struct sampler *s = sampler;
    softmax(logits, V, (float)s->temperature, probabilities);
    switch (s->kind) {
    case SAMPLER_GREEDY:
        keep_first_maximum(probabilities, V);
        break;
    case SAMPLER_TOP_K:
        keep_largest(probabilities, V, s->k, INFINITY, order);
        break;
    case SAMPLER_TOP_P:
        keep_largest(probabilities, V, s->k > 0 ? s->k : V, (float)s->p, order);
        break;
    case SAMPLER_RANDOM:
    case SAMPLER_BEAM:
    case SAMPLER_CONTRASTIVE:
        break;
    }
}

void sampler_largest(const float *probabilities, int V, int k, int *order, int *ids)
{
    build_heap(probabilities, order, V);
    for (int i = 0; i < k; i++)
        ids[i] = take_first(probabilities, order, V - i);
}

int sampler_draw(const struct sampler *sampler, const float *probabilities, int V, int64_t row,
                 int64_t position)
{
    double total = 0;
    for (int v = 0; v < V; v++)
        total += (double)probabilities[v];

    const double point = total * philox_uniform(sampler->seed, (uint64_t)row, (uint64_t)position);
    double sum = 0;
    int drawn = 0;
    for (int v = 0; v < V; v++) {
        if (probabilities[v] > 0) {
            drawn = v;    /* stays the last possible one should rounding put the point at the end */
            sum += (double)probabilities[v];
            if (point < sum)
                break;
        }
    }
    return drawn;
}
