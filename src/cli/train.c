/* train.c - the verb `galley train`. */
#include "base/config.h"
#include "base/log.h"
#include "base/stop.h"
#include "cli/verbs.h"
#include "train/job.h"

#include <math.h>
#include <string.h>

static struct error *load(struct config **config, int argc, char **argv)
{
    if (argc < 2 || !strncmp(argv[1], "--", 2))
        return error_new(ERROR_USAGE, "galley train needs a configuration file first, as in "
                         "galley train configs/mini-gpt.yaml");
    return config_load(config, argv[1], (const char *const *)(argv + 2), argc - 2);
}

static void warn_of_binding(const struct comm *comm)
{
    int allowed, share;
    cli_cores(comm, &allowed, &share);
    if (comm_rank(comm) == 0 && allowed < share)
        log_warning("each rank may use %d of its %d cores; start with mpirun --bind-to none", allowed,
                    share);
}

static struct error *run_train(struct cli *cli, int argc, char **argv)
{
    struct config *config = NULL;
    struct job *job = NULL;
    double end_s = INFINITY;
    stop_catch_signals();
    TRY(cli_open_comm(cli));
    warn_of_binding(cli->comm);
    struct error *e = comm_agree(cli->comm, load(&config, argc, argv));
    if (!e)
        e = comm_agree(cli->comm, comm_rank(cli->comm) == 0
                                      ? cli_time_left(config->run.time_limit, &end_s)
                                      : NULL);
    if (!e)
        e = job_open(&job, cli->comm, config, end_s);
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
