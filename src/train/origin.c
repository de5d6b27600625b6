/* origin.c - what a model is and how its texts were cut, as settings that a configuration
 * adopts. */
#include "train/origin.h"

#include "train/model_settings.h"

/* Plain data, to tell the other ranks; the texts that the tokenizer points to are not there. */
struct origin {
    struct model_spec spec;
    int64_t sequence_length;
    bool start_token, end_token;
    bool has_tokenizer;
    struct tokenizer_definition tokenizer;
};

static void take_tokenizer(struct origin *origin, const struct tokenizer *tokenizer)
{
    origin->has_tokenizer = tokenizer;
    if (tokenizer)
        origin->tokenizer = *tokenizer_definition(tokenizer);
}

static struct error *take_run_samples(struct origin *origin, const struct checkpoint_file *file)
{
    struct config *was;
    TRY(config_parse(&was, checkpoint_config(file), checkpoint_path(file), NULL, 0));
    origin->sequence_length = was->data.sequence_length;
    origin->start_token = was->data.start_token;
    origin->end_token = was->data.end_token;
    config_destroy(was);
    return NULL;
}

/* A preset whose preprocessor names no length cuts texts where the model has no more positions. */
static void take_preset_samples(struct origin *origin, const struct preset *preset)
{
    const struct preset_preprocessor *p = preset_preprocessor(preset);
    origin->sequence_length = p->sequence_length ? p->sequence_length : origin->spec.positions;
    origin->start_token = p->add_start_token;
    origin->end_token = p->add_end_token;
}

static struct error *find_origin(struct origin *origin, const struct checkpoint_file *file,
                                 const struct model_source *source)
{
    if (!file) {
        origin->spec = *model_source_spec(source);
        take_tokenizer(origin, model_source_tokenizer(source));
        file = model_source_checkpoint(source);
        if (file)
            return take_run_samples(origin, file);
        take_preset_samples(origin, model_source_preset(source));
        return NULL;
    }
    struct tokenizer *tokenizer;
    TRY(checkpoint_tokenizer(file, &tokenizer));
    origin->spec = *checkpoint_spec(file);
    take_tokenizer(origin, tokenizer);
    tokenizer_destroy(tokenizer);
    return take_run_samples(origin, file);
}

struct error *origin_complete(struct config *config, struct comm *comm,
                              const struct checkpoint_file *file,
                              const struct model_source *source)
{
    struct origin origin = {.has_tokenizer = false};
    struct model_settings settings = {.count = 0};
    if (!*config->run.start_from)
        return NULL;
    TRY(comm_agree(comm, comm_rank(comm) == 0 ? find_origin(&origin, file, source) : NULL));
    TRY(comm_broadcast(comm, &origin, sizeof origin));
    model_settings_of_spec(&settings, &origin.spec);
    model_settings_add(&settings, "data.sequence_length=%lld", (long long)origin.sequence_length);
    model_settings_add(&settings, "data.start_token=%s", origin.start_token ? "true" : "false");
    model_settings_add(&settings, "data.end_token=%s", origin.end_token ? "true" : "false");
    if (origin.has_tokenizer && !*config->tokenizer.vocabulary)
        model_settings_of_tokenizer(&settings, &origin.tokenizer);
    struct error *e = config_adopt(config, settings.list, settings.count);
    return e ? error_context(e, "taking the sizes of %s", config->run.start_from) : NULL;
}

struct error *origin_check(const struct model_source *source, const struct model_spec *wanted)
{
    struct error *e = spec_compare(model_source_spec(source), wanted);
    return e ? error_context(e, "%s, which run.start_from names, is another model than the keys of "
                             "section model say; leave them out", model_source_path(source)) : NULL;
}
