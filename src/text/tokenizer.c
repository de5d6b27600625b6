/* tokenizer.c - what all kinds of tokenizer share; the rest is each kind's. */
#include "text/tokenizer.h"

#include "text/tokenizer_kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const struct {
    const char *name;
    const struct tokenizer_ops *ops;
} kinds[] = {
    [TOKENIZER_WORDPIECE] = {"wordpiece", &wordpiece_ops},
    [TOKENIZER_BPE] = {"bpe", &bpe_ops},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

const char *tokenizer_kind_name(enum tokenizer_kind kind)
{
    return kinds[kind].name;
}

struct error *tokenizer_kind_parse(enum tokenizer_kind *out, const char *name)
{
    for (int i = 0; i < KINDS; i++)
        if (!strcmp(name, kinds[i].name)) {
            *out = (enum tokenizer_kind)i;
            return NULL;
        }
    return error_new(ERROR_INPUT, "\"%s\" is no kind of tokenizer; there are: wordpiece, bpe",
                     name);
}

static struct error *copy_text(const char **copy, const char *text, size_t bytes)
{
    char *own = malloc(bytes + 1);
    if (!own)
        return error_new(ERROR_MEMORY, "no memory for the vocabulary (%zu bytes)", bytes);
    if (bytes > 0)
        memcpy(own, text, bytes);
    own[bytes] = '\0';
    *copy = own;
    return NULL;
}

static struct error *copy_definition(struct tokenizer *t, const struct tokenizer_definition *from)
{
    struct tokenizer_definition *to = &t->definition;
    *to = *from;
    to->name = to->vocabulary = to->merges = to->added = NULL;
    TRY(copy_text(&to->name, from->name, strlen(from->name)));
    TRY(copy_text(&to->vocabulary, from->vocabulary, from->vocabulary_bytes));
    if (from->merges)
        TRY(copy_text(&to->merges, from->merges, from->merges_bytes));
    return from->added ? copy_text(&to->added, from->added, from->added_bytes) : NULL;
}

struct error *tokenizer_create(struct tokenizer **out,
                               const struct tokenizer_definition *definition)
{
    const struct tokenizer_ops *ops = kinds[definition->kind].ops;
    struct tokenizer *t = calloc(1, ops->tokenizer_bytes);
    if (!t)
        return error_new(ERROR_MEMORY, "no memory for the tokenizer (%zu bytes)",
                         ops->tokenizer_bytes);
    t->ops = ops;
    t->start = t->end = -1;
    struct error *e = copy_definition(t, definition);
    if (!e)
        e = ops->load(t);
    if (e) {
        tokenizer_destroy(t);
        return e;
    }
    *out = t;
    return NULL;
}

struct error *tokenizer_create_wordpiece(struct tokenizer **out, const char *vocabulary,
                                         size_t bytes, const char *name,
                                         const struct wordpiece_options *options)
{
    return tokenizer_create(out, &(struct tokenizer_definition){
        .kind = TOKENIZER_WORDPIECE, .name = name, .vocabulary = vocabulary,
        .vocabulary_bytes = bytes, .wordpiece = *options});
}

struct error *tokenizer_create_bpe(struct tokenizer **out, const char *vocabulary,
                                   size_t vocabulary_bytes, const char *merges,
                                   size_t merges_bytes, const char *name,
                                   const struct bpe_options *options)
{
    return tokenizer_create(out, &(struct tokenizer_definition){
        .kind = TOKENIZER_BPE, .name = name, .vocabulary = vocabulary,
        .vocabulary_bytes = vocabulary_bytes, .merges = merges, .merges_bytes = merges_bytes,
        .bpe = *options});
}

void tokenizer_destroy(struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    tokenizer->ops->destroy(tokenizer);
    free(tokenizer->entries);
    free((void *)(uintptr_t)tokenizer->definition.name);
    free((void *)(uintptr_t)tokenizer->definition.vocabulary);
    free((void *)(uintptr_t)tokenizer->definition.merges);
    free((void *)(uintptr_t)tokenizer->definition.added);
    free(tokenizer);
}

const struct tokenizer_definition *tokenizer_definition(const struct tokenizer *tokenizer)
{
    return &tokenizer->definition;
}

uint64_t tokenizer_fingerprint(const struct tokenizer *tokenizer)
{
    const struct tokenizer_definition *d = &tokenizer->definition;
    struct wordpiece_options wordpiece = {.split = false};    /* the other kind's decide nothing */
    struct bpe_options bpe = {.special_as_text = false};
    if (d->kind == TOKENIZER_BPE)
        bpe = d->bpe;
    else
        wordpiece = d->wordpiece;
    const uint64_t facts[] = {
        (uint64_t)d->kind, wordpiece.lowercase, wordpiece.strip_accents, wordpiece.split,
        wordpiece.split_on_cjk, bpe.special_as_text,
        XXH3_64bits(d->vocabulary, d->vocabulary_bytes),
        d->merges ? XXH3_64bits(d->merges, d->merges_bytes) : 0,
    };
    const uint64_t hash = XXH3_64bits(facts, sizeof facts);
    return d->added ? XXH3_64bits_withSeed(d->added, d->added_bytes, hash) : hash;
}

int tokenizer_size(const struct tokenizer *tokenizer)
{
    return tokenizer->size;
}

int tokenizer_find(const struct tokenizer *tokenizer, const char *entry)
{
    return tokenizer->ops->find(tokenizer, entry, strlen(entry));
}

int tokenizer_start_id(const struct tokenizer *tokenizer)
{
    return tokenizer->start;
}

int tokenizer_end_id(const struct tokenizer *tokenizer)
{
    return tokenizer->end;
}

int tokenizer_pad_id(const struct tokenizer *tokenizer)
{
    return tokenizer->pad;
}

const char *tokenizer_start_name(const struct tokenizer *tokenizer)
{
    return tokenizer->ops->start_name;
}

const char *tokenizer_entry(const struct tokenizer *tokenizer, int id, size_t *bytes)
{
    if (id < 0 || id >= tokenizer->size)
        return NULL;
    *bytes = tokenizer->entries[id].bytes;
    return tokenizer->entries[id].text;
}

struct error *encoder_create(struct encoder **out, const struct tokenizer *tokenizer)
{
    return tokenizer->ops->encoder_create(out, tokenizer);
}

void encoder_destroy(struct encoder *encoder)
{
    if (encoder)
        encoder->tokenizer->ops->encoder_destroy(encoder);
}

struct error *encoder_encode(struct encoder *encoder, const char *text, size_t bytes, int32_t *ids,
                             int capacity, int *count)
{
    return encoder->tokenizer->ops->encode(encoder, text, bytes, ids, capacity, count);
}

size_t tokenizer_text_bytes(const struct tokenizer *tokenizer, int32_t id, bool first)
{
    const struct tokenizer *t = tokenizer;
    if (id < 0 || id >= t->size || id == t->start || id == t->end)
        return 0;
    const struct token_text x = t->ops->text(t, id, first);
    return x.space + x.bytes;
}

static struct error *check_ids(const struct tokenizer *t, const int32_t *ids, int count)
{
    for (int i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= t->size)
            return error_new(ERROR_INPUT, "token id %d is outside the vocabulary of %d",
                             (int)ids[i], t->size);
    return NULL;
}

struct error *tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, int count,
                               char **text, size_t *bytes)
{
    const struct tokenizer *t = tokenizer;
    TRY(check_ids(t, ids, count));
    size_t length = 0;
    for (int i = 0; i < count; i++) {
        const struct token_text x = t->ops->text(t, ids[i], i == 0);
        length += x.space + x.bytes;
    }
    char *result = malloc(length + 1);
    if (!result)
        return error_new(ERROR_MEMORY, "no memory for the text of %d tokens", count);
    char *to = result;
    for (int i = 0; i < count; i++) {
        const struct token_text x = t->ops->text(t, ids[i], i == 0);
        if (x.space)
            *to++ = ' ';
        memcpy(to, x.text, x.bytes);
        to += x.bytes;
    }
    *to = '\0';
    *text = result;
    if (bytes)
        *bytes = length;
    return NULL;
}
