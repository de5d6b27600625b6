/* corpus.c - inputs opened as one blend of samples. */
#include "data/corpus.h"

#include "data/packed_tokens.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

/* One source of the blend: lines or tokens. */
struct part {
    struct dataset *dataset;
    struct text_rows rows;
    struct packed_tokens *tokens;
    uint64_t fingerprint;
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
        return error_new(ERROR_USAGE, "data.weights has %d numbers; at most %d inputs "
                         "can be blended",
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

/* Tokens or text? Files of both in one input are an error. */
static struct error *find_kind(const struct corpus_options *o, const struct inputs *inputs,
                               enum corpus_kind *kind)
{
    *kind = o->kind;
    if (o->kind != CORPUS_AUTO)
        return NULL;
    bool first = false;
    for (int i = 0; i < inputs->count; i++) {
        bool tokens;
        TRY(token_file_is_one(inputs->files[i].path, &tokens));
        if (i == 0)
            first = tokens;
        if (tokens != first)
            return error_new(ERROR_INPUT, "%s holds %s, %s holds %s; give the %s data in one form",
                             inputs->files[0].path, first ? "tokens" : "text",
                             inputs->files[i].path, tokens ? "tokens" : "text", o->data.name);
    }
    *kind = first ? CORPUS_TOKENS : CORPUS_LINES;
    return NULL;
}

static struct error *open_lines(struct corpus *c, struct part *part, const struct corpus_options *o,
                                const struct dataset_options *data)
{
    TRY(dataset_open(&part->dataset, data));
    part->rows = (struct text_rows){
        .dataset = part->dataset, .tokenizer = o->tokenizer, .format = o->format,
        .add_start = o->add_start, .add_end = o->add_end};
    part->fingerprint = dataset_fingerprint(part->dataset);
    c->samples[c->count++] = text_rows_samples(&part->rows);
    return NULL;
}

static struct error *open_tokens(struct corpus *c, struct part *part,
                                 const struct corpus_options *o,
                                 const struct inputs *inputs, const char *name)
{
    TRY(packed_tokens_open(&part->tokens, &(struct packed_tokens_options){
        .inputs = inputs, .name = name, .tokenizer = o->tokenizer,
        .vocabulary_size = o->vocabulary_size, .T = o->T, .mask_documents = o->mask_documents,
        .restart_positions = o->restart_positions}));
    part->fingerprint = packed_tokens_fingerprint(part->tokens);
    c->samples[c->count++] = packed_tokens_samples(part->tokens);
    return NULL;
}

static struct error *open_part(struct corpus *c, const struct corpus_options *o,
                               const struct dataset_options *data)
{
    struct part *const part = &c->parts[c->count];
    struct inputs inputs;
    enum corpus_kind kind;
    TRY(inputs_expand(&inputs, data->inputs, data->input_count, o->data.name));
    struct error *e = find_kind(o, &inputs, &kind);
    if (!e)
        e = kind == CORPUS_TOKENS ? open_tokens(c, part, o, &inputs, data->name)
                                  : open_lines(c, part, o, data);
    inputs_release(&inputs);
    TRY(e);
    if (c->count > 1 && !part->tokens != !c->parts[0].tokens)
        return error_new(ERROR_INPUT, "input %d of the %s data holds %s, the first %s; both must "
                         "be text or tokens", c->count, o->data.name,
                         part->tokens ? "tokens" : "text", part->tokens ? "text" : "tokens");
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
    c->blend.lanes = options->global_batch;
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
    for (int k = 0; k < BLEND_SOURCES; k++) {
        dataset_close(corpus->parts[k].dataset);
        packed_tokens_close(corpus->parts[k].tokens);
    }
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

bool corpus_has_lanes(const struct corpus *corpus)
{
    return corpus->blend.shuffle && (corpus->blend.shares[0] || corpus->samples[0].block > 1);
}

uint64_t corpus_fingerprint(const struct corpus *corpus)
{
    if (!corpus->blend.shares[0])
        return corpus->parts[0].fingerprint;
    uint64_t hash = 0;
    for (int k = 0; k < corpus->count; k++) {
        const uint64_t facts[] = {hash, corpus->parts[k].fingerprint,
                                  (uint64_t)corpus->blend.shares[k]};
        hash = XXH3_64bits(facts, sizeof facts);
    }
    return hash;
}

void corpus_describe(const struct corpus *corpus, char *out, size_t bytes)
{
    int64_t tokens = 0;
    for (int k = 0; k < corpus->count; k++)
        if (corpus->parts[k].tokens)
            tokens += packed_tokens_count(corpus->parts[k].tokens);
    if (tokens)
        snprintf(out, bytes, "%lld samples of %lld tokens", (long long)corpus_samples(corpus),
                 (long long)tokens);
    else
        snprintf(out, bytes, "%lld samples", (long long)corpus_samples(corpus));
}

void corpus_where(const struct corpus *corpus, int64_t number, char *out, size_t bytes)
{
    const char *path;
    int64_t place;
    int k = 0;
    for (; number >= corpus->samples[k].count; k++)
        number -= corpus->samples[k].count;
    if (corpus->parts[k].tokens) {
        packed_tokens_where(corpus->parts[k].tokens, number, &path, &place);
        snprintf(out, bytes, "%s, token %lld", path, (long long)place);
    } else {
        dataset_where(corpus->parts[k].dataset, number, &path, &place);
        snprintf(out, bytes, "%s, line %lld", path, (long long)place);
    }
}
