/* hugging_face_write.c - the folder of a Hugging Face GPT-2, as save_pretrained writes it. */
#include "formats/safetensors.h"
#include "presets/preset_inside.h"
#include "presets/shards.h"
#include "text/tokenizer_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const dtypes[] = {
    [ELEMENT_F32] = "float32", [ELEMENT_F16] = "float16", [ELEMENT_BF16] = "bfloat16",
};

/* What is printed to memory goes to a file of the folder; takes `out` and its text. */
static struct error *finish(FILE *out, char **text, const size_t *bytes, const char *folder,
                            const char *name)
{
    struct error *e = fclose(out) ? error_new(ERROR_MEMORY, "no memory for %s", name)
                                  : preset_write_text(folder, name, *text, *bytes);
    free(*text);
    return e;
}

static struct error *write_config(const char *folder, const struct preset_content *c)
{
    char *text = NULL, end[16] = "null";
    size_t bytes = 0;
    const struct model_spec *s = c->spec;
    const double dropout = (double)s->dropout;
    FILE *out = open_memstream(&text, &bytes);
    if (!out)
        return error_new(ERROR_MEMORY, "no memory for config.json");
    if (c->tokenizer && tokenizer_end_id(c->tokenizer) >= 0)
        snprintf(end, sizeof end, "%d", tokenizer_end_id(c->tokenizer));
    fprintf(out,
            "{\n  \"activation_function\": \"gelu_new\",\n  \"architectures\": [\n"
            "    \"GPT2LMHeadModel\"\n  ],\n  \"attn_pdrop\": %.7g,\n  \"bos_token_id\": %s,\n"
            "  \"dtype\": \"%s\",\n  \"embd_pdrop\": %.7g,\n  \"eos_token_id\": %s,\n"
            "  \"initializer_range\": 0.02,\n  \"layer_norm_epsilon\": 1e-05,\n"
            "  \"model_type\": \"gpt2\",\n  \"n_embd\": %d,\n  \"n_head\": %d,\n  \"n_inner\": %d,\n"
            "  \"n_layer\": %d,\n  \"n_positions\": %d,\n  \"resid_pdrop\": %.7g,\n"
            "  \"scale_attn_weights\": true,\n  \"tie_word_embeddings\": true,\n"
            "  \"torch_dtype\": \"%s\",\n  \"use_cache\": true,\n  \"vocab_size\": %d\n}\n",
            dropout, end, dtypes[c->type], dropout, end, s->C, s->NH, s->F, s->L, s->positions,
            dropout, dtypes[c->type], s->V);
    return finish(out, &text, &bytes, folder, "config.json");
}

static struct error *write_tokenizer(const char *folder, const struct preset_content *c)
{
    const struct tokenizer_definition *d = tokenizer_definition(c->tokenizer);
    char *text = NULL;
    size_t bytes = 0;
    TRY(preset_write_text(folder, "vocab.json", d->vocabulary, d->vocabulary_bytes));
    TRY(preset_write_text(folder, "merges.txt", d->merges, d->merges_bytes));
    TRY(tokenizer_json_write(c->tokenizer, &text, &bytes));
    struct error *e = preset_write_text(folder, "tokenizer.json", text, bytes);
    free(text);
    TRY(e);
    FILE *out = open_memstream(&text, &bytes);
    if (!out)
        return error_new(ERROR_MEMORY, "no memory for tokenizer_config.json");
    fprintf(out,
            "{\n  \"add_prefix_space\": false,\n  \"bos_token\": \"<|endoftext|>\",\n"
            "  \"eos_token\": \"<|endoftext|>\",\n  \"model_max_length\": %d,\n"
            "  \"tokenizer_class\": \"GPT2Tokenizer\",\n  \"unk_token\": \"<|endoftext|>\"\n}\n",
            c->spec->positions);
    return finish(out, &text, &bytes, folder, "tokenizer_config.json");
}

static void shard_name(char *name, size_t bytes, int index, int shards)
{
    if (shards == 1)
        snprintf(name, bytes, "model.safetensors");
    else
        snprintf(name, bytes, "model-%05d-of-%05d.safetensors", index + 1, shards);
}

/* `tensors` are those of the whole mapping, with the names of the file. */
static struct error *write_shard(const char *folder, int index, const struct mapping *m,
                                 const struct catalog_tensor *tensors, const struct shards *shards,
                                 const struct preset_content *content)
{
    char name[64], *path;
    struct safetensors_writer *w;
    const int first = shards->first[index], end = shards->first[index + 1];
    shard_name(name, sizeof name, index, shards->n);
    float *data = malloc((size_t)m->most_elements * sizeof *data);
    if (!data)
        return error_new(ERROR_MEMORY, "no memory for a tensor of %" PRId64 " elements",
                         m->most_elements);
    struct error *e = preset_path(&path, folder, name);
    if (!e) {
        e = safetensors_create(&w, path, tensors + first, end - first);
        free(path);
    }
    if (e) {
        free(data);
        return e;
    }
    for (int i = first; i < end && !e; i++) {
        mapping_gather(&m->list[i], content->weights, data);
        e = safetensors_add(w, data);
    }
    free(data);
    struct error *close_error = safetensors_close(w);
    if (!e)
        return close_error;
    error_destroy(close_error);
    return e;
}

static struct error *write_index(const char *folder, const struct catalog_tensor *tensors,
                                 const struct shards *shards, const struct preset_content *content)
{
    char *text = NULL, name[64];
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out)
        return error_new(ERROR_MEMORY, "no memory for the index of %s", folder);
    fprintf(out, "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n  \"weight_map\": {",
            (uint64_t)content->parameters->count * element_bytes(content->type));
    for (int s = 0; s < shards->n; s++) {
        shard_name(name, sizeof name, s, shards->n);
        for (int i = shards->first[s]; i < shards->first[s + 1]; i++)
            fprintf(out, "%s\n    \"%s\": \"%s\"", i ? "," : "", tensors[i].name, name);
    }
    fprintf(out, "\n  }\n}\n");
    return finish(out, &text, &bytes, folder, "model.safetensors.index.json");
}

static struct error *write_weights(const char *folder, const struct mapping *m,
                                   const struct preset_content *content)
{
    struct shards shards = {0};
    struct catalog_tensor *tensors = calloc((size_t)m->n, sizeof *tensors);
    if (!tensors)
        return error_new(ERROR_MEMORY, "no memory for the names of %d tensors", m->n);
    for (int i = 0; i < m->n; i++) {
        tensors[i] = m->list[i].tensor;
        tensors[i].type = content->type;
        catalog_set_name(&tensors[i], "transformer.%s", m->list[i].tensor.name);
    }
    struct error *e = shards_plan(&shards, m, content->type, content->shard_bytes, false);
    for (int s = 0; !e && s < shards.n; s++)
        e = write_shard(folder, s, m, tensors, &shards, content);
    if (!e && shards.n > 1)
        e = write_index(folder, tensors, &shards, content);
    shards_release(&shards);
    free(tensors);
    return e;
}

struct error *hugging_face_write(const char *folder, const struct preset_content *content)
{
    struct mapping *m;
    TRY(mapping_create(&m, LAYOUT_HUGGING_FACE, content->spec, content->parameters));
    struct error *e = write_weights(folder, m, content);
    mapping_destroy(m);
    TRY(e);
    TRY(write_config(folder, content));
    return content->tokenizer ? write_tokenizer(folder, content) : NULL;
}
