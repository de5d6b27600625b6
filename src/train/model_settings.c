/* model_settings.c - words for what a model is. */
#include "train/model_settings.h"

#include <stdarg.h>
#include <stdio.h>

void model_settings_add(struct model_settings *settings, const char *format, ...)
{
    struct model_settings *s = settings;
    va_list arguments;
    if (s->count == MODEL_SETTINGS)
        BUG("more than %d settings", MODEL_SETTINGS);
    va_start(arguments, format);
    vsnprintf(s->text[s->count], MODEL_SETTING_BYTES, format, arguments);
    va_end(arguments);
    s->list[s->count] = s->text[s->count];
    s->count++;
}

void model_settings_of_spec(struct model_settings *settings, const struct model_spec *spec)
{
    model_settings_add(settings, "model.family=%s", spec_family_name(spec->family));
    model_settings_add(settings, "model.vocabulary_size=%d", spec->V);
    model_settings_add(settings, "model.channels=%d", spec->C);
    model_settings_add(settings, "model.heads=%d", spec->NH);
    model_settings_add(settings, "model.feed_forward=%d", spec->F);
    model_settings_add(settings, "model.layers=%d", spec->L);
    model_settings_add(settings, "model.max_positions=%d", spec->positions);
    model_settings_add(settings, "model.dropout=%.7g", (double)spec->dropout);
}

static void add_switch(struct model_settings *settings, const char *key, bool value)
{
    model_settings_add(settings, "%s=%s", key, value ? "true" : "false");
}

void model_settings_of_tokenizer(struct model_settings *settings,
                                 const struct tokenizer_definition *tokenizer)
{
    const struct tokenizer_definition *d = tokenizer;
    model_settings_add(settings, "tokenizer.kind=%s", tokenizer_kind_name(d->kind));
    if (d->kind == TOKENIZER_BPE) {
        add_switch(settings, "tokenizer.special_as_text", d->bpe.special_as_text);
        return;
    }
    add_switch(settings, "tokenizer.lowercase", d->wordpiece.lowercase);
    add_switch(settings, "tokenizer.strip_accents", d->wordpiece.strip_accents);
    add_switch(settings, "tokenizer.split_on_cjk", d->wordpiece.split_on_cjk);
}
