/* train.c - the verb `galley train`. */
#include "base/config.h"
#include "base/log.h"
#include "base/stop.h"
#include "cli/verbs.h"
#include "train/checkpoint.h"
#include "train/job.h"
#include "train/run_state.h"

#include <math.h>
#include <string.h>

/* What is no key of the configuration; taken out of the arguments. */
struct request {
    bool dry_run;
    long long ranks, per_node;    /* of a dry run; 0: those there are */
};

/* "--name=N" or "--name N"; moves *i to the last argument it took. */
static struct error *take_count(long long *out, bool *taken, const char *name, int argc,
                                char **argv, int *i)
{
    const size_t length = strlen(name);
    const char *argument = argv[*i];
    if (strncmp(argument, name, length) || (argument[length] && argument[length] != '='))
        return NULL;
    *taken = true;
    const char *text = argument[length] ? argument + length + 1 : *i + 1 < argc ? argv[++*i] : "";
    return cli_parse_int(out, name, text, 1, 1 << 20);
}

static struct error *take_request(struct request *r, int *argc, char **argv)
{
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        static char reproducible[] = "--train.reproducible=true";
        bool taken = !strcmp(argv[i], "--dry-run");
        if (!strcmp(argv[i], "--reproducible"))
            argv[i] = reproducible;
        r->dry_run |= taken;
        TRY(take_count(&r->ranks, &taken, "--ranks", *argc, argv, &i));
        TRY(take_count(&r->per_node, &taken, "--per-node", *argc, argv, &i));
        if (!taken)
            argv[kept++] = argv[i];
    }
    *argc = kept;
    if (!r->dry_run && (r->ranks || r->per_node))
        return error_new(ERROR_USAGE, "--ranks and --per-node are for --dry-run; mpirun says how "
                         "many ranks a run has");
    return NULL;
}

static struct error *plan(const struct request *r, struct comm *comm, struct config *config)
{
    const int ranks = r->ranks ? (int)r->ranks : comm_world_size(comm);
    const int local = r->ranks ? ranks : comm_local_size(comm);
    return job_plan(comm, config, &(struct job_ranks){
        .ranks = ranks, .per_node = r->per_node ? (int)r->per_node : local});
}

static struct error *load(struct config **config, int argc, char **argv)
{
    if (argc < 2 || !strncmp(argv[1], "--", 2))
        return error_new(ERROR_USAGE, "galley train needs a configuration file first, as in "
                         "galley train configs/mini-gpt.yaml");
    return config_load(config, argv[1], (const char *const *)(argv + 2), argc - 2);
}

/* Whether it is among the arguments, from which it is taken. */
static bool take_flag(const char *name, int *argc, char **argv)
{
    int kept = 0;
    for (int i = 0; i < *argc; i++)
        if (strcmp(argv[i], name))
            argv[kept++] = argv[i];
    const bool found = kept < *argc;
    *argc = kept;
    return found;
}

/* For scripts: "done step 400 runs/books"; step -1: nothing was saved yet. */
static struct error *print_state(int argc, char **argv)
{
    struct config *config;
    enum run_state state;
    int64_t step;
    TRY(take_request(&(struct request){.dry_run = false}, &argc, argv));
    TRY(load(&config, argc, argv));
    const char *const folder = config->run.folder;
    struct error *e = run_state_read(folder, &state);
    if (!e)
        e = checkpoint_newest_step(folder, &step);
    if (!e)
        printf("%s step %lld %s\n", run_state_name(state), (long long)step, folder);
    config_destroy(config);
    return e;
}

static void warn_of_binding(const struct comm *comm)
{
    int allowed, share;
    cli_cores(comm, &allowed, &share);
    if (comm_rank(comm) == 0 && allowed < share)
        log_warning("each rank may use %d of its %d cores; start with mpirun --bind-to none",
                    allowed, share);
}

static struct error *run_train(struct cli *cli, int argc, char **argv)
{
    struct config *config = NULL;
    struct job *job = NULL;
    struct request request = {.dry_run = false};
    double end_s = INFINITY;
    if (take_flag("--state", &argc, argv))
        return print_state(argc, argv);
    stop_catch_signals();
    TRY(cli_open_comm(cli));
    struct error *e = comm_agree(cli->comm, take_request(&request, &argc, argv));
    if (!e)
        e = comm_agree(cli->comm, load(&config, argc, argv));
    if (!e && request.dry_run) {
        e = plan(&request, cli->comm, config);
        config_destroy(config);
        return e;
    }
    warn_of_binding(cli->comm);
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
        "usage: galley train CONFIG [--dry-run] [--section.key=value...]\n"
        "       mpirun -n RANKS --bind-to none galley train CONFIG [--section.key=value...]\n\n"
        "Trains as CONFIG (YAML) says; what follows it overrides single keys. A run is a folder\n"
        "(run.folder): where it holds a checkpoint, training goes on from there.\n\n"
        "  --reproducible      the same losses, bit for bit, for every power of two of CPU ranks, at a cost\n"
        "                      (train.reproducible below)\n"
        "  --state             print \"STATE step N FOLDER\" of the run: new, running, stopped, failed or done,\n"
        "                      and its newest checkpoint's step, -1 without. What is killed stays \"running\"\n"
        "  --dry-run           tell parameters, bytes of every buffer, size of a checkpoint, steps,\n"
        "                      tokens and fingerprint of the data, and whether it fits; writes\n"
        "                      nothing, and allocates nothing of it\n"
        "  --ranks N           the dry run is for N ranks; default: those that were started\n"
        "  --per-node N        so many of them on a node; default: all\n\n"
        "Exit codes: 0 done; 1 failed; 2 the command or configuration is wrong; 75 asked to stop (USR1,\n"
        "TERM, Ctrl-C) or out of time, and saved: the same command goes on. galley help died tells more.\n",
};
