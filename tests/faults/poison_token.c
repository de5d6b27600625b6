/* poison_token.c - rewrites a run's newest checkpoint with every value of one token's embedding set
 * to VALUE: poison_token RUN ID VALUE. Training is well until a sample holds that token. */
#include "train/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>

static struct error *rewrite(const struct checkpoint_file *file, const char *run, float *values,
                             const struct parameters *p, const struct tokenizer *tokenizer)
{
    size_t bytes;
    int rows = 0;
    const size_t count = (size_t)p->flat_count;
    const struct history_row *history = checkpoint_history(file, &rows);
    return checkpoint_write(run, &(struct checkpoint){
        .spec = checkpoint_spec(file), .parameters = p, .weights = values, .m = values + count,
        .v = values + 2 * count, .tokenizer = tokenizer, .config_yaml = checkpoint_config(file),
        .progress = *checkpoint_progress(file), .spikes = checkpoint_spikes(file),
        .history = history, .history_rows = rows}, &bytes);
}

static struct error *poison(const char *run, int64_t id, float value)
{
    char *path;
    struct checkpoint_file *file;
    struct parameters *p;
    struct tokenizer *tokenizer;
    TRY(checkpoint_resolve(run, false, &path));
    TRY(checkpoint_open(&file, path));
    TRY(parameters_create(&p, checkpoint_spec(file)));
    TRY(checkpoint_tokenizer(file, &tokenizer));
    const size_t count = (size_t)p->flat_count;
    float *values = calloc(3 * count, sizeof *values);
    if (!values)
        return error_new(ERROR_MEMORY, "no memory for the weights");
    TRY(checkpoint_read(file, p, values, values + count, values + 2 * count));
    const struct parameter *t = parameters_find(p, "token_embedding");
    for (int64_t i = 0; i < t->shape[1]; i++)
        values[t->offset + id * t->shape[1] + i] = value * (i % 2 ? 1.0f : -1.0f);
    TRY(rewrite(file, run, values, p, tokenizer));
    free(values);
    tokenizer_destroy(tokenizer);
    parameters_destroy(p);
    checkpoint_close(file);
    free(path);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: poison_token RUN ID VALUE\n");
        return 2;
    }
    struct error *e = poison(argv[1], atoll(argv[2]), strtof(argv[3], NULL));
    if (!e)
        return 0;
    fprintf(stderr, "%s\n", error_message(e));
    error_destroy(e);
    return 1;
}
