/* train.c - the verb `galley train`. */
#include "base/config.h"
#include "cli/verbs.h"
#include "train/job.h"

#include <string.h>

static struct error *load(struct config **config, int argc, char **argv)
{
    if (argc < 2 || !strncmp(argv[1], "--", 2))
        return error_new(ERROR_USAGE, "galley train needs a configuration file first, as in "
                         "galley train configs/mini-gpt.yaml");
    return config_load(config, argv[1], (const char *const *)(argv + 2), argc - 2);
}

static struct error *run_train(struct cli *cli, int argc, char **argv)
{
    struct config *config = NULL;
    struct job *job = NULL;
    TRY(cli_open_comm(cli));
    struct error *e = comm_agree(cli->comm, load(&config, argc, argv));
    if (!e)
        e = job_open(&job, cli->comm, config);
    if (!e)
        e = job_run(job);
    job_close(job);
    config_destroy(config);
    return e;
}

static void print_keys(FILE *out)
{
    config_help(out, false);
}

const struct verb verb_train = {
    .name = "train",
    .summary = "trains a model on text, over any number of ranks",
    .run = run_train,
    .more_help = print_keys,
    .help =
        "usage: galley train CONFIG [--section.key=value...]\n"
        "       mpirun -n RANKS --bind-to none galley train CONFIG [--section.key=value...]\n\n"
        "Trains as CONFIG (YAML) says; what follows it overrides single keys. A run is a folder\n"
        "(run.folder): where it holds a checkpoint, training goes on from there.\n",
};
