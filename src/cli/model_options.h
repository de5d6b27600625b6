/*
 * model_options.h - the options of a verb that opens a model: which one, and where it computes.
 *
 *     struct request { struct cli_model model; ... };
 *     static const struct cli_option flags[] = {..., CLI_MODEL_OPTIONS(struct request, model), ...};
 *     "...\n" CLI_MODEL_HELP
 */
#ifndef GALLEY_CLI_MODEL_OPTIONS_H
#define GALLEY_CLI_MODEL_OPTIONS_H

#include "cli/options.h"
#include "train/model_source.h"

struct cli_model {
    struct model_source_options source;    /* its path is no option */
    enum dtype precision;
    const char *device;
    int threads;
};

#define CLI_MODEL_DEFAULT {.precision = DTYPE_F32, .device = "auto"}

#define CLI_SOURCE_OPTIONS(type, field)                                                            \
    CLI_FLAG("best", type, field.best), CLI_TEXT("tokenizer", type, field.tokenizer),              \
        CLI_FLAG("lowercase", type, field.lowercase)

#define CLI_MODEL_OPTIONS(type, field)                                                             \
    CLI_SOURCE_OPTIONS(type, field.source), CLI_PRECISION("precision", type, field.precision),     \
        CLI_TEXT("device", type, field.device), CLI_INT("threads", type, field.threads, 1, 4096)

#define CLI_SOURCE_HELP                                                                            \
    "  --best              of a run: the checkpoint of the lowest validation perplexity\n"         \
    "  --tokenizer PATH    a vocabulary or folder to use instead of the model's own\n"             \
    "  --lowercase         that is a WordPiece vocabulary which folds case\n"

#define CLI_MODEL_HELP                                                                             \
    CLI_SOURCE_HELP                                                                                \
    "  --precision NAME    fp32 (default) or bf16\n"                                               \
    "  --device NAME       auto (default), cpu or cuda\n"                                          \
    "  --threads N         compute threads of a rank; default: its share of the cores\n"

#endif
