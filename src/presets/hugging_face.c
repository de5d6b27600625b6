/* hugging_face.c - reading a Hugging Face folder of a GPT-2. */
#include "formats/safetensors.h"
#include "presets/preset_inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char prefix[] = "transformer.";

/* What our GPT-2 always does; a configuration that asks for something else is another model. */
static const struct {
    const char *key;
    bool expected;
} flags[] = {
    {"scale_attn_weights", true},
    {"scale_attn_by_inverse_layer_idx", false},
    {"tie_word_embeddings", true},
    {"add_cross_attention", false},
};

static struct error *check_architecture(const cJSON *config, const char *path)
{
    static const char *const activations[] = {"gelu_new", "gelu_pytorch_tanh", "gelu_fast"};
    const char *type, *activation = activations[0];
    double epsilon;
    TRY(json_get_text(config, "model_type", path, &type));
    if (strcmp(type, "gpt2"))
        return error_new(ERROR_INPUT, "%s: model_type is \"%s\"; Galley has gpt2 only", path, type);
    if (cJSON_HasObjectItem(config, "activation_function"))
        TRY(json_get_text(config, "activation_function", path, &activation));
    bool known = false;
    for (size_t i = 0; i < sizeof activations / sizeof activations[0]; i++)
        known |= !strcmp(activation, activations[i]);
    if (!known)
        return error_new(ERROR_INPUT, "%s: activation_function is \"%s\", expected gelu_new (the "
                         "tanh form)", path, activation);
    TRY(json_get_number_or(config, "layer_norm_epsilon", path, 1e-5, &epsilon));
    if (fabs(epsilon - 1e-5) > 1e-9)
        return error_new(ERROR_INPUT, "%s: layer_norm_epsilon is %g, expected 1e-5", path, epsilon);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        const cJSON *flag = cJSON_GetObjectItemCaseSensitive(config, flags[i].key);
        if (cJSON_IsBool(flag) && cJSON_IsTrue(flag) != flags[i].expected)
            return error_new(ERROR_INPUT, "%s: %s is %s, expected %s", path, flags[i].key,
                             flags[i].expected ? "false" : "true",
                             flags[i].expected ? "true" : "false");
    }
    return NULL;
}

static struct error *read_spec(struct model_spec *s, const cJSON *config, const char *path)
{
    double dropout;
    TRY(check_architecture(config, path));
    *s = (struct model_spec){.family = MODEL_GPT2};
    TRY(preset_get_size(config, "vocab_size", path, MOST_SIZE, &s->V));
    TRY(preset_get_size(config, "n_layer", path, MOST_LAYERS, &s->L));
    TRY(preset_get_size(config, "n_head", path, MOST_SIZE, &s->NH));
    TRY(preset_get_size(config, "n_embd", path, MOST_SIZE, &s->C));
    TRY(preset_get_size(config, "n_positions", path, MOST_SIZE, &s->positions));
    const cJSON *inner = cJSON_GetObjectItemCaseSensitive(config, "n_inner");
    s->F = 4 * s->C;
    if (inner && !cJSON_IsNull(inner))
        TRY(preset_get_size(config, "n_inner", path, MOST_SIZE, &s->F));
    TRY(json_get_number_or(config, "resid_pdrop", path, 0.1, &dropout));
    if (!(dropout >= 0 && dropout < 1))
        return error_new(ERROR_INPUT, "%s: \"resid_pdrop\" is %g, expected 0 or more "
                         "and less than 1",
                         path, dropout);
    s->dropout = (float)dropout;
    if (s->C % s->NH != 0)
        return error_new(ERROR_INPUT, "%s: n_embd %d is not a multiple of n_head %d", path, s->C,
                         s->NH);
    return NULL;
}

/* The file of the language model and that of the bare model differ in this prefix only. */
static void strip_prefix(struct catalog *catalog)
{
    const size_t n = sizeof prefix - 1;
    for (int i = 0; i < catalog->n; i++) {
        char *name = catalog->tensors[i].name;
        if (!strncmp(name, prefix, n))
            memmove(name, name + n, strlen(name + n) + 1);
    }
}

static struct error *read_weights(struct preset *p)
{
    static const char index_name[] = "model.safetensors.index.json",
                      file_name[] = "model.safetensors";
    char *path;
    const bool sharded = !preset_has(p->path, file_name) && preset_has(p->path, index_name);
    if (!sharded && !preset_has(p->path, file_name) && preset_has(p->path, "pytorch_model.bin"))
        return error_new(ERROR_INPUT, "%s has its weights in pytorch_model.bin, which is Python "
                         "code to run; save them as %s (save_pretrained does)", p->path, file_name);
    TRY(preset_path(&path, p->path, sharded ? index_name : file_name));
    struct error *e = sharded ? safetensors_catalog_index(&p->catalog, p->path, path)
                              : safetensors_catalog(&p->catalog, path);
    free(path);
    TRY(e);
    strip_prefix(&p->catalog);
    return catalog_finish(&p->catalog);
}

struct error *hugging_face_read(struct preset *preset)
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
    TRY(read_weights(preset));
    return preset_read_tokenizer(preset, preset_has(preset->path, "vocab.json") ? "vocab.json"
                                                                                : "tokenizer.json");
}
