/* inference.c - from a checkpoint or preset to a model that can be run. */
#include "train/inference.h"

#include "train/snapshot.h"

static struct error *load_weights(struct inference *i)
{
    struct snapshot *snapshot;
    TRY(snapshot_create(&snapshot, i->device, i->model, NULL));
    struct error *e = model_source_read(i->source, model_parameters(i->model), snapshot->weights);
    if (!e)
        e = snapshot_restore(snapshot);
    snapshot_destroy(snapshot);
    return e;
}

static struct error *open_all(struct inference *i, const struct inference_options *options)
{
    const struct kernels *kernels;
    TRY(model_source_open(&i->source, &options->source));
    i->tokenizer = model_source_tokenizer(i->source);
    TRY(device_open(&i->device, &options->device));
    TRY(kernels_for(&kernels, i->device, options->precision));
    const struct model_spec *spec = model_source_spec(i->source);
    TRY(model_create(&i->model, i->device, kernels, spec, &(struct model_options){
        .B = options->B, .T = options->T > 0 ? options->T : spec->positions}));
    return load_weights(i);
}

struct error *inference_open(struct inference *out, const struct inference_options *options)
{
    *out = (struct inference){0};
    struct error *e = open_all(out, options);
    if (e)
        inference_close(out);
    return e;
}

void inference_close(struct inference *inference)
{
    model_destroy(inference->model);
    device_close(inference->device);
    model_source_close(inference->source);
    *inference = (struct inference){0};
}
