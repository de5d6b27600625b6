/* tokenizer_json.c - takes vocabulary, merges and added tokens out of a tokenizer.json, and puts
 * them into one. */
#include "text/tokenizer_json.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 40 };    /* bytes of a text that an error shows */

static const char end_token[] = "<|endoftext|>";

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
        return error_new(ERROR_INPUT, "%s: its pre_tokenizer is %.*s; Galley has GPT-2's "
                         "ByteLevel only",
                         name, SHOWN, shown);
    if (cJSON_IsTrue(member(split, "add_prefix_space")) || cJSON_IsFalse(member(split, "use_regex")))
        return error_new(ERROR_INPUT, "%s: its pre_tokenizer adds a space or does without the "
                         "pattern; GPT-2's has add_prefix_space false and use_regex true", name);
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
        return error_new(ERROR_INPUT, "%s: its model is of type %.*s; Galley has BPE only", name,
                         SHOWN, cJSON_IsString(type) ? type->valuestring : "unknown");
    for (size_t i = 0; i < sizeof affixes / sizeof affixes[0]; i++) {
        const cJSON *affix = member(model, affixes[i]);
        if (!absent(affix) && !(cJSON_IsString(affix) && !*affix->valuestring))
            return error_new(ERROR_INPUT, "%s: \"%s\" is given; GPT-2's is empty", name,
                             affixes[i]);
    }
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
        if (cJSON_IsTrue(member(model, switches[i])))
            return error_new(ERROR_INPUT, "%s: \"%s\" is true; GPT-2's is false", name,
                             switches[i]);
    if (!absent(member(model, "dropout")))
        return error_new(ERROR_INPUT, "%s: it drops merges at random (\"dropout\"); "
                         "GPT-2's does not",
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
            return error_new(ERROR_INPUT, "%s: merge %lld must be a text of two entries with a "
                             "space between, or a list of the two", name, number);
        number++;
    }
    return NULL;
}

static struct error *write_merges(struct tokenizer_definition *d, const cJSON *merges,
                                  const char *name)
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

/* ---- vocabulary and added tokens ---- */

static struct error *print(const char **text, size_t *bytes, const cJSON *json, const char *name)
{
    char *printed = cJSON_PrintUnformatted(json);
    if (!printed)
        return error_new(ERROR_MEMORY, "no memory for the vocabulary of %s", name);
    *text = printed;
    *bytes = strlen(printed);
    return NULL;
}

/* Whether a list says no more than what holds without one: that the end token is what the
 * vocabulary has for it. */
static bool is_end_token_alone(const cJSON *added, const cJSON *vocabulary)
{
    const cJSON *token = cJSON_GetArrayItem(added, 0), *content = member(token, "content");
    const cJSON *id = member(token, "id"), *entry = member(vocabulary, end_token);
    return cJSON_GetArraySize(added) == 1 && cJSON_IsString(content) &&
           !strcmp(content->valuestring, end_token) && cJSON_IsNumber(id) &&
           cJSON_IsNumber(entry) && id->valuedouble == entry->valuedouble &&
           cJSON_IsTrue(member(token, "special")) && !cJSON_IsTrue(member(token, "single_word")) &&
           !cJSON_IsTrue(member(token, "lstrip")) && !cJSON_IsTrue(member(token, "rstrip"));
}

static struct error *write_added(struct tokenizer_definition *d, const cJSON *json,
                                 const cJSON *vocabulary, const char *name)
{
    const cJSON *added = member(json, "added_tokens");
    if (absent(added) || cJSON_GetArraySize(added) == 0 || is_end_token_alone(added, vocabulary))
        return NULL;
    return print(&d->added, &d->added_bytes, added, name);
}

static struct error *read_json(struct tokenizer_definition *d, const cJSON *json, const char *name)
{
    const cJSON *model = member(json, "model"), *vocabulary = member(model, "vocab");
    TRY(check_model(model, name));
    TRY(check_split(json, name));
    TRY(write_merges(d, member(model, "merges"), name));
    TRY(print(&d->vocabulary, &d->vocabulary_bytes, vocabulary, name));
    return write_added(d, json, vocabulary, name);
}

static struct error *read_added(struct tokenizer_definition *d, const cJSON *json, const char *name)
{
    TRY(check_model(member(json, "model"), name));
    TRY(check_split(json, name));
    /* NULL where it is no JSON, which whoever makes a tokenizer of it will say */
    cJSON *vocabulary = cJSON_ParseWithLength(d->vocabulary, d->vocabulary_bytes);
    struct error *e = write_added(d, json, vocabulary, name);
    cJSON_Delete(vocabulary);
    return e;
}

static struct error *parse(cJSON **out, const char *text, size_t bytes, const char *name)
{
    const char *stop = text;
    *out = cJSON_ParseWithLengthOpts(text, bytes, &stop, 0);
    if (!*out)
        return error_new(ERROR_INPUT, "%s is not valid JSON at byte %zu of %zu (or "
                         "nested too deeply)",
                         name, (size_t)(stop - text), bytes);
    return NULL;
}

struct error *tokenizer_json_read(struct tokenizer_definition *definition, const char *text,
                                  size_t bytes, const char *name)
{
    cJSON *json;
    TRY(parse(&json, text, bytes, name));
    struct error *e = read_json(definition, json, name);
    cJSON_Delete(json);
    return e;
}

struct error *tokenizer_json_read_added(struct tokenizer_definition *definition, const char *text,
                                        size_t bytes, const char *name)
{
    cJSON *json;
    TRY(parse(&json, text, bytes, name));
    struct error *e = read_added(definition, json, name);
    cJSON_Delete(json);
    return e;
}

/* ---- writing ---- */

/* A line of merges.txt as a string of JSON. */
static void print_merge(FILE *out, const char *line, size_t bytes)
{
    fputc('"', out);
    for (size_t i = 0; i < bytes; i++) {
        if (line[i] == '"' || line[i] == '\\')
            fputc('\\', out);
        fputc(line[i], out);
    }
    fputc('"', out);
}

static void print_merge_list(FILE *out, const struct tokenizer_definition *d)
{
    static const char header[] = "#version";
    const char *at = d->merges, *end = d->merges + d->merges_bytes;
    bool first = true;
    for (; at < end; at++) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        const char *stop = feed ? feed : end;
        const size_t bytes = (size_t)(stop - at) - (stop > at && stop[-1] == '\r');
        const bool is_header = at == d->merges && bytes >= sizeof header - 1 &&
                               !memcmp(at, header, sizeof header - 1);
        if (bytes > 0 && !is_header) {
            fputs(first ? "" : ",", out);
            print_merge(out, at, bytes);
            first = false;
        }
        at = stop;
    }
}

/* The added tokens, the end token among them if the tokenizer has one. */
static struct error *print_added(FILE *out, const struct tokenizer *t)
{
    const struct tokenizer_definition *d = tokenizer_definition(t);
    cJSON *list = d->added ? cJSON_ParseWithLength(d->added, d->added_bytes) : cJSON_CreateArray();
    bool listed = tokenizer_end_id(t) < 0;
    const cJSON *token;
    cJSON_ArrayForEach(token, list)
        listed |= !strcmp(member(token, "content")->valuestring, end_token);
    char *text = list ? cJSON_PrintUnformatted(list) : NULL;
    cJSON_Delete(list);
    if (!text)
        return error_new(ERROR_MEMORY, "no memory for the added tokens");
    const size_t bytes = strlen(text) - 1;    /* without the bracket */
    fwrite(text, 1, bytes, out);
    free(text);
    if (!listed)
        fprintf(out, "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                "\"rstrip\":false,\"normalized\":false,\"special\":true}", bytes > 1 ? "," : "",
                tokenizer_end_id(t), end_token);
    fputc(']', out);
    return NULL;
}

struct error *tokenizer_json_write(const struct tokenizer *tokenizer, char **text, size_t *bytes)
{
    const struct tokenizer_definition *d = tokenizer_definition(tokenizer);
    char *written = NULL;
    FILE *out = open_memstream(&written, bytes);
    if (!out)
        return error_new(ERROR_MEMORY, "no memory for tokenizer.json");
    fputs("{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":", out);
    struct error *e = print_added(out, tokenizer);
    fprintf(out, ",\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
            "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
            "\"post_processor\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
            "\"trim_offsets\":false,\"use_regex\":true},\"decoder\":{\"type\":\"ByteLevel\","
            "\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},"
            "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
            "\"continuing_subword_prefix\":\"\",\"end_of_word_suffix\":\"\",\"fuse_unk\":false,"
            "\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":%s,\"merges\":[",
            d->vocabulary);
    print_merge_list(out, d);
    fputs("]}}\n", out);
    if (fclose(out) && !e)
        e = error_new(ERROR_MEMORY, "no memory for tokenizer.json");
    if (e) {
        free(written);
        return e;
    }
    *text = written;
    return NULL;
}
