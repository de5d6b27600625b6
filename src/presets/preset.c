/* preset.c - recognising and opening presets, and what their readers share. */
#include "presets/preset.h"

#include "presets/preset_inside.h"
#include "text/tokenizer_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct error *preset_path(char **out, const char *folder, const char *name)
{
    if (asprintf(out, "%s/%s", folder, name) < 0)
        return error_new(ERROR_MEMORY, "no memory for a path");
    return NULL;
}

bool preset_has(const char *folder, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return false;
    const bool there = !access(path, F_OK);
    free(path);
    return there;
}

const char *preset_kind_name(enum preset_kind kind)
{
    static const char *const names[] = {
        [PRESET_NONE] = "no preset", [PRESET_KERAS] = "KerasHub preset",
        [PRESET_HUGGING_FACE] = "Hugging Face model", [PRESET_KERAS_WEIGHTS] = "Keras weights",
    };
    return names[kind];
}

/* Which of the two a folder with a config.json is, as KerasHub tells them apart; a configuration
 * that is damaged or of neither is left to the Keras reader, which says what it lacks. */
static enum preset_kind recognize_folder(const char *path)
{
    char *config_path;
    cJSON *config = NULL;
    if (!preset_has(path, "config.json") || asprintf(&config_path, "%s/config.json", path) < 0)
        return PRESET_NONE;
    error_destroy(json_open(&config, config_path, PRESET_MOST_JSON));
    free(config_path);
    const bool keras = cJSON_HasObjectItem(config, "registered_name");
    const bool hugging_face = !keras && cJSON_HasObjectItem(config, "model_type");
    cJSON_Delete(config);
    return hugging_face ? PRESET_HUGGING_FACE : PRESET_KERAS;
}

enum preset_kind preset_recognize(const char *path)
{
    static const char signature[8] = "\x89HDF\r\n\x1a\n";
    struct stat status;
    char head[8] = {0};
    if (stat(path, &status))
        return PRESET_NONE;
    if (S_ISDIR(status.st_mode))
        return recognize_folder(path);
    FILE *file = fopen(path, "rbe");
    if (!file)
        return PRESET_NONE;
    const bool hdf5 = fread(head, 1, sizeof head, file) == sizeof head &&
                      !memcmp(head, signature, sizeof head);
    fclose(file);
    const size_t n = strlen(path);
    static const char ending[] = ".weights.h5";
    return hdf5 || (n > sizeof ending && !strcmp(path + n - (sizeof ending - 1), ending))
               ? PRESET_KERAS_WEIGHTS
               : PRESET_NONE;
}

struct error *preset_get_size(const cJSON *config, const char *key, const char *path, int most,
                              int *out)
{
    int64_t value;
    TRY(json_get_int(config, key, path, 1, most, &value));
    *out = (int)value;
    return NULL;
}

struct error *preset_read_tokenizer(struct preset *preset, const char *vocabulary_name)
{
    if (!preset_has(preset->path, vocabulary_name))
        return NULL;
    TRY(tokenizer_open(&preset->tokenizer, preset->path, NULL, &(struct wordpiece_options){0},
                       &(struct bpe_options){0}));
    if (tokenizer_size(preset->tokenizer) > preset->spec.V)
        return error_new(ERROR_INPUT, "%s/%s has %d entries, but the model has a vocabulary of %d",
                         preset->path, vocabulary_name, tokenizer_size(preset->tokenizer),
                         preset->spec.V);
    return NULL;
}

/* That every tensor is there, before anybody takes memory for the model. */
static struct error *check_tensors(const struct preset *p)
{
    struct parameters *parameters;
    struct mapping *mapping = NULL;
    TRY(parameters_create(&parameters, &p->spec));
    struct error *e = mapping_create(&mapping, p->layout, &p->spec, parameters);
    if (!e)
        e = mapping_check(mapping, &p->catalog, p->layout, &p->spec);
    mapping_destroy(mapping);
    parameters_destroy(parameters);
    return e;
}

static struct error *read_kind(struct preset *p)
{
    switch (p->kind) {
    case PRESET_KERAS:
        TRY(keras_preset_read(p));
        break;
    case PRESET_HUGGING_FACE:
        TRY(hugging_face_read(p));
        break;
    case PRESET_KERAS_WEIGHTS:
        TRY(keras_weights_read(p));
        break;
    case PRESET_NONE:
        return error_new(ERROR_INPUT, "%s is no KerasHub preset, no Hugging Face model and no "
                         ".weights.h5 file", p->path);
    }
    return check_tensors(p);
}

struct error *preset_open(struct preset **out, const char *path)
{
    struct preset *p = calloc(1, sizeof *p);
    if (p)
        p->path = strdup(path);
    if (!p || !p->path) {
        free(p);
        return error_new(ERROR_MEMORY, "no memory to open %s", path);
    }
    p->preprocessor = (struct preset_preprocessor){.add_start_token = true, .add_end_token = true};
    p->kind = preset_recognize(path);
    p->layout = p->kind == PRESET_HUGGING_FACE ? LAYOUT_HUGGING_FACE : LAYOUT_KERAS;
    struct error *e = read_kind(p);
    if (e) {
        preset_close(p);
        return e;
    }
    *out = p;
    return NULL;
}

void preset_close(struct preset *preset)
{
    if (!preset)
        return;
    tokenizer_destroy(preset->tokenizer);
    catalog_release(&preset->catalog);
    free(preset->path);
    free(preset);
}

enum preset_kind preset_kind(const struct preset *preset)
{
    return preset->kind;
}

const struct model_spec *preset_spec(const struct preset *preset)
{
    return &preset->spec;
}

const struct preset_preprocessor *preset_preprocessor(const struct preset *preset)
{
    return &preset->preprocessor;
}

const struct tokenizer *preset_tokenizer(const struct preset *preset)
{
    return preset->tokenizer;
}

struct error *preset_read(const struct preset *preset, const struct parameters *parameters,
                          float *weights)
{
    struct mapping *mapping;
    TRY(mapping_create(&mapping, preset->layout, &preset->spec, parameters));
    struct error *e = mapping_read(mapping, &preset->catalog, parameters, weights);
    mapping_destroy(mapping);
    return e;
}
