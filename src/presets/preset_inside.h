/* preset_inside.h - the inside of a preset, shared by its readers; for src/presets only. */
#ifndef GALLEY_PRESETS_PRESET_INSIDE_H
#define GALLEY_PRESETS_PRESET_INSIDE_H

#include "formats/catalog.h"
#include "formats/json.h"
#include "presets/mapping.h"
#include "presets/preset.h"

#include <stdbool.h>

struct preset {
    enum preset_kind kind;
    enum weight_layout layout;
    char *path;
    struct model_spec spec;
    struct catalog catalog;
    struct preset_preprocessor preprocessor;
    struct tokenizer *tokenizer;
};

enum { PRESET_MOST_JSON = 1 << 24 };    /* bytes of config.json; vocabularies may have more */
enum { MOST_SIZE = 1 << 24, MOST_LAYERS = 10000 };

/* The readers fill spec and catalog of a preset whose kind and path are set. */
MUST_USE struct error *keras_preset_read(struct preset *preset);
MUST_USE struct error *keras_weights_read(struct preset *preset);
MUST_USE struct error *hugging_face_read(struct preset *preset);

/* A size in a configuration, 1 to `most`. */
MUST_USE struct error *preset_get_size(const cJSON *config, const char *key, const char *path,
                                       int most, int *out);
/* "FOLDER/NAME", for the caller to free. */
MUST_USE struct error *preset_path(char **out, const char *folder, const char *name);
bool preset_has(const char *folder, const char *name);
/* The tokenizer whose vocabulary has that name in the folder; left NULL where it is not there. */
MUST_USE struct error *preset_read_tokenizer(struct preset *preset, const char *vocabulary_name);

/* The writers of each kind. */
MUST_USE struct error *keras_preset_write(const char *folder, const struct preset_content *content);
MUST_USE struct error *keras_weights_write(const char *path, const struct preset_content *content);
/* model.weights.h5, or shards and model.weights.json. */
MUST_USE struct error *keras_weights_write_preset(const char *folder,
                                                  const struct preset_content *content);
MUST_USE struct error *hugging_face_write(const char *folder,
                                          const struct preset_content *content);
/* A text file, flushed to disk. */
MUST_USE struct error *preset_write_text(const char *folder, const char *name, const char *text,
                                         size_t bytes);

#endif
