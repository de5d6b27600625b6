/* resume.h - whether a run may go on from a checkpoint under this configuration. */
#ifndef GALLEY_TRAIN_RESUME_H
#define GALLEY_TRAIN_RESUME_H

#include "base/config.h"
#include "train/checkpoint.h"

/* What decides which samples are in which step must be as it was: else the promise that a resumed
 * run equals an uninterrupted one is void. The error names the key, both values and the way out. */
MUST_USE struct error *resume_check(const struct checkpoint_file *file,
                                    const struct config *config);

#endif
