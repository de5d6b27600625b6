/* corpus.c - inputs opened as one blend of samples. */
#include "data/corpus.h"

#include "data/text_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

/* One source of the blend. */
struct part {
    struct dataset *dataset;
    struct text_rows rows;
};

struct corpus {
    struct part parts[BLEND_SOURCES];
    struct samples samples[BLEND_SOURCES];
    int count;
    struct blend blend;
};

static struct error *parse_weights(const struct corpus_options *o, double *weights)
{
    if (o->weight_count != o->data.input_count)
        return error_new(ERROR_USAGE, "data.weights has %d numbers for %d inputs of %s data; give "
                         "one an input", o->weight_count, o->data.input_count, o->data.name);
    if (o->weight_count > BLEND_SOURCES)
        return error_new(ERROR_USAGE, "data.weights has %d numbers; at most %d inputs can be blended",
                         o->weight_count, BLEND_SOURCES);
    for (int k = 0; k < o->weight_count; k++) {
        char *end;
        errno = 0;
        weights[k] = strtod(o->weights[k], &end);
        if (end == o->weights[k] || *end || errno || !(weights[k] > 0 && weights[k] < 1e12))
            return error_new(ERROR_USAGE, "data.weights has \"%s\"; weights are numbers over 0",
                             o->weights[k]);
    }
    return NULL;
}

static struct error *open_part(struct corpus *c, const struct corpus_options *o,
                               const struct dataset_options *data)
{
    struct part *const part = &c->parts[c->count];
    TRY(dataset_open(&part->dataset, data));
    part->rows = (struct text_rows){.dataset = part->dataset, .tokenizer = o->tokenizer};
    c->samples[c->count++] = text_rows_samples(&part->rows);
    return NULL;
}

/* Each input a source, with a name of its own in the cache. */
static struct error *open_weighted(struct corpus *c, const struct corpus_options *o)
{
    double weights[BLEND_SOURCES];
    TRY(parse_weights(o, weights));
    for (int k = 0; k < o->weight_count; k++) {
        char name[64];
        struct dataset_options data = o->data;
        snprintf(name, sizeof name, "%s-%d", o->data.name, k + 1);
        data.name = name;
        data.inputs = &o->data.inputs[k];
        data.input_count = 1;
        TRY(open_part(c, o, &data));
    }
    c->blend.count = c->count;
    return blend_share(&c->blend, weights);
}

struct error *corpus_open(struct corpus **out, const struct corpus_options *options)
{
    struct corpus *c = calloc(1, sizeof *c);
    if (!c)
        return error_new(ERROR_MEMORY, "no memory to open the %s data", options->data.name);
    c->blend = blend_of(c->samples, options->seed, options->shuffle);
    struct error *e = options->weight_count ? open_weighted(c, options)
                                            : open_part(c, options, &options->data);
    if (e) {
        corpus_close(c);
        return e;
    }
    *out = c;
    return NULL;
}

void corpus_close(struct corpus *corpus)
{
    if (!corpus)
        return;
    for (int k = 0; k < BLEND_SOURCES; k++)
        dataset_close(corpus->parts[k].dataset);
    free(corpus);
}

const struct blend *corpus_blend(const struct corpus *corpus)
{
    return &corpus->blend;
}

int64_t corpus_samples(const struct corpus *corpus)
{
    return blend_samples(&corpus->blend);
}

uint64_t corpus_fingerprint(const struct corpus *corpus)
{
    if (!corpus->blend.shares[0])
        return dataset_fingerprint(corpus->parts[0].dataset);
    uint64_t hash = 0;
    for (int k = 0; k < corpus->count; k++) {
        const uint64_t facts[] = {hash, dataset_fingerprint(corpus->parts[k].dataset),
                                  (uint64_t)corpus->blend.shares[k]};
        hash = XXH3_64bits(facts, sizeof facts);
    }
    return hash;
}
