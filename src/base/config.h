/*
 * config.h - the one typed configuration of a run.
 *
 * One table in config.c names every key with its type, default, range and help; parsing YAML,
 * --section.key=value, checks, `galley train --help`, the reference page and the copy stored with a
 * run all come from it. After config_load the struct is const.
 *
 * Errors name file and line (or the command-line argument), the key, what was found, what was
 * expected, and for an unknown key the nearest known one.
 */
#ifndef GALLEY_BASE_CONFIG_H
#define GALLEY_BASE_CONFIG_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { CONFIG_SAMPLES = 16 };    /* the most `sampling.samples` there may be */

/* A list of strings; a YAML scalar is a list of one, on the command line commas separate. */
struct config_list {
    char **items;
    int count;
};

/* When a callback runs; 0 is never. Both may be set. */
struct config_cadence {
    int64_t every_steps;
    int64_t every_epochs;
};

struct config_sample {
    char *prompt;          /* text the sample begins with; empty: the model begins */
    char *sampler;         /* greedy, random, top_k, top_p, beam, contrastive */
    int64_t k;
    double p;
    int64_t beams;
    double alpha;
    double temperature;
    int64_t seed;
    int64_t max_length;    /* tokens in all; 0: the sequence length */
};

struct config {
    struct {
        char *folder;             /* runs/mini-gpt */
        char *start_from;         /* a model whose weights, sizes and tokenizer a new run begins
                                   * with */
        int64_t seed;
        bool allow_changed_data;  /* resume although the training data differs */
        char *time_limit;         /* "hours:minutes:seconds"; empty: the batch system's, if it tells */
        int64_t time_margin_s;
    } run;
    struct {
        char *preset;             /* mini_gpt, gpt2_base_en, ...: what the other keys begin as */
        char *family;             /* mini-gpt, gpt2 */
        int64_t vocabulary_size, channels, heads, feed_forward, layers;
        int64_t max_positions;    /* rows of the position table; 0: data.sequence_length */
        double dropout;
    } model;
    struct {
        char *kind;               /* wordpiece, bpe */
        char *vocabulary;         /* a file; empty: learned from the training text at the start */
        char *merges;             /* bpe: a file; empty: beside the vocabulary */
        bool special_as_text;     /* bpe */
        bool lowercase, strip_accents, split_on_cjk;
        struct config_list reserved;    /* [PAD], [UNK], [BOS] */
    } tokenizer;
    struct {
        struct config_list train, validation;    /* paths and globs */
        char *field;              /* of .jsonl and .json, the one that holds the text */
        struct config_list weights;    /* numbers, one an input of train; empty: all alike */
        char *kind;               /* auto, lines, tokens */
        bool mask_documents, restart_positions;    /* of tokens */
        int64_t sequence_length;
        int64_t min_bytes;        /* 0: config_min_bytes says */
        bool start_token, end_token;    /* of model.family gpt2 */
        bool shuffle;
        bool drop_last;
        int64_t pipe_window;      /* samples of a pipe that are shuffled among each other */
        int64_t threads;          /* tokenizing threads of a rank */
        int64_t prefetch;         /* micro-batches ahead */
    } data;
    struct {
        int64_t epochs;
        int64_t steps;            /* 0: as epochs say; else the run ends after so many steps */
        int64_t global_batch;
        int64_t micro_batch;      /* 0: global_batch / ranks */
        char *loss_mean;          /* tokens, positions */
        char *precision;          /* fp32, bf16, fp16 */
        int64_t log_every_steps;
        int64_t check_every_steps;    /* compare the parameters of all ranks; 0: never */
        bool reproducible;        /* the same bits for every number of ranks */
        char *on_nan;             /* stop, skip, rollback */
        int64_t nan_limit;        /* skips in a row, or rollbacks, that are put up with */
        double spike_sigma;       /* 0: never skips a spike */
        int64_t spike_window;
    } train;
    struct {
        char *kind;               /* adam, adamw */
        double learning_rate, beta1, beta2, epsilon, weight_decay;
        char *decay_on;           /* all (Keras's rule), matrices */
        char *token_moment;       /* dense, by_occurrence */
        double clip_norm;         /* 0: never */
    } optimizer;
    struct {
        char *kind;               /* constant, polynomial, cosine */
        int64_t warmup_steps;
        int64_t decay_steps;      /* 0: the whole run */
        double end_learning_rate;
        double power;
    } schedule;
    struct {
        struct config_cadence when;
        bool at_start;            /* also before the first step */
    } validation;
    struct {
        struct config_cadence when;
        bool at_start;
        struct config_sample samples[CONFIG_SAMPLES];
        int sample_count;
    } sampling;
    struct {
        struct config_cadence when;    /* beside the one at the end */
        int64_t keep;             /* newest checkpoints kept; 0: all */
        bool resume;              /* go on from the newest checkpoint of the run folder, if any */
        char *on_error;           /* stop, continue */
    } checkpoint;
    struct {
        char *kind;               /* auto, cpu, cuda */
        bool graphs;              /* a step is queued on a GPU as one graph */
        int64_t threads;          /* compute threads a rank; 0: its share of the cores */
        bool tf32, tune;          /* of a GPU's products; and its attention */
    } device;
    struct {                      /* seconds; comm/comm.h */
        int64_t answer, init, data, step, validation, save;
    } deadline;
    struct {
        double bucket_megabytes;  /* 0: by the device */
    } comm;

    bool *given;    /* by key: set by the preset, the file or the command line, not a default; for
                     * src/base/config*.c only */
};

/* Defaults, those of model.preset among them, then the YAML file (`path` may be NULL: none), then
 * `overrides` ("--section.key=value", with or without the dashes) in order; then checks of ranges
 * and of what single keys can decide. */
MUST_USE struct error *config_load(struct config **out, const char *path,
                                   const char *const *overrides, int override_count);
/* The same from YAML text, as a checkpoint stores it; `name` is what errors call it. */
MUST_USE struct error *config_parse(struct config **out, const char *yaml, const char *name,
                                    const char *const *overrides, int override_count);
void config_destroy(struct config *config);

/* Sets keys ("section.key=value", as in a file) that nobody has given, where what they should be is
 * found out only later; then checks again. */
MUST_USE struct error *config_adopt(struct config *config, const char *const *settings, int count);

/* What depends on the number of ranks: global batch divisible by ranks (x micro-batch); else the
 * nearest that work are named. */
MUST_USE struct error *config_check_ranks(const struct config *config, int world_size);

/* The shortest text kept: data.min_bytes, or where that is 0, what fits model.family. */
int64_t config_min_bytes(const struct config *config);

/* The effective configuration as YAML that config_parse reads back to the same; for the caller to
 * free. */
MUST_USE struct error *config_print(const struct config *config, char **yaml);

/* Every key with type, default, range and meaning: for --help (plain text), or as the reference
 * page (Markdown). */
void config_help(FILE *out, bool markdown);

#endif
