/* checkpoint_format.h - names that checkpoint_write.c and checkpoint_read.c share. */
#ifndef GALLEY_TRAIN_CHECKPOINT_FORMAT_H
#define GALLEY_TRAIN_CHECKPOINT_FORMAT_H

#include "train/checkpoint.h"

#include <stddef.h>

enum { CHECKPOINT_FORMAT = 4, CHECKPOINT_HISTORY_COLUMNS = 5, CHECKPOINT_SPIKE_COLUMNS = 2 };

#define CHECKPOINT_PARTIAL_SUFFIX ".partial"

/* Integer attributes of /model, by the spec's fields. */
struct checkpoint_size {
    const char *name;
    size_t offset;    /* of an int in struct model_spec */
};
extern const struct checkpoint_size checkpoint_sizes[];
extern const int checkpoint_size_count;

/* Where the three values of a parameter stand. */
enum { CHECKPOINT_TENSOR_KINDS = 3 };
extern const char *const checkpoint_tensor_groups[CHECKPOINT_TENSOR_KINDS];

#endif
