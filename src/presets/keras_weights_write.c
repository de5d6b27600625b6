/* keras_weights_write.c - weights as Keras files, with a group for each layer as Keras writes
 * them. */
#include "formats/keras_h5.h"
#include "presets/preset_inside.h"
#include "presets/shards.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct layer {
    const char *path, *name;
};

/* Of a decoder block, behind its own path; the block and those without a name of their own, which
 * Keras numbers, are named in add_block. */
static const struct layer block_layers[] = {
    {"/_feedforward_dropout", "feedforward_dropout"},
    {"/_feedforward_intermediate_dense", "feedforward_intermediate_dense"},
    {"/_feedforward_layer_norm", "feedforward_layer_norm"},
    {"/_feedforward_output_dense", "feedforward_output_dense"},
    {"/_self_attention_dropout", "self_attention_dropout"},
    {"/_self_attention_layer", "self_attention"},
    {"/_self_attention_layer/key_dense", "key"},
    {"/_self_attention_layer/output_dense", "attention_output"},
    {"/_self_attention_layer/query_dense", "query"},
    {"/_self_attention_layer/value_dense", "value"},
    {"/_self_attention_layer_norm", "self_attention_layer_norm"},
    {NULL, NULL},
};

static const struct layer backbone_layers[] = {
    {"", "gpt2_backbone"},
    {"/layers/add", "embeddings_add"},
    {"/layers/dropout", "embeddings_dropout"},
    {"/layers/input_layer", "token_ids"},
    {"/layers/input_layer_1", "padding_mask"},
    {"/layers/layer_normalization", "layer_norm"},
    {"/layers/position_embedding", "position_embedding"},
    {"/layers/reversible_embedding", "token_embedding"},
    {NULL, NULL},
};

static const struct layer causal_lm_layers[] = {
    {"", "gpt2_causal_lm"},
    {"/layers/input_layer", "padding_mask"},
    {"/layers/input_layer_1", "token_ids"},
    {NULL, NULL},
};

static const struct layer mini_gpt_layers[] = {
    {"", "functional"},
    {"/layers/dense", "dense"},
    {"/layers/input_layer", "input_layer"},
    {"/layers/token_and_position_embedding", "token_and_position_embedding"},
    {"/layers/token_and_position_embedding/position_embedding", "position_embedding"},
    {"/layers/token_and_position_embedding/token_embedding", "token_embedding"},
    {NULL, NULL},
};

static struct error *add_layers(struct keras_h5_writer *w, const char *prefix,
                                const struct layer *layers)
{
    for (; layers->path; layers++)
        TRY(keras_h5_add_layer(w, prefix, layers->path, layers->name));
    return NULL;
}

/* "softmax", "softmax_1", ... */
static struct error *add_numbered(struct keras_h5_writer *w, const char *parent, const char *path,
                                  const char *name, int number)
{
    char numbered[64];
    if (number == 0)
        return keras_h5_add_layer(w, parent, path, name);
    snprintf(numbered, sizeof numbered, "%s_%d", name, number);
    return keras_h5_add_layer(w, parent, path, numbered);
}

static struct error *add_block(struct keras_h5_writer *w, const char *prefix, bool gpt2, int l)
{
    char layer[64], path[128], name[64];
    mapping_layer_name(layer, sizeof layer, LAYOUT_KERAS, l);
    snprintf(path, sizeof path, "%s%s", prefix, layer);
    if (gpt2)
        snprintf(name, sizeof name, "transformer_layer_%d", l);
    else
        snprintf(name, sizeof name, "%s", strrchr(layer, '/') + 1);
    TRY(keras_h5_add_layer(w, path, "", name));
    TRY(add_layers(w, path, block_layers));
    TRY(add_numbered(w, path, "/_self_attention_layer/_dropout_layer", "dropout", l));
    return add_numbered(w, path, "/_self_attention_layer/_softmax", "softmax", l);
}

/* Every layer of the model, below `prefix`. */
static struct error *add_model(struct keras_h5_writer *w, const char *prefix,
                               const struct model_spec *spec)
{
    const bool gpt2 = spec->family == MODEL_GPT2;
    TRY(add_layers(w, prefix, gpt2 ? backbone_layers : mini_gpt_layers));
    for (int l = 0; l < spec->L; l++)
        TRY(add_block(w, prefix, gpt2, l));
    return NULL;
}

/* "PATH" of "PATH/vars/0" into `layer`. */
static void layer_of(char *layer, size_t bytes, const char *tensor)
{
    snprintf(layer, bytes, "%s", tensor);
    *strrchr(layer, '/') = '\0';
    *strrchr(layer, '/') = '\0';
}

/* The tensors [first, end) of the mapping; `whole`: all layers' groups are there, else each is made
 * with its first variable, as in a shard. */
static struct error *add_tensors(struct keras_h5_writer *w, const char *prefix, bool whole,
                                 const struct mapping *m, int first, int end,
                                 const struct preset_content *content)
{
    char layer[CATALOG_NAME_BYTES], previous[CATALOG_NAME_BYTES] = "";
    struct error *e = NULL;
    float *data = malloc((size_t)m->most_elements * sizeof *data);
    if (!data)
        return error_new(ERROR_MEMORY, "no memory for a tensor of %" PRId64 " elements",
                         m->most_elements);
    for (int i = first; i < end && !e; i++) {
        struct catalog_tensor t = m->list[i].tensor;
        catalog_set_name(&t, "%s%s", prefix, m->list[i].tensor.name);
        t.type = content->type;
        layer_of(layer, sizeof layer, t.name);
        if (!whole && strcmp(layer, previous))
            e = keras_h5_add_layer(w, "", layer, strrchr(layer, '/') + 1);
        strcpy(previous, layer);
        mapping_gather(&m->list[i], content->weights, data);
        if (!e)
            e = keras_h5_add(w, &t, data);
    }
    free(data);
    return e;
}

static struct error *close_writer(struct keras_h5_writer *w, struct error *e)
{
    struct error *close_error = keras_h5_close(w);
    if (!e)
        return close_error;
    error_destroy(close_error);
    return e;
}

static struct error *write_whole(const char *path, const char *prefix, const struct mapping *m,
                                 const struct preset_content *content)
{
    struct keras_h5_writer *w;
    TRY(keras_h5_create(&w, path));
    struct error *e = *prefix ? add_layers(w, "", causal_lm_layers) : NULL;
    if (!e)
        e = add_model(w, prefix, content->spec);
    if (!e)
        e = add_tensors(w, prefix, true, m, 0, m->n, content);
    return close_writer(w, e);
}

struct error *keras_weights_write(const char *path, const struct preset_content *content)
{
    struct mapping *m;
    TRY(mapping_create(&m, LAYOUT_KERAS, content->spec, content->parameters));
    const bool gpt2 = content->spec->family == MODEL_GPT2;
    struct error *e = write_whole(path, gpt2 ? "/layers/gpt2_backbone" : "", m, content);
    mapping_destroy(m);
    return e;
}

/* ---- the weights of a preset, sharded where they are larger than asked ---- */

static struct error *write_shard(const char *folder, int index, const struct mapping *m,
                                 const struct shards *shards, const struct preset_content *content)
{
    char name[64], *path;
    struct keras_h5_writer *w;
    snprintf(name, sizeof name, "model_%05d.weights.h5", index);
    TRY(preset_path(&path, folder, name));
    struct error *e = keras_h5_create(&w, path);
    free(path);
    TRY(e);
    e = keras_h5_add_layer(w, "", "", "gpt2_backbone");
    if (!e)
        e = add_tensors(w, "", false, m, shards->first[index], shards->first[index + 1], content);
    return close_writer(w, e);
}

static struct error *write_index(const char *folder, const struct mapping *m,
                                 const struct shards *shards, const struct preset_content *content)
{
    char *text = NULL, layer[CATALOG_NAME_BYTES], previous[CATALOG_NAME_BYTES] = "";
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out)
        return error_new(ERROR_MEMORY, "no memory for the index of %s", folder);
    fprintf(out, "{\n    \"metadata\": {\n        \"total_size\": %" PRIu64 "\n    },\n"
            "    \"weight_map\": {", (uint64_t)content->parameters->count *
            element_bytes(content->type));
    for (int s = 0; s < shards->n; s++) {
        for (int i = shards->first[s]; i < shards->first[s + 1]; i++) {
            layer_of(layer, sizeof layer, m->list[i].tensor.name);
            if (strcmp(layer, previous))
                fprintf(out, "%s\n        \"%s/vars\": \"model_%05d.weights.h5\"",
                        *previous ? "," : "", layer, s);
            strcpy(previous, layer);
        }
    }
    fprintf(out, "\n    }\n}");
    struct error *e = fclose(out) ? error_new(ERROR_MEMORY, "no memory for the index of %s", folder)
                                  : preset_write_text(folder, "model.weights.json", text, bytes);
    free(text);
    return e;
}

struct error *keras_weights_write_preset(const char *folder, const struct preset_content *content)
{
    struct mapping *m;
    struct shards shards = {0};
    char *path = NULL;
    TRY(mapping_create(&m, LAYOUT_KERAS, content->spec, content->parameters));
    struct error *e = shards_plan(&shards, m, content->type, content->shard_bytes, true);
    if (!e && shards.n == 1) {
        e = preset_path(&path, folder, "model.weights.h5");
        if (!e)
            e = write_whole(path, "", m, content);
    }
    for (int s = 0; s < shards.n && shards.n > 1 && !e; s++)
        e = write_shard(folder, s, m, &shards, content);
    if (!e && shards.n > 1)
        e = write_index(folder, m, &shards, content);
    free(path);
    shards_release(&shards);
    mapping_destroy(m);
    return e;
}
