/* arguments.c - what the verbs share in reading their command lines. */
#include "base/log.h"
#include "cli/verbs.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* A hash of the program file; 0 where it cannot be read. */
static uint64_t hash_program(void)
{
    char buffer[1 << 16];
    FILE *file = fopen("/proc/self/exe", "rbe");
    XXH3_state_t *state = XXH3_createState();
    uint64_t hash = 0;
    if (file && state) {
        XXH3_64bits_reset(state);
        for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;)
            XXH3_64bits_update(state, buffer, n);
        hash = XXH3_64bits_digest(state);
    }
    XXH3_freeState(state);
    if (file)
        fclose(file);
    return hash;
}

/* Launched once a core, but each for itself: they would all write the same run folder. */
static struct error *check_launch(const struct cli *cli)
{
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
    if (comm_world_size(cli->comm) > 1 || !tasks || atoi(tasks) <= 1 || getenv("OMPI_COMM_WORLD_SIZE"))
        return NULL;
    return error_new(ERROR_USAGE, "srun started %s tasks, but each of them is alone: this MPI was "
                     "not told of the others; use srun --mpi=pmix, or mpirun", tasks);
}

void cli_cores(const struct comm *comm, int *allowed, int *share)
{
    const int node = (int)sysconf(_SC_NPROCESSORS_ONLN), ranks = comm_local_size(comm);
    cpu_set_t set;
    *allowed = sched_getaffinity(0, sizeof set, &set) ? node : CPU_COUNT(&set);
    *share = node > ranks ? node / ranks : 1;
}

struct error *cli_open_comm(struct cli *cli)
{
    TRY(comm_open(&cli->comm));
    log_open(comm_rank(cli->comm));
    TRY(check_launch(cli));
    return comm_check_equal(cli->comm, "the program: they run different builds of galley",
                            hash_program());
}

struct error *cli_parse_int(long long *out, const char *option, const char *text, long long low,
                            long long high)
{
    char *end;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < low || value > high)
        return error_new(ERROR_USAGE, "%s is \"%s\"; it must be a whole number from %lld to %lld",
                         option, text, low, high);
    *out = value;
    return NULL;
}

struct error *cli_parse_double(double *out, const char *option, const char *text, double low,
                               double high)
{
    char *end;
    errno = 0;
    const double value = strtod(text, &end);
    if (end == text || *end || errno || !(value >= low && value <= high))
        return error_new(ERROR_USAGE, "%s is \"%s\"; it must be a number from %g to %g", option,
                         text, low, high);
    *out = value;
    return NULL;
}
