/* examples.c - lines and JSON objects as sequences of tokens to be scored. */
#include "data/examples.h"

#include "data/inputs.h"
#include "data/json_field.h"
#include "data/token_file.h"
#include "formats/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TEXT_BYTES = 1 << 29, MOST_ENDINGS = 256 };

struct examples {
    struct dataset *dataset;
    const struct tokenizer *tokenizer;
    struct encoder *encoder;
    enum example_kind kind;
    char *field, *scratch, *text;    /* scratch: a sample; text: the field of one */
    int start;                       /* -1: there is no start token */
    bool always_start;
    int vocabulary_size;
};

const char *example_kind_name(enum example_kind kind)
{
    static const char *const names[] = {
        [EXAMPLES_AUTO] = "auto", [EXAMPLES_TEXT] = "text", [EXAMPLES_LAMBADA] = "lambada",
        [EXAMPLES_HELLASWAG] = "hellaswag",
    };
    return names[kind];
}

void examples_where(const struct examples *examples, int64_t index, char *out, size_t bytes)
{
    const char *path;
    int64_t line;
    dataset_where(examples->dataset, index, &path, &line);
    snprintf(out, bytes, "%s, line %lld", path, (long long)line);
}

/* An error about the example of a number. */
MUST_USE static struct error *wrong(const struct examples *x, int64_t index, const char *format,
                                    ...)
    PRINTF_LIKE(3, 4);

static struct error *wrong(const struct examples *x, int64_t index, const char *format, ...)
{
    char where[512], what[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    examples_where(x, index, where, sizeof where);
    return error_new(ERROR_INPUT, "%s: %s", where, what);
}

/* ---- sequences ---- */

/* The ids of a text behind those that are there. */
static struct error *append_text(struct examples *x, int64_t index, struct example_sequence *s,
                                 const char *text, size_t bytes)
{
    int n;
    if (!x->tokenizer)
        return wrong(x, index, "this is text, and the model has no tokenizer; name its vocabulary "
                     "with --tokenizer, or give token_ids");
    if (bytes > MOST_TEXT_BYTES)
        return wrong(x, index, "a text of %zu bytes; at most %d can be scored in one piece", bytes,
                     MOST_TEXT_BYTES);
    const size_t capacity = (size_t)s->count + bytes + 1;
    int32_t *larger = realloc(s->ids, capacity * sizeof *larger);
    if (!larger)
        return error_new(ERROR_MEMORY, "no memory for the tokens of %zu bytes of text", bytes);
    s->ids = larger;
    TRY(encoder_encode(x->encoder, text, bytes, s->ids + s->count, (int)bytes, &n));
    s->count += n;
    return NULL;
}

/* Only before there are others. */
static struct error *append_start(const struct examples *x, struct example_sequence *s)
{
    s->ids = malloc(sizeof *s->ids);
    if (!s->ids)
        return error_new(ERROR_MEMORY, "no memory for a token");
    s->ids[s->count++] = x->start;
    return NULL;
}

static struct error *begin_context(const struct examples *x, int64_t index,
                                   struct example_sequence *s, bool empty)
{
    if (empty && x->start < 0)
        return wrong(x, index, "nothing stands before what is to be scored, and the vocabulary has "
                     "no start token");
    return x->start >= 0 && (empty || x->always_start) ? append_start(x, s) : NULL;
}

/* One sequence, or one an ending. */
static struct error *make_sequences(struct example *out, int count)
{
    out->sequences = calloc((size_t)count, sizeof *out->sequences);
    if (!out->sequences)
        return error_new(ERROR_MEMORY, "no memory for %d sequences", count);
    out->count = count;
    return NULL;
}

/* ---- texts ---- */

static struct error *read_text(struct examples *x, int64_t index, struct example_sequence *s,
                               const char *text, size_t bytes)
{
    s->first = 1;
    if (x->start >= 0)
        TRY(append_start(x, s));
    return append_text(x, index, s, text, bytes);
}

static struct error *read_last_word(struct examples *x, int64_t index, struct example_sequence *s,
                                    const char *text, size_t bytes)
{
    const char *space = memrchr(text, ' ', bytes);
    if (bytes == 0 || space == text + bytes - 1)
        return wrong(x, index, "the text has no last word: it %s",
                     bytes ? "ends in a space" : "is empty");
    size_t context = space ? (size_t)(space - text) : 0;
    while (context > 0 && text[context - 1] == ' ')
        context--;
    TRY(begin_context(x, index, s, context == 0));
    const int before = s->count;
    TRY(append_text(x, index, s, text, context));
    s->first = s->count;
    s->count = before;
    TRY(append_text(x, index, s, text, bytes));
    if (s->count <= s->first)
        return wrong(x, index, "the last word is no token of its own");
    return NULL;
}

static struct error *read_ids(struct examples *x, int64_t index, struct example_sequence *s,
                              const char *object, size_t bytes)
{
    cJSON *json;
    TRY(json_parse(&json, object, bytes, "an example"));
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "token_ids"), *item;
    const int n = cJSON_GetArraySize(list);
    struct error *e = NULL;
    s->first = 1;
    s->ids = malloc(((size_t)n + 1) * sizeof *s->ids);
    if (!s->ids)
        e = error_new(ERROR_MEMORY, "no memory for %d tokens", n);
    else if (!cJSON_IsArray(list))
        e = wrong(x, index, "token_ids must be a list of numbers");
    cJSON_ArrayForEach(item, list) {
        if (e)
            break;
        if (!cJSON_IsNumber(item) || item->valuedouble != item->valueint || item->valueint < 0 ||
            item->valueint >= x->vocabulary_size)
            e = wrong(x, index, "token_ids must be whole numbers from 0 to %d",
                      x->vocabulary_size - 1);
        else
            s->ids[s->count++] = item->valueint;
    }
    cJSON_Delete(json);
    return e;
}

/* The sequence of a line, or of an object's field or ids. */
static struct error *read_passage(struct examples *x, int64_t index, bool json,
                                  struct example_sequence *s, const char *sample, size_t bytes)
{
    if (json) {
        struct json_record record;
        char names[128];
        if (json_read_field(sample, bytes, x->field, x->text, &record) != JSON_WHOLE)
            return wrong(x, index, "\"%s\" must be a text", x->field);
        if (!record.found) {
            (void)json_read_field(sample, bytes, "token_ids", x->text, &record);
            if (record.found)
                return x->kind == EXAMPLES_TEXT
                           ? read_ids(x, index, s, sample, bytes)
                           : wrong(x, index, "the last word is looked for in texts, "
                                   "not in token_ids");
            json_list_fields(sample, bytes, names, sizeof names);
            return wrong(x, index, "no field \"%s\"; the object has %s; name the one that holds "
                         "the text with --field", x->field, *names ? names : "none");
        }
        sample = x->text;
        bytes = record.text_bytes;
    }
    return x->kind == EXAMPLES_LAMBADA ? read_last_word(x, index, s, sample, bytes)
                                       : read_text(x, index, s, sample, bytes);
}

/* ---- choices ---- */

static struct error *read_label(const struct examples *x, int64_t index, const cJSON *label,
                                int endings, int *out)
{
    double value = cJSON_IsNumber(label) ? label->valuedouble : -1;
    if (cJSON_IsString(label) && *label->valuestring) {    /* as in Hugging Face's copies */
        char *end;
        value = (double)strtol(label->valuestring, &end, 10);
        value = *end ? -1 : value;
    }
    if (!(value >= 0 && value < endings) || floor(value) < value)
        return wrong(x, index, "label must be the number of the right ending, 0 to %d",
                     endings - 1);
    *out = (int)value;
    return NULL;
}

static struct error *read_ending(struct examples *x, int64_t index, struct example_sequence *s,
                                 const char *context, const char *ending)
{
    char *text;
    const size_t bytes = strlen(context);
    TRY(begin_context(x, index, s, bytes == 0));
    TRY(append_text(x, index, s, context, bytes));
    s->first = s->count;
    if (asprintf(&text, " %s", ending) < 0)
        return error_new(ERROR_MEMORY, "no memory for an ending");
    struct error *e = append_text(x, index, s, text, strlen(text));
    free(text);
    if (!e && s->count == s->first)
        e = wrong(x, index, "an ending has no token");
    if (!e && s->first == 0)
        e = wrong(x, index, "the context has no token");
    return e;
}

static struct error *read_choice(struct examples *x, int64_t index, struct example *out,
                                 const cJSON *json)
{
    const cJSON *context = cJSON_GetObjectItemCaseSensitive(json, "ctx");
    const cJSON *endings = cJSON_GetObjectItemCaseSensitive(json, "endings"), *ending;
    const int n = cJSON_GetArraySize(endings);
    int i = 0;
    if (!cJSON_IsString(context) || !cJSON_IsArray(endings) || n < 2 || n > MOST_ENDINGS)
        return wrong(x, index, "expected an object of \"ctx\" (a text), \"endings\" (a list of 2 "
                     "to %d texts) and \"label\"", MOST_ENDINGS);
    TRY(read_label(x, index, cJSON_GetObjectItemCaseSensitive(json, "label"), n, &out->label));
    TRY(make_sequences(out, n));
    cJSON_ArrayForEach(ending, endings) {
        if (!cJSON_IsString(ending))
            return wrong(x, index, "endings must be texts");
        TRY(read_ending(x, index, &out->sequences[i++], context->valuestring, ending->valuestring));
    }
    return NULL;
}

/* ---- reading ---- */

static struct error *read_sample(struct examples *x, int64_t index, struct example *out)
{
    const char *sample;
    size_t bytes;
    bool json;
    cJSON *object;
    TRY(dataset_sample(x->dataset, index, x->scratch, &sample, &bytes));
    TRY(dataset_sample_is_json(x->dataset, index, &json));
    if (x->kind != EXAMPLES_HELLASWAG) {
        TRY(make_sequences(out, 1));
        return read_passage(x, index, json, &out->sequences[0], sample, bytes);
    }
    if (!json)
        return wrong(x, index, "endings to choose from stand in JSON objects, in a file "
                     ".jsonl or .json");
    TRY(json_parse(&object, sample, bytes, "an example"));
    struct error *e = read_choice(x, index, out, object);
    cJSON_Delete(object);
    return e;
}

/* A model may have fewer tokens than the tokenizer that was named for it. */
static struct error *check_ids(const struct examples *x, int64_t index,
                               const struct example *example)
{
    for (int i = 0; i < example->count; i++)
        for (int k = 0; k < example->sequences[i].count; k++)
            if (example->sequences[i].ids[k] >= x->vocabulary_size)
                return wrong(x, index, "token %d is outside the model's vocabulary of %d",
                             (int)example->sequences[i].ids[k], x->vocabulary_size);
    return NULL;
}

struct error *examples_read(struct examples *examples, int64_t index, struct example *out)
{
    *out = (struct example){0};
    struct error *e = read_sample(examples, index, out);
    if (!e)
        e = check_ids(examples, index, out);
    if (e)
        example_release(out);
    return e;
}

void example_release(struct example *example)
{
    for (int i = 0; i < example->count; i++)
        free(example->sequences[i].ids);
    free(example->sequences);
    *example = (struct example){0};
}

/* ---- opening ---- */

static struct error *find_kind(struct examples *x)
{
    const char *sample;
    size_t bytes;
    bool json;
    struct json_record record;
    if (x->kind != EXAMPLES_AUTO)
        return NULL;
    TRY(dataset_sample(x->dataset, 0, x->scratch, &sample, &bytes));
    TRY(dataset_sample_is_json(x->dataset, 0, &json));
    x->kind = json && json_read_field(sample, bytes, "endings", x->text, &record) == JSON_WHOLE &&
                      record.found
                  ? EXAMPLES_HELLASWAG
                  : EXAMPLES_TEXT;
    return NULL;
}

static struct error *refuse_tokens(const struct examples_options *options)
{
    struct inputs inputs;
    TRY(inputs_expand(&inputs, options->data.inputs, options->data.input_count,
                      options->data.name));
    struct error *e = NULL;
    for (int i = 0; i < inputs.count && !e; i++) {
        bool tokens;
        e = token_file_is_one(inputs.files[i].path, &tokens);
        if (!e && tokens)
            e = error_new(ERROR_USAGE, "%s holds tokens, and single examples are scored of text or "
                          "JSON; galley evaluate tells the loss on tokens", inputs.files[i].path);
    }
    inputs_release(&inputs);
    return e;
}

static struct error *open_all(struct examples *x, const struct examples_options *options)
{
    struct dataset_options data = options->data;
    data.field = "";
    data.min_bytes = 0;
    x->field = strdup(options->data.field ? options->data.field : "text");
    if (!x->field)
        return error_new(ERROR_MEMORY, "no memory for the name of a field");
    TRY(refuse_tokens(options));
    TRY(dataset_open(&x->dataset, &data));
    const size_t bytes = dataset_scratch_bytes(x->dataset);
    x->scratch = malloc(bytes);
    x->text = malloc(bytes);
    if (!x->scratch || !x->text)
        return error_new(ERROR_MEMORY, "no memory for the longest example (%zu bytes)", 2 * bytes);
    if (x->tokenizer)
        TRY(encoder_create(&x->encoder, x->tokenizer));
    return find_kind(x);
}

struct error *examples_open(struct examples **out, const struct examples_options *options)
{
    struct examples *x = calloc(1, sizeof *x);
    if (!x)
        return error_new(ERROR_MEMORY, "no memory to open the examples");
    x->kind = options->kind;
    x->tokenizer = options->tokenizer;
    x->start = options->tokenizer ? tokenizer_start_id(options->tokenizer) : -1;
    x->always_start = options->always_start;
    x->vocabulary_size = options->vocabulary_size;
    struct error *e = open_all(x, options);
    if (e) {
        examples_close(x);
        return e;
    }
    *out = x;
    return NULL;
}

void examples_close(struct examples *examples)
{
    if (!examples)
        return;
    encoder_destroy(examples->encoder);
    dataset_close(examples->dataset);
    free(examples->field);
    free(examples->scratch);
    free(examples->text);
    free(examples);
}

enum example_kind examples_kind(const struct examples *examples)
{
    return examples->kind;
}

int64_t examples_count(const struct examples *examples)
{
    return dataset_samples(examples->dataset);
}
