/*
 * keras_fixture.h - reads KerasHub's mini_gpt and gpt2 fixtures (HDF5) into Galley's order of
 * parameters.
 */
#ifndef GALLEY_TESTS_KERAS_FIXTURE_H
#define GALLEY_TESTS_KERAS_FIXTURE_H

#include "data/batch.h"
#include "model/parameters.h"

#include <stdbool.h>
#include <stdint.h>

/* An opened fixture file: an HDF5 handle. */
struct keras_fixture {
    int64_t file;
    struct model_spec spec;
    int B, T;
};

/* Aborts the test with a message if the file is not a fixture. */
void keras_fixture_open(struct keras_fixture *fixture, const char *path);
void keras_fixture_close(struct keras_fixture *fixture);

/* A whole dataset as float32 (or int32), `count` elements expected. */
void keras_fixture_floats(const struct keras_fixture *fixture, const char *path, float *out,
                          int64_t count);
void keras_fixture_doubles(const struct keras_fixture *fixture, const char *path, double *out,
                           int64_t count);
void keras_fixture_ints(const struct keras_fixture *fixture, const char *path, int32_t *out,
                        int64_t count);
bool keras_fixture_has(const struct keras_fixture *fixture, const char *path);
/* A scalar attribute of an object; `otherwise` where it is absent. */
double keras_fixture_attribute(const struct keras_fixture *fixture, const char *object,
                               const char *name, double otherwise);

/* All tensors under `group` ("weights", "float32/gradients") into a flat buffer of Galley's order:
 * query, key and value become one tensor. */
void keras_fixture_tensors(const struct keras_fixture *fixture, const char *group,
                           const struct parameters *parameters, float *flat);

/* A mini-GPT's batch i, with the masks it uses; release the memory with keras_fixture_free. */
void keras_fixture_batch(const struct keras_fixture *fixture, int i, struct batch *batch);
/* The texts that the one batch of a GPT-2 fixture was made from, a line each; for free(). */
char *keras_fixture_texts(const struct keras_fixture *fixture);
/* The one batch of a GPT-2 fixture; loss and metrics count where the sample weight is 1. */
void keras_fixture_gpt2_batch(const struct keras_fixture *fixture, struct batch *batch);
void keras_fixture_free(struct batch *batch);
/* Masks of token ids by the mini-GPT's rule, for a batch whose tokens and targets are set. */
void keras_fixture_masks(struct batch *batch);

#endif
