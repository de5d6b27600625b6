/* model_source.c - opening checkpoints and presets alike. */
#include "train/model_source.h"

#include "text/tokenizer_files.h"

#include <stdlib.h>
#include <string.h>

struct model_source {
    struct checkpoint_file *checkpoint;    /* one of these two */
    struct preset *preset;
    char *path;
    struct tokenizer *tokenizer;           /* the checkpoint's, or one named beside the model */
};

static struct error *open_checkpoint(struct model_source *s,
                                     const struct model_source_options *options)
{
    TRY(checkpoint_resolve(options->path, options->best, &s->path));
    TRY(checkpoint_open(&s->checkpoint, s->path));
    return options->tokenizer ? NULL : checkpoint_tokenizer(s->checkpoint, &s->tokenizer);
}

static struct error *open_preset(struct model_source *s, const struct model_source_options *options)
{
    if (options->best)
        return error_new(ERROR_USAGE, "%s is no run folder, so nothing of it is the best (--best)",
                         options->path);
    s->path = strdup(options->path);
    if (!s->path)
        return error_new(ERROR_MEMORY, "no memory for a path");
    return preset_open(&s->preset, s->path);
}

static struct error *open_tokenizer(struct model_source *s,
                                    const struct model_source_options *options)
{
    const int V = model_source_spec(s)->V;
    TRY(tokenizer_open(&s->tokenizer, options->tokenizer, NULL,
                       &(struct wordpiece_options){.lowercase = options->lowercase, .split = true,
                                                   .split_on_cjk = true},
                       &(struct bpe_options){0}));
    if (tokenizer_size(s->tokenizer) > V)
        return error_new(ERROR_INPUT, "%s has %d entries, but the model of %s has a "
                         "vocabulary of %d",
                         options->tokenizer, tokenizer_size(s->tokenizer), s->path, V);
    return NULL;
}

struct error *model_source_open(struct model_source **out,
                                const struct model_source_options *options)
{
    struct model_source *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory to open %s", options->path);
    struct error *e = preset_recognize(options->path) == PRESET_NONE ? open_checkpoint(s, options)
                                                                     : open_preset(s, options);
    if (!e && options->tokenizer)
        e = open_tokenizer(s, options);
    if (e) {
        model_source_close(s);
        return e;
    }
    *out = s;
    return NULL;
}

void model_source_close(struct model_source *source)
{
    if (!source)
        return;
    tokenizer_destroy(source->tokenizer);
    preset_close(source->preset);
    checkpoint_close(source->checkpoint);
    free(source->path);
    free(source);
}

const char *model_source_path(const struct model_source *source)
{
    return source->path;
}

const char *model_source_kind(const struct model_source *source)
{
    return source->preset ? preset_kind_name(preset_kind(source->preset)) : "checkpoint";
}

const struct model_spec *model_source_spec(const struct model_source *source)
{
    return source->preset ? preset_spec(source->preset) : checkpoint_spec(source->checkpoint);
}

const struct tokenizer *model_source_tokenizer(const struct model_source *source)
{
    if (source->tokenizer)
        return source->tokenizer;
    return source->preset ? preset_tokenizer(source->preset) : NULL;
}

const struct preset *model_source_preset(const struct model_source *source)
{
    return source->preset;
}

const struct checkpoint_file *model_source_checkpoint(const struct model_source *source)
{
    return source->checkpoint;
}

int64_t model_source_step(const struct model_source *source)
{
    return source->checkpoint ? checkpoint_progress(source->checkpoint)->step : 0;
}

struct error *model_source_read(struct model_source *source, const struct parameters *parameters,
                                float *weights)
{
    return source->preset ? preset_read(source->preset, parameters, weights)
                          : checkpoint_read(source->checkpoint, parameters, weights, NULL, NULL);
}
