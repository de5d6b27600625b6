/* keras_preset_write.c - the folder of a KerasHub preset, file by file as save_to_preset writes
 * it. */
#include "base/log.h"
#include "presets/preset_inside.h"
#include "text/bpe_vocabulary.h"
#include "text/string_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { SHOWN = 40 };    /* bytes of a text that an error shows */

/* The versions whose files these are; readers want to know. */
static const char keras_version[] = "3.15.1", keras_hub_version[] = "0.32.0";

static const char *const dtypes[] = {
    [ELEMENT_F32] = "float32", [ELEMENT_F16] = "float16", [ELEMENT_BF16] = "bfloat16",
};

/* JSON is written as Keras prints it: indented by 4, from depth `at` of an object's members on. */
static void print_head(FILE *out, int at, const char *module, const char *class)
{
    fprintf(out, "{\n%*s\"module\": \"keras_hub.src.models.gpt2.%s\",\n%*s\"class_name\": \"%s\",\n"
            "%*s\"config\": {\n", at, "", module, at, "", class, at, "");
}

static void print_tail(FILE *out, int at, const char *class)
{
    fprintf(out, "\n%*s},\n%*s\"registered_name\": \"keras_hub>%s\"\n%*s}", at, "", at, "", class,
            at - 4, "");
}

static void print_common(FILE *out, int at, const char *name, const char *dtype)
{
    fprintf(out,
            "%*s\"name\": \"%s\",\n%*s\"trainable\": true,\n%*s\"dtype\": {\n"
            "%*s\"module\": \"keras\",\n%*s\"class_name\": \"DTypePolicy\",\n"
            "%*s\"config\": {\n%*s\"name\": \"%s\"\n%*s},\n%*s\"registered_name\": null\n%*s},\n",
            at, "", name, at, "", at, "", at + 4, "", at + 4, "", at + 4, "", at + 8, "", dtype,
            at + 4, "", at + 4, "", at, "");
}

static void print_backbone(FILE *out, int at, const struct preset_content *c)
{
    const struct model_spec *s = c->spec;
    print_head(out, at, "gpt2_backbone", "GPT2Backbone");
    print_common(out, at + 4, "gpt2_backbone", dtypes[c->type]);
    const struct {
        const char *key;
        int value;
    } sizes[] = {
        {"vocabulary_size", s->V}, {"num_layers", s->L}, {"num_heads", s->NH},
        {"hidden_dim", s->C}, {"intermediate_dim", s->F},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        fprintf(out, "%*s\"%s\": %d,\n", at + 4, "", sizes[i].key, sizes[i].value);
    fprintf(out, s->dropout > 0 ? "%*s\"dropout\": %.7g,\n" : "%*s\"dropout\": %.1f,\n", at + 4, "",
            (double)s->dropout);
    fprintf(out, "%*s\"max_sequence_length\": %d", at + 4, "", s->positions);
    print_tail(out, at, "GPT2Backbone");
}

static void print_tokenizer(FILE *out, int at, const struct preset_content *c)
{
    (void)c;
    print_head(out, at, "gpt2_tokenizer", "GPT2Tokenizer");
    print_common(out, at + 4, "gpt2_tokenizer", "int32");
    fprintf(out, "%*s\"config_file\": \"tokenizer.json\",\n%*s\"sequence_length\": null,\n"
            "%*s\"add_prefix_space\": false,\n%*s\"unsplittable_tokens\": [\n"
            "%*s\"<|endoftext|>\"\n%*s]", at + 4, "", at + 4, "", at + 4, "", at + 4, "", at + 8,
            "", at + 4, "");
    print_tail(out, at, "GPT2Tokenizer");
}

static void print_preprocessor(FILE *out, int at, const struct preset_content *c)
{
    print_head(out, at, "gpt2_causal_lm_preprocessor", "GPT2CausalLMPreprocessor");
    print_common(out, at + 4, "gpt2_causal_lm_preprocessor", "float32");
    fprintf(out, "%*s\"tokenizer\": ", at + 4, "");
    print_tokenizer(out, at + 8, c);
    fprintf(out, ",\n%*s\"config_file\": \"preprocessor.json\",\n%*s\"sequence_length\": %d,\n"
            "%*s\"add_start_token\": true,\n%*s\"add_end_token\": true", at + 4, "", at + 4, "",
            c->spec->positions, at + 4, "", at + 4, "");
    print_tail(out, at, "GPT2CausalLMPreprocessor");
}

static void print_task(FILE *out, int at, const struct preset_content *c)
{
    print_head(out, at, "gpt2_causal_lm", "GPT2CausalLM");
    fprintf(out, "%*s\"backbone\": ", at + 4, "");
    print_backbone(out, at + 8, c);
    fprintf(out, ",\n%*s\"preprocessor\": ", at + 4, "");
    print_preprocessor(out, at + 8, c);
    fprintf(out, ",\n%*s\"name\": \"gpt2_causal_lm\"", at + 4, "");
    print_tail(out, at, "GPT2CausalLM");
}

static void print_metadata(FILE *out, int at, const struct preset_content *c)
{
    char date[64] = "";
    const time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local))
        strftime(date, sizeof date, "%Y-%m-%d@%H:%M:%S", &local);
    fprintf(out, "{\n%*s\"keras_version\": \"%s\",\n%*s\"keras_hub_version\": \"%s\",\n"
            "%*s\"parameter_count\": %" PRId64 ",\n%*s\"date_saved\": \"%s\",\n"
            "%*s\"tasks\": [\n%*s\"CausalLM\"\n%*s]\n}", at, "", keras_version, at, "",
            keras_hub_version, at, "", c->parameters->count, at, "", date, at, "", at + 4, "", at,
            "");
}

static struct error *write_json(const char *folder, const char *name,
                                void (*print)(FILE *, int, const struct preset_content *),
                                const struct preset_content *content)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out)
        return error_new(ERROR_MEMORY, "no memory for %s", name);
    print(out, 4, content);
    struct error *e = fclose(out) ? error_new(ERROR_MEMORY, "no memory for %s", name)
                                  : preset_write_text(folder, name, text, bytes);
    free(text);
    return e;
}

static struct error *make_folder(const char *folder, const char *name)
{
    char *path;
    TRY(preset_path(&path, folder, name));
    struct error *e =
        mkdir(path, 0777) ? error_errno(ERROR_IO, "cannot make the folder %s", path) : NULL;
    free(path);
    return e;
}

/* An entry as vocabulary.json writes it, for the caller to free; NULL: no memory. */
static char *written_entry(const struct tokenizer *t, int id)
{
    char characters[256][3];
    size_t bytes;
    const char *entry = tokenizer_entry(t, id, &bytes);
    char *written = malloc(2 * bytes + 1), *to = written;
    bpe_byte_characters(characters);
    for (size_t i = 0; written && i < bytes; i++)
        to = stpcpy(to, characters[(unsigned char)entry[i]]);
    return written;
}

/* `keys` are those of the vocabulary. */
static struct error *add_entry(cJSON *vocabulary, struct string_table *keys, const char *written,
                               int id)
{
    int32_t number;
    const int32_t before = string_table_count(keys);
    TRY(string_table_add(keys, written, strlen(written), &number));
    if (number != before)
        return error_new(ERROR_USAGE, "KerasHub's vocabulary.json cannot hold the added token %d, "
                         "which it would write as \"%.*s\", as it does another entry; convert with "
                         "--to huggingface", id, SHOWN, written);
    return cJSON_AddNumberToObject(vocabulary, written, id)
               ? NULL : error_new(ERROR_MEMORY, "no memory for the vocabulary");
}

static struct error *add_entries(cJSON *vocabulary, struct string_table *keys,
                                 const struct tokenizer *t)
{
    int32_t number;
    const int own = cJSON_GetArraySize(vocabulary);
    const cJSON *item;
    cJSON_ArrayForEach(item, vocabulary)
        TRY(string_table_add(keys, item->string, strlen(item->string), &number));
    for (int id = own; id < tokenizer_size(t); id++) {
        char *written = written_entry(t, id);
        struct error *e = written ? add_entry(vocabulary, keys, written, id)
                                  : error_new(ERROR_MEMORY, "no memory for the vocabulary");
        free(written);
        TRY(e);
    }
    return NULL;
}

/*
 * KerasHub's tokenizer finds no added token in a text but the end token. The others become entries
 * of its vocabulary, so that their ids have a text; `*text` is for the caller to free.
 */
static struct error *vocabulary_with_added(const struct tokenizer *t, char **text)
{
    struct string_table *keys;
    const struct tokenizer_definition *d = tokenizer_definition(t);
    TRY(string_table_create(&keys));
    cJSON *vocabulary = cJSON_ParseWithLength(d->vocabulary, d->vocabulary_bytes);
    struct error *e = add_entries(vocabulary, keys, t);
    *text = e ? NULL : cJSON_PrintUnformatted(vocabulary);
    cJSON_Delete(vocabulary);
    string_table_destroy(keys);
    return e || *text ? e : error_new(ERROR_MEMORY, "no memory for the vocabulary");
}

static struct error *write_vocabulary(const char *folder, const struct tokenizer *t)
{
    static const char name[] = "assets/tokenizer/vocabulary.json";
    const struct tokenizer_definition *d = tokenizer_definition(t);
    char *text;
    if (!d->added)
        return preset_write_text(folder, name, d->vocabulary, d->vocabulary_bytes);
    TRY(vocabulary_with_added(t, &text));
    struct error *e = preset_write_text(folder, name, text, strlen(text));
    free(text);
    log_warning("KerasHub's tokenizer knows no added tokens but <|endoftext|>: the others of this "
                "one get their ids and are decoded, but in a text to encode they are "
                "letters and signs");
    return e;
}

static struct error *write_tokenizer(const char *folder, const struct preset_content *content)
{
    const struct tokenizer_definition *d = tokenizer_definition(content->tokenizer);
    TRY(make_folder(folder, "assets"));
    TRY(make_folder(folder, "assets/tokenizer"));
    TRY(write_vocabulary(folder, content->tokenizer));
    TRY(preset_write_text(folder, "assets/tokenizer/merges.txt", d->merges, d->merges_bytes));
    TRY(write_json(folder, "tokenizer.json", print_tokenizer, content));
    TRY(write_json(folder, "preprocessor.json", print_preprocessor, content));
    return write_json(folder, "task.json", print_task, content);
}

struct error *keras_preset_write(const char *folder, const struct preset_content *content)
{
    if (content->spec->family != MODEL_GPT2)
        return error_new(ERROR_USAGE, "KerasHub has no preset for a model of the family %s; write "
                         "its weights as a .weights.h5 file",
                         spec_family_name(content->spec->family));
    if (content->tokenizer)    /* first, as it may be refused */
        TRY(write_tokenizer(folder, content));
    TRY(write_json(folder, "config.json", print_backbone, content));
    TRY(write_json(folder, "metadata.json", print_metadata, content));
    return keras_weights_write_preset(folder, content);
}
