/*
 * prepare.h - the index and the unpacked text of input files: from the cache, or made by a scan.
 */
#ifndef GALLEY_DATA_PREPARE_H
#define GALLEY_DATA_PREPARE_H

#include "base/error.h"
#include "data/dataset.h"
#include "data/inputs.h"
#include "data/sample_index.h"

struct prepared_text {
    struct sample_index index;
    int index_fd;       /* reads the addresses of samples */
    int unpacked_fd;    /* reads the text of packed files; -1: there are none */
};

/* Only inputs of `options` are not looked at: `inputs` are what they stand for. */
MUST_USE struct error *prepare_text(struct prepared_text *out, const struct inputs *inputs,
                                    const struct dataset_options *options);
/* Fine with descriptors of -1. */
void prepared_text_release(struct prepared_text *text);

#endif
