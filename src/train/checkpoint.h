/*
 * checkpoint.h - a run's state in one HDF5 file, and finding the newest good one.
 *
 * A checkpoint is self-contained: model specification, tokenizer, effective configuration, weights,
 * moments, cursor, random seeds, history. Anybody can read it: every tensor is a named dataset with
 * its shape (/weights/decoder_0/attention/qkv/kernel, /optimizer/m/..., /optimizer/v/...), float32,
 * attributes explain themselves.
 *
 * A checkpoint is never lost or half-read. Writing: FOLDER/checkpoints/.step-N.h5.partial, closed,
 * fsync, read back and checked, renamed to step-00001234.h5, folder fsync; only then are older ones
 * deleted. A manifest in
 * front of the file (formats/manifest.h) holds a hash of every tensor and of the rest; reading
 * checks them. A damaged file is named with the tensor, what was expected and found, and the next
 * older one is used.
 *
 * All functions are local (rank 0 writes and reads; the trainer broadcasts). One thread at a time:
 * HDF5.
 */
#ifndef GALLEY_TRAIN_CHECKPOINT_H
#define GALLEY_TRAIN_CHECKPOINT_H

#include "base/error.h"
#include "data/pipe_windows.h"
#include "kernels/kernels.h"
#include "model/parameters.h"
#include "text/tokenizer.h"
#include "train/history.h"

#include <stdint.h>

/* Numbers that say where a run stands; stored as attributes of /progress. */
struct progress {
    int64_t step;               /* optimizer steps done */
    int64_t epoch;              /* the cursor: the next step is step_in_epoch of epoch, both from 0 */
    int64_t step_in_epoch;
    int64_t updates;            /* steps that changed the weights: all but those that were skipped */
    double loss_scale;          /* of fp16; 0: losses are not scaled */
    int64_t finite_steps;       /* since the loss scale last changed */
    int64_t nan_in_a_row;       /* steps up to this one that were not finite, as guard.h counts them */
    int64_t rollbacks;          /* the same */
    int64_t samples, tokens;    /* seen so far; tokens: unmasked ones */
    uint64_t train_fingerprint; /* dataset_fingerprint of the training data; of a pipe 0 */
    bool older_order;           /* token files and blends were in another order then (format 3) */
    struct pipe_position stream;    /* where the run stands in a pipe; 0 of files */
    uint64_t seed;              /* run.seed: initial weights, order, samplers */
    int world_size;             /* ranks that wrote it; any number may read it */
    double best_perplexity;     /* lowest validation perplexity so far, infinity at first */
    int64_t best_step;          /* -1: none yet */
};

/* What is written; all pointers borrowed, host memory. */
struct checkpoint {
    const struct model_spec *spec;
    const struct parameters *parameters;
    const float *weights, *m, *v;        /* flat buffers of parameters->flat_count */
    const struct tokenizer *tokenizer;
    const char *config_yaml;             /* config_print of the effective configuration */
    struct progress progress;
    const struct spike_window *spikes;   /* NULL, or length 0: none are looked for */
    const struct history_row *history;
    int history_rows;
};

/* Writes FOLDER/checkpoints/step-XXXXXXXX.h5 and returns when it is safely there, verified.
 * `*bytes` gets its size. Refused with one clear error, nothing lost: no space (checked before),
 * read-only folder, write error, or what was read back is not what was written. */
MUST_USE struct error *checkpoint_write(const char *run_folder, const struct checkpoint *checkpoint,
                                        size_t *bytes);

/* The size of a file of such a model, but for tokenizer and history: at least its tensors', at most
 * this. */
size_t checkpoint_planned_bytes(const struct parameters *parameters);
/* An error where the file system has no room for one more checkpoint of such a model. */
MUST_USE struct error *checkpoint_check_space(const char *run_folder,
                                              const struct parameters *parameters);

/* Deletes all but `keep`, counted back from verified_step, the one just written, which stays in any
 * case, and the one of best_step. keep 0 keeps all. */
MUST_USE struct error *checkpoint_prune(const char *run_folder, int keep, int64_t verified_step,
                                        int64_t best_step);

/* An opened checkpoint, its attributes read and checked. */
struct checkpoint_file;

MUST_USE struct error *checkpoint_open(struct checkpoint_file **out, const char *path);
void checkpoint_close(struct checkpoint_file *file);
const char *checkpoint_path(const struct checkpoint_file *file);
const struct model_spec *checkpoint_spec(const struct checkpoint_file *file);
const struct progress *checkpoint_progress(const struct checkpoint_file *file);
const char *checkpoint_config(const struct checkpoint_file *file);    /* YAML text */
/* Its length is 0 where spikes were not looked for. */
const struct spike_window *checkpoint_spikes(const struct checkpoint_file *file);
const struct history_row *checkpoint_history(const struct checkpoint_file *file, int *rows);
/* A new tokenizer from the one stored. */
MUST_USE struct error *checkpoint_tokenizer(const struct checkpoint_file *file,
                                            struct tokenizer **out);
/* Reads tensors by name into flat host buffers (flat_count of `parameters`, made from the file's
 * own specification) and verifies their hashes; m and v may both be NULL. */
MUST_USE struct error *checkpoint_read(struct checkpoint_file *file,
                                       const struct parameters *parameters, float *weights,
                                       float *m, float *v);
/* Reads and checks every byte of the file, without keeping it. */
MUST_USE struct error *checkpoint_verify(const char *path);

/*
 * The newest checkpoint of a run that verifies. `*path` (for the caller to free) is NULL where the
 * folder has none. Damaged ones are reported with log_warning and passed over; if there are only
 * damaged ones, that is an error.
 */
MUST_USE struct error *checkpoint_find_newest(const char *run_folder, char **path);
/* Where that of a step is, or would be; for the caller to free. */
MUST_USE struct error *checkpoint_path_of(const char *run_folder, int64_t step, char **path);
/* The step of the newest by its name, damaged or not; -1: there is none. */
MUST_USE struct error *checkpoint_newest_step(const char *run_folder, int64_t *step);
/* An error where a run has checkpoints, good or damaged: those of a new run would stand among them,
 * and the newest by its number would be an old one. */
MUST_USE struct error *checkpoint_expect_none(const char *run_folder);
/* A run folder or a checkpoint file, as users name either: the file to open. A run gives its best
 * by validation perplexity if `best`, else the newest that verifies. */
MUST_USE struct error *checkpoint_resolve(const char *run_or_file, bool best, char **path);

#endif
