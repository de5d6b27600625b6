/* inference.c - from a checkpoint to a model that can be run. */
#include "train/inference.h"

#include "train/snapshot.h"

#include <stdlib.h>

static struct error *load_weights(struct inference *i)
{
    struct snapshot *snapshot;
    TRY(snapshot_create(&snapshot, i->device, i->model, NULL));
    struct error *e =
        checkpoint_read(i->file, model_parameters(i->model), snapshot->weights, NULL, NULL);
    if (!e)
        e = snapshot_restore(snapshot);
    snapshot_destroy(snapshot);
    return e;
}

static struct error *open_all(struct inference *i, const struct inference_options *options)
{
    char *path;
    const struct kernels *kernels;
    TRY(checkpoint_resolve(options->run_or_file, options->best, &path));
    struct error *e = checkpoint_open(&i->file, path);
    free(path);
    TRY(e);
    TRY(checkpoint_tokenizer(i->file, &i->tokenizer));
    TRY(device_open(&i->device, &options->device));
    TRY(kernels_for(&kernels, i->device, DTYPE_F32));
    const struct model_spec *spec = checkpoint_spec(i->file);
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
    tokenizer_destroy(inference->tokenizer);
    checkpoint_close(inference->file);
    *inference = (struct inference){0};
}
