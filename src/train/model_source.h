/*
 * model_source.h - whatever a user names as a model: sizes, tokenizer and weights from one place.
 *
 * A run folder (its newest checkpoint that verifies, or its best), a checkpoint, a KerasHub preset,
 * a Hugging Face folder, or a file of Keras weights (presets/preset.h). Local.
 *
 *     TRY(model_source_open(&source, &(struct model_source_options){.path = path}));
 *     TRY(parameters_create(&parameters, model_source_spec(source)));
 *     TRY(model_source_read(source, parameters, weights));
 */
#ifndef GALLEY_TRAIN_MODEL_SOURCE_H
#define GALLEY_TRAIN_MODEL_SOURCE_H

#include "presets/preset.h"
#include "train/checkpoint.h"

#include <stdbool.h>

struct model_source;

struct model_source_options {
    const char *path;
    bool best;                /* of a run: the best by validation perplexity, not the newest */
    const char *tokenizer;    /* a vocabulary or folder to use instead of the model's own, or NULL */
    bool lowercase;           /* of a WordPiece vocabulary named there: fold case */
};

MUST_USE struct error *model_source_open(struct model_source **out,
                                         const struct model_source_options *options);
void model_source_close(struct model_source *source);

/* The file or folder that was opened: of a run, the checkpoint. Valid as long as the source, as all
 * below. */
const char *model_source_path(const struct model_source *source);
/* "checkpoint", "KerasHub preset", "Hugging Face model", "Keras weights". */
const char *model_source_kind(const struct model_source *source);
const struct model_spec *model_source_spec(const struct model_source *source);
/* NULL where there is none: Keras weights, presets without its files. */
const struct tokenizer *model_source_tokenizer(const struct model_source *source);
/* NULL unless it is a preset. */
const struct preset *model_source_preset(const struct model_source *source);
/* NULL unless it is a checkpoint. */
const struct checkpoint_file *model_source_checkpoint(const struct model_source *source);
/* Optimizer steps of the run that wrote it; 0 where nobody says. */
int64_t model_source_step(const struct model_source *source);

/* The weights into a flat host buffer (flat_count of `parameters`, made from the source's spec). */
MUST_USE struct error *model_source_read(struct model_source *source,
                                         const struct parameters *parameters, float *weights);

#endif
