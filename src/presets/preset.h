/*
 * preset.h - models as others keep them: KerasHub presets, Hugging Face folders, Keras weights.
 *
 *   Keras preset    a folder: config.json of a GPT2Backbone, assets/tokenizer/{vocabulary.json,
 *                   merges.txt}, model.weights.h5, or model.weights.json and shards; perhaps
 *                   preprocessor.json
 *   Hugging Face    a folder: config.json with model_type gpt2, vocab.json and merges.txt or else
 *                   tokenizer.json, model.safetensors, or model.safetensors.index.json and shards
 *   Keras weights   a file of save_weights(): of a GPT2CausalLM, a GPT2Backbone or the mini-GPT;
 *                   sizes are read off the shapes, and there is no tokenizer
 *
 * Opening reads and checks everything but the weights' bytes: whatever a preset's configuration
 * says, memory is taken only for tensors that are there. Local; no thread of the process may use
 * HDF5 then.
 */
#ifndef GALLEY_PRESETS_PRESET_H
#define GALLEY_PRESETS_PRESET_H

#include "formats/elements.h"
#include "model/parameters.h"
#include "text/tokenizer.h"

#include <stdbool.h>

enum preset_kind { PRESET_NONE, PRESET_KERAS, PRESET_HUGGING_FACE, PRESET_KERAS_WEIGHTS };

/* What a path looks like; PRESET_NONE: like no preset (it may be anything else). */
enum preset_kind preset_recognize(const char *path);
/* "KerasHub preset", "Hugging Face model", "Keras weights". */
const char *preset_kind_name(enum preset_kind kind);

struct preset;

/* An error names file, tensor or key, what was found and what was expected. */
MUST_USE struct error *preset_open(struct preset **out, const char *path);
void preset_close(struct preset *preset);

enum preset_kind preset_kind(const struct preset *preset);
const struct model_spec *preset_spec(const struct preset *preset);
/* How a KerasHub preset prepares texts (preprocessor.json); sequence_length 0: it does not say. */
struct preset_preprocessor {
    int sequence_length;                 /* at most the model's positions */
    bool add_start_token, add_end_token;
};
const struct preset_preprocessor *preset_preprocessor(const struct preset *preset);
/* NULL where there is none; valid as long as the preset. */
const struct tokenizer *preset_tokenizer(const struct preset *preset);
/* The weights into a flat host buffer (flat_count of `parameters`, made from the preset's spec). */
MUST_USE struct error *preset_read(const struct preset *preset, const struct parameters *parameters,
                                   float *weights);

/* What to write; all pointers borrowed, host memory. */
struct preset_content {
    const struct model_spec *spec;
    const struct parameters *parameters;
    const float *weights;                /* flat buffer */
    const struct tokenizer *tokenizer;   /* NULL: its files are left out */
    enum element_type type;              /* of the weights in the file */
    uint64_t shard_bytes;                /* a file of weights is at most so large; 0: one file */
};

/* Writes into an empty folder that is there (kinds that are folders), or a file. Not atomic: see
 * presets/output.h. */
MUST_USE struct error *preset_write(const char *path, enum preset_kind kind,
                                    const struct preset_content *content);

#endif
