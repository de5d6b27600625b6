/*
 * model_settings.h - the sizes of a model and the kind of its tokenizer as settings of a
 * configuration.
 *
 *     struct model_settings settings = {0};
 *     model_settings_of_spec(&settings, spec);
 *     TRY(config_adopt(config, settings.list, settings.count));
 */
#ifndef GALLEY_TRAIN_MODEL_SETTINGS_H
#define GALLEY_TRAIN_MODEL_SETTINGS_H

#include "model/spec.h"
#include "text/tokenizer.h"

enum { MODEL_SETTINGS = 16, MODEL_SETTING_BYTES = 128 };

/* Zeroed before its first use; must not be copied, as the list points into it. */
struct model_settings {
    char text[MODEL_SETTINGS][MODEL_SETTING_BYTES];
    const char *list[MODEL_SETTINGS];    /* "section.key=value" */
    int count;
};

/* Adds one, as printf; longer than MODEL_SETTING_BYTES is cut. */
void model_settings_add(struct model_settings *settings, const char *format, ...) PRINTF_LIKE(2, 3);
/* The section model. */
void model_settings_of_spec(struct model_settings *settings, const struct model_spec *spec);
/* The section tokenizer, but for the files. */
void model_settings_of_tokenizer(struct model_settings *settings,
                                 const struct tokenizer_definition *tokenizer);

#endif
