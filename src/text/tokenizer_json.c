/* tokenizer_json.c - takes vocabulary, merges and added tokens out of a tokenizer.json. */
#include "text/tokenizer_json.h"

#include "text/bpe_vocabulary.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ADDED = 4096, SHOWN = 40 };    /* tokens; bytes of a text that an error shows */

static const cJSON *member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static bool absent(const cJSON *item)
{
    return !item || cJSON_IsNull(item);
}

/* ---- what GPT-2's tokenizer is not ---- */

static struct error *check_split(const cJSON *json, const char *name)
{
    const cJSON *split = member(json, "pre_tokenizer"), *type = member(split, "type");
    const char *shown = cJSON_IsString(type) ? type->valuestring : "missing";
    if (strcmp(shown, "ByteLevel"))
        return error_new(ERROR_INPUT, "%s: its pre_tokenizer is %.*s; Galley has GPT-2's ByteLevel only",
                         name, SHOWN, shown);
    if (cJSON_IsTrue(member(split, "add_prefix_space")) || cJSON_IsFalse(member(split, "use_regex")))
        return error_new(ERROR_INPUT, "%s: its pre_tokenizer adds a space or does without the pattern; "
                         "GPT-2's has add_prefix_space false and use_regex true", name);
    if (!absent(member(json, "normalizer")))
        return error_new(ERROR_INPUT, "%s: it has a normalizer; GPT-2's has none", name);
    return NULL;
}

static struct error *check_model(const cJSON *model, const char *name)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    static const char *const switches[] = {"byte_fallback", "ignore_merges"};
    const cJSON *type = member(model, "type");
    if (!cJSON_IsObject(model))
        return error_new(ERROR_INPUT, "%s is no tokenizer.json of Hugging Face: it has no object "
                         "\"model\"", name);
    if (type && (!cJSON_IsString(type) || strcmp(type->valuestring, "BPE")))
        return error_new(ERROR_INPUT, "%s: its model is of type %.*s; Galley has BPE only", name, SHOWN,
                         cJSON_IsString(type) ? type->valuestring : "unknown");
    for (size_t i = 0; i < sizeof affixes / sizeof affixes[0]; i++) {
        const cJSON *affix = member(model, affixes[i]);
        if (!absent(affix) && !(cJSON_IsString(affix) && !*affix->valuestring))
            return error_new(ERROR_INPUT, "%s: \"%s\" is given; GPT-2's is empty", name, affixes[i]);
    }
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
        if (cJSON_IsTrue(member(model, switches[i])))
            return error_new(ERROR_INPUT, "%s: \"%s\" is true; GPT-2's is false", name, switches[i]);
    if (!absent(member(model, "dropout")))
        return error_new(ERROR_INPUT, "%s: it drops merges at random (\"dropout\"); GPT-2's does not",
                         name);
    if (!cJSON_IsObject(member(model, "vocab")) || !cJSON_IsArray(member(model, "merges")))
        return error_new(ERROR_INPUT, "%s: its model must have the object \"vocab\" and the list "
                         "\"merges\"", name);
    return NULL;
}

/* ---- merges ---- */

/* "a b", or since 2024 ["a", "b"]. */
static struct error *print_merges(const cJSON *merges, const char *name, FILE *out)
{
    const cJSON *merge;
    long long number = 1;
    fputs("#version: 0.2\n", out);
    cJSON_ArrayForEach(merge, merges) {
        const cJSON *left = cJSON_GetArrayItem(merge, 0), *right = cJSON_GetArrayItem(merge, 1);
        if (cJSON_IsString(merge) && !strchr(merge->valuestring, '\n'))
            fprintf(out, "%s\n", merge->valuestring);
        else if (cJSON_IsArray(merge) && cJSON_GetArraySize(merge) == 2 && cJSON_IsString(left) &&
                 cJSON_IsString(right) && !strpbrk(left->valuestring, " \n") &&
                 !strpbrk(right->valuestring, " \n"))
            fprintf(out, "%s %s\n", left->valuestring, right->valuestring);
        else
            return error_new(ERROR_INPUT, "%s: merge %lld must be a text of two entries with a space "
                             "between, or a list of the two", name, number);
        number++;
    }
    return NULL;
}

static struct error *write_merges(struct tokenizer_definition *d, const cJSON *merges, const char *name)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, &d->merges_bytes);
    if (!out)
        return error_new(ERROR_MEMORY, "no memory for the merges of %s", name);
    struct error *e = print_merges(merges, name, out);
    if (fclose(out) && !e)
        e = error_new(ERROR_MEMORY, "no memory for the merges of %s", name);
    if (e) {
        free(text);
        return e;
    }
    d->merges = text;
    return NULL;
}

/* ---- vocabulary ---- */

/* A content is the text itself, an entry its bytes as GPT-2's characters. */
static struct error *add_token(cJSON *vocab, const char *content, const cJSON *id, const char *name)
{
    char characters[256][3];
    char *written = malloc(2 * strlen(content) + 1), *to = written;
    if (!written)
        return error_new(ERROR_MEMORY, "no memory for an added token");
    bpe_byte_characters(characters);
    for (const char *from = content; *from; from++)
        to = stpcpy(to, characters[(unsigned char)*from]);
    *to = '\0';
    const cJSON *there = member(vocab, written);
    struct error *e = NULL;
    if (there && there->valueint != id->valueint)
        e = error_new(ERROR_INPUT, "%s: \"%.*s\" has the id %d in the vocabulary and %d among the added "
                      "tokens", name, SHOWN, content, there->valueint, id->valueint);
    else if (!there && !cJSON_AddNumberToObject(vocab, written, id->valuedouble))
        e = error_new(ERROR_MEMORY, "no memory for an added token");
    free(written);
    return e;
}

static struct error *write_vocabulary(struct tokenizer_definition *d, cJSON *vocab, const cJSON *added,
                                      const char *name)
{
    const cJSON *token;
    if (cJSON_GetArraySize(added) > MOST_ADDED)
        return error_new(ERROR_INPUT, "%s has %d added_tokens, more than %d", name,
                         cJSON_GetArraySize(added), MOST_ADDED);
    cJSON_ArrayForEach(token, added) {
        const cJSON *content = member(token, "content"), *id = member(token, "id");
        if (!cJSON_IsString(content) || !*content->valuestring || !cJSON_IsNumber(id))
            return error_new(ERROR_INPUT, "%s: each of added_tokens must have \"content\", a text, and "
                             "\"id\", a number", name);
        TRY(add_token(vocab, content->valuestring, id, name));
    }
    char *text = cJSON_PrintUnformatted(vocab);
    if (!text)
        return error_new(ERROR_MEMORY, "no memory for the vocabulary of %s", name);
    d->vocabulary = text;
    d->vocabulary_bytes = strlen(text);
    return NULL;
}

static struct error *read_json(struct tokenizer_definition *d, const cJSON *json, const char *name)
{
    const cJSON *model = member(json, "model");
    TRY(check_model(model, name));
    TRY(check_split(json, name));
    TRY(write_merges(d, member(model, "merges"), name));
    struct error *e = write_vocabulary(d, cJSON_GetObjectItemCaseSensitive(model, "vocab"),
                                       member(json, "added_tokens"), name);
    if (e) {
        free((void *)(uintptr_t)d->merges);
        d->merges = NULL;
    }
    return e;
}

struct error *tokenizer_json_read(struct tokenizer_definition *definition, const char *text,
                                  size_t bytes, const char *name)
{
    const char *stop = text;
    cJSON *json = cJSON_ParseWithLengthOpts(text, bytes, &stop, 0);
    if (!json)
        return error_new(ERROR_INPUT, "%s is not valid JSON at byte %zu of %zu (or nested too deeply)",
                         name, (size_t)(stop - text), bytes);
    struct error *e = read_json(definition, json, name);
    cJSON_Delete(json);
    return e;
}
