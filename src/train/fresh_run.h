/* fresh_run.h - a run folder whose only checkpoint holds given weights, and no step was done. */
#ifndef GALLEY_TRAIN_FRESH_RUN_H
#define GALLEY_TRAIN_FRESH_RUN_H

#include "model/parameters.h"
#include "text/tokenizer.h"

/*
 * Writes checkpoints/step-00000000.h5 into an empty folder that is there: weights (a flat host
 * buffer), zero moments, and a configuration of the model's sizes with defaults for the rest, or
 * `config_yaml` where there is one. `run_folder` is the name it will have. Local.
 */
MUST_USE struct error *fresh_run_write(const char *folder, const char *run_folder,
                                       const struct model_spec *spec,
                                       const struct parameters *parameters, const float *weights,
                                       const struct tokenizer *tokenizer, const char *config_yaml);

#endif
