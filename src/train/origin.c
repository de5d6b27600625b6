/* origin.c - sizes and tokenizer of a model as settings that a configuration adopts. */
#include "train/origin.h"

#include "train/model_settings.h"

/* Plain data, to tell the other ranks; the texts that the tokenizer points to are not there. */
struct origin {
    struct model_spec spec;
    bool has_tokenizer;
    struct tokenizer_definition tokenizer;
};

static void take_tokenizer(struct origin *origin, const struct tokenizer *tokenizer)
{
    origin->has_tokenizer = tokenizer;
    if (tokenizer)
        origin->tokenizer = *tokenizer_definition(tokenizer);
}

static struct error *find_origin(struct origin *origin, const struct checkpoint_file *file,
                                 const struct model_source *source)
{
    if (!file) {
        origin->spec = *model_source_spec(source);
        take_tokenizer(origin, model_source_tokenizer(source));
        return NULL;
    }
    struct tokenizer *tokenizer;
    TRY(checkpoint_tokenizer(file, &tokenizer));
    origin->spec = *checkpoint_spec(file);
    take_tokenizer(origin, tokenizer);
    tokenizer_destroy(tokenizer);
    return NULL;
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
