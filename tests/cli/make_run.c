/* make_run.c - writes a run folder with two checkpoints of a tiny model: make_run FOLDER. The
 * newest is of step 20, the best by validation perplexity of step 10. */
#include "model/parameters.h"
#include "train/checkpoint.h"
#include "train/run_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char VOCABULARY[] =
    "[PAD]\n[UNK]\n[BOS]\n.\nthe\ncat\nsat\non\na\nmat\nand\nsaw\ndog\n##s\n";

static struct error *write_checkpoint(const char *folder, const struct tokenizer *tokenizer,
                                      int64_t step)
{
    const struct model_spec spec = {
        .family = MODEL_MINI_GPT, .V = 16, .positions = 24, .C = 16, .NH = 2, .F = 24, .L = 1,
    };
    struct parameters *parameters;
    TRY(parameters_create(&parameters, &spec));
    const size_t count = (size_t)parameters->flat_count;
    float *weights = calloc(3 * count, sizeof *weights);
    if (!weights)
        return error_new(ERROR_MEMORY, "no memory for the weights");
    parameters_initialize(parameters, (uint64_t)step, weights);
    /* So that the model is less than even-handed. */
    for (size_t i = 0; i < count; i++)
        weights[i] *= 2;

    static const struct history_row history[] = {
        {.step = 10, .epoch = 1, .validation_loss = 2, .validation_perplexity = 7},
        {.step = 20, .epoch = 2, .validation_loss = 3, .validation_perplexity = 20},
    };
    size_t bytes;
    struct error *e = checkpoint_write(folder, &(struct checkpoint){
        .spec = &spec, .parameters = parameters,
        .weights = weights, .m = weights + count, .v = weights + 2 * count,
        .tokenizer = tokenizer, .config_yaml = "run:\n    seed: 1\n",
        .progress = {.step = step, .epoch = step / 10, .seed = 1, .world_size = 1,
                     .best_perplexity = 7, .best_step = 10},
        .history = history, .history_rows = (int)(step / 10)}, &bytes);
    free(weights);
    parameters_destroy(parameters);
    return e;
}

static struct error *make_run(const char *path)
{
    struct run_folder *folder;
    struct tokenizer *tokenizer;
    TRY(run_folder_open(&folder, path));
    struct error *e =
        tokenizer_create_wordpiece(&tokenizer, VOCABULARY, strlen(VOCABULARY), "words",
                                   &(struct wordpiece_options){.lowercase = true, .split = true});
    for (int64_t step = 10; !e && step <= 20; step += 10)
        e = write_checkpoint(path, tokenizer, step);
    tokenizer_destroy(tokenizer);
    run_folder_close(folder);
    return e;
}

int main(int argc, char **argv)
{
    struct error *e = argc == 2 ? make_run(argv[1])
                                : error_new(ERROR_USAGE, "usage: make_run FOLDER");
    if (e)
        fprintf(stderr, "make_run: %s\n", error_message(e));
    const int code = e ? error_exit_code(e) : 0;
    error_destroy(e);
    return code;
}
