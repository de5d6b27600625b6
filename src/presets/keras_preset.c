/* keras_preset.c - reading a KerasHub preset's folder, and plain files of Keras weights. */
#include "formats/keras_h5.h"
#include "presets/preset_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The class, whatever the package was called then: "keras_hub>GPT2Backbone", "keras_nlp>...". */
static struct error *check_class(const cJSON *config, const char *path)
{
    const char *name;
    TRY(json_get_text(config, "registered_name", path, &name));
    const char *class = strchr(name, '>');
    if (!class || strcmp(class + 1, "GPT2Backbone"))
        return error_new(ERROR_INPUT, "%s describes a %s; Galley has keras_hub>GPT2Backbone only",
                         path, name);
    return NULL;
}

static struct error *check_heads(const struct model_spec *s, const char *path)
{
    if (s->NH > s->C)
        return error_new(ERROR_INPUT, "%s: %d heads need at least as many channels, not %d", path,
                         s->NH, s->C);
    return NULL;
}

static struct error *read_spec(struct model_spec *s, const cJSON *json, const char *path)
{
    const cJSON *config;
    double dropout;
    TRY(check_class(json, path));
    TRY(json_get_object(json, "config", path, &config));
    *s = (struct model_spec){.family = MODEL_GPT2};
    TRY(preset_get_size(config, "vocabulary_size", path, MOST_SIZE, &s->V));
    TRY(preset_get_size(config, "num_layers", path, MOST_LAYERS, &s->L));
    TRY(preset_get_size(config, "num_heads", path, MOST_SIZE, &s->NH));
    TRY(preset_get_size(config, "hidden_dim", path, MOST_SIZE, &s->C));
    TRY(preset_get_size(config, "intermediate_dim", path, MOST_SIZE, &s->F));
    TRY(preset_get_size(config, "max_sequence_length", path, MOST_SIZE, &s->positions));
    TRY(json_get_number_or(config, "dropout", path, 0.1, &dropout));
    if (!(dropout >= 0 && dropout < 1))
        return error_new(ERROR_INPUT, "%s: \"dropout\" is %g, expected 0 or more and less than 1",
                         path, dropout);
    s->dropout = (float)dropout;
    return check_heads(s, path);
}

static struct error *read_weights(struct preset *p)
{
    static const char index_name[] = "model.weights.json", file_name[] = "model.weights.h5";
    char *path;
    const bool sharded = !preset_has(p->path, file_name) && preset_has(p->path, index_name);
    TRY(preset_path(&path, p->path, sharded ? index_name : file_name));
    struct error *e = sharded ? keras_h5_catalog_index(&p->catalog, p->path, path)
                              : keras_h5_catalog(&p->catalog, path);
    free(path);
    return e;
}

static struct error *read_bool(const cJSON *config, const char *key, const char *path, bool *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, key);
    if (item && !cJSON_IsBool(item))
        return error_new(ERROR_INPUT, "%s: \"%s\" must be true or false", path, key);
    if (item)
        *out = cJSON_IsTrue(item);
    return NULL;
}

static struct error *read_preprocessor(struct preset *p, const cJSON *json, const char *path)
{
    const cJSON *config, *length;
    TRY(json_get_object(json, "config", path, &config));
    TRY(read_bool(config, "add_start_token", path, &p->preprocessor.add_start_token));
    TRY(read_bool(config, "add_end_token", path, &p->preprocessor.add_end_token));
    length = cJSON_GetObjectItemCaseSensitive(config, "sequence_length");
    if (!length || cJSON_IsNull(length))
        return NULL;
    return preset_get_size(config, "sequence_length", path, p->spec.positions,
                           &p->preprocessor.sequence_length);
}

static struct error *read_preprocessor_file(struct preset *p)
{
    static const char name[] = "preprocessor.json";
    char *path;
    cJSON *json = NULL;
    if (!preset_has(p->path, name))
        return NULL;
    TRY(preset_path(&path, p->path, name));
    struct error *e = json_open(&json, path, PRESET_MOST_JSON);
    if (!e)
        e = read_preprocessor(p, json, path);
    cJSON_Delete(json);
    free(path);
    return e;
}

struct error *keras_preset_read(struct preset *preset)
{
    char *path;
    cJSON *config = NULL;
    TRY(preset_path(&path, preset->path, "config.json"));
    struct error *e = json_open(&config, path, PRESET_MOST_JSON);
    if (!e)
        e = read_spec(&preset->spec, config, path);
    cJSON_Delete(config);
    free(path);
    TRY(e);
    TRY(read_preprocessor_file(preset));
    TRY(read_weights(preset));
    return preset_read_tokenizer(preset, "assets/tokenizer/vocabulary.json");
}

/* ---- plain weights: sizes off the shapes ---- */

/* Dimension `d` of a tensor that must be there with `dimensions` of them. */
static struct error *size_of(const struct catalog *catalog, const char *name, int dimensions, int d,
                             int *out)
{
    const struct catalog_tensor *t = catalog_find(catalog, name);
    if (!t)
        return error_new(ERROR_INPUT, "%s has no %s", catalog_name(catalog), name);
    if (t->dimensions != dimensions || t->shape[d] < 1 || t->shape[d] > MOST_SIZE) {
        char shape[128];
        catalog_print_shape(shape, sizeof shape, t->shape, t->dimensions);
        return error_new(ERROR_INPUT, "%s: %s has shape %s, expected %d dimensions of 1 to %d",
                         catalog_name(catalog), name, shape, dimensions, MOST_SIZE);
    }
    *out = (int)t->shape[d];
    return NULL;
}

static int count_layers(const struct catalog *catalog)
{
    for (int l = 0;; l++) {
        char layer[64], name[160];
        mapping_layer_name(layer, sizeof layer, LAYOUT_KERAS, l);
        snprintf(name, sizeof name, "%s/_self_attention_layer_norm/vars/0", layer);
        if (!catalog_find(catalog, name))
            return l;
    }
}

struct error *keras_weights_read(struct preset *preset)
{
    static const char mini_tokens[] = "/layers/token_and_position_embedding/token_embedding/vars/0",
                      mini_positions[] =
                          "/layers/token_and_position_embedding/position_embedding/vars/0",
                      tokens[] = "/layers/reversible_embedding/vars/0",
                      positions[] = "/layers/position_embedding/vars/0",
                      query[] = "/layers/transformer_decoder/_self_attention_layer/query_dense/vars/0",
                      ffn[] = "/layers/transformer_decoder/_feedforward_intermediate_dense/vars/0";
    struct model_spec *s = &preset->spec;
    const struct catalog *c = &preset->catalog;
    int head_size;
    TRY(keras_h5_catalog(&preset->catalog, preset->path));
    const bool mini = catalog_find(c, mini_tokens) != NULL;
    if (!mini && !catalog_find(c, tokens))
        return error_new(ERROR_INPUT, "%s has neither %s (the mini-GPT) nor %s (GPT-2): it holds "
                         "the weights of another model", preset->path, mini_tokens, tokens);
    s->family = mini ? MODEL_MINI_GPT : MODEL_GPT2;
    s->dropout = mini ? 0 : 0.1f;    /* KerasHub's defaults; files of weights do not say */
    TRY(size_of(c, mini ? mini_tokens : tokens, 2, 0, &s->V));
    TRY(size_of(c, mini ? mini_tokens : tokens, 2, 1, &s->C));
    TRY(size_of(c, mini ? mini_positions : positions, 2, 0, &s->positions));
    TRY(size_of(c, query, 3, 1, &s->NH));
    TRY(size_of(c, query, 3, 2, &head_size));
    TRY(size_of(c, ffn, 2, 1, &s->F));
    s->L = count_layers(c);
    TRY(check_heads(s, preset->path));
    if (s->L == 0 || spec_head_size(s) != head_size)
        return error_new(ERROR_INPUT, "%s has %d layers and %d heads of %d channels; a model of %d "
                         "channels has heads of %d", preset->path, s->L, s->NH, head_size, s->C,
                         spec_head_size(s));
    return NULL;
}
