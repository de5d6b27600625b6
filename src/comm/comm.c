/*
 * comm.c - ranks over MPI.
 *
 * MPI runs at thread level MULTIPLE, for the buckets' helper thread calls it beside the main
 * thread; each uses a communicator of its own. Control collectives yield the processor while they
 * wait (mpi_yield_when_idle): ranks are often as many as cores, and a rank that spins at a barrier
 * takes the core that the rank it waits for needs.
 */
#include "comm/comm_inside.h"

#include "comm/mpi_error.h"
#include "comm/world.h"

#include <mpi.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    START_S = 300,    /* for all ranks to come to MPI_Init */
    END_S = 60,       /* and through MPI_Finalize, once all have come to the end */
};

static struct error *find_places(struct comm *c)
{
    MPI_Comm node;
    int length;
    TRY(mpi_check(MPI_Comm_rank(c->control, &c->rank), "MPI_Comm_rank"));
    TRY(mpi_check(MPI_Comm_size(c->control, &c->world_size), "MPI_Comm_size"));
    TRY(mpi_check(MPI_Comm_split_type(c->control, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node),
                  "MPI_Comm_split_type"));
    MPI_Comm_rank(node, &c->local_rank);
    MPI_Comm_size(node, &c->local_size);
    MPI_Comm_free(&node);
    return mpi_check(MPI_Get_processor_name(c->host, &length), "MPI_Get_processor_name");
}

/* Where everybody is, and the thread that watches them. */
static struct error *begin_watch(struct comm *c)
{
    if (c->world_size == 1)
        return NULL;
    struct watch_place mine = {.device = "no device yet", .pid = (long)getpid()};
    snprintf(mine.host, sizeof mine.host, "%.*s", (int)sizeof mine.host - 1, c->host);
    c->places = calloc((size_t)c->world_size, sizeof *c->places);
    if (!c->places)
        return error_new(ERROR_MEMORY, "no memory for the places of %d ranks", c->world_size);
    TRY(mpi_check(MPI_Allgather(&mine, (int)sizeof mine, MPI_BYTE, c->places, (int)sizeof mine,
                                MPI_BYTE, c->control), "MPI_Allgather"));
    return watch_create(&c->watch, c->places);
}

/*
 * MPI's start and end wait for all ranks, and nothing can be asked of them then. So a rank that
 * waits in vain says that it is there, which tells who is not, and ends. The text is made
 * beforehand: a signal handler may only write it.
 */
static char guard_text[512];

static void give_up(int number)
{
    (void)number;
    (void)!write(STDERR_FILENO, guard_text, strlen(guard_text));
    _exit(1);
}

static void begin_guard(const char *place, unsigned seconds)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    char host[256] = "?";
    gethostname(host, sizeof host - 1);
    snprintf(guard_text, sizeof guard_text, "galley: rank %s (process %ld on %s) waited %u s in %s "
             "for others; those ranks that do not say this hang, or are gone\n",
             rank ? rank : "?", (long)getpid(), host, seconds, place);
    signal(SIGALRM, give_up);
    alarm(seconds);
}

static void end_guard(void)
{
    alarm(0);
    signal(SIGALRM, SIG_DFL);
}

/*
 * What Open MPI is told unless mpirun's options or the environment tell it otherwise. Ranks of one
 * node need no network, and where that has an interface that Open MPI 5 cannot place, each of them
 * would say so in vain ("Unable to find reachable pairing").
 */
static void set_defaults(void)
{
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    const char *all = getenv("OMPI_COMM_WORLD_SIZE"), *here = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    if (getenv("PRTE_LAUNCHED") && all && here && !strcmp(all, here))
        setenv("OMPI_MCA_btl", "^tcp", 0);
}

struct error *comm_open(struct comm **out)
{
    struct comm *c = calloc(1, sizeof *c);
    if (!c)
        return error_new(ERROR_MEMORY, "no memory for the communicator (%zu bytes)", sizeof *c);
    int provided;
    set_defaults();
    begin_guard("MPI_Init", START_S);
    struct error *e =
        mpi_check(MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
    end_guard();
    if (e) {
        free(c);
        return e;
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    c->control = c->gradients = MPI_COMM_NULL;
    if (provided < MPI_THREAD_MULTIPLE)
        e = error_new(ERROR_COMMUNICATION, "this MPI has no support for threads "
                      "(MPI_THREAD_MULTIPLE); use one that was built with it");
    if (!e)
        e = mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &c->control), "MPI_Comm_dup");
    if (!e)
        e = mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &c->gradients), "MPI_Comm_dup");
    if (!e)
        e = find_places(c);
    if (!e && !(c->hashes = calloc((size_t)c->world_size, sizeof *c->hashes)))
        e = error_new(ERROR_MEMORY, "no memory for the hashes of %d ranks", c->world_size);
    if (!e)
        e = begin_watch(c);
    if (e) {
        comm_close(c);
        return error_context(e, "starting MPI");
    }
    *out = c;
    return NULL;
}

void comm_close(struct comm *comm)
{
    if (!comm)
        return;
    if (comm->watch) {
        comm_begin_phase(comm, COMM_END);
        error_destroy(comm_barrier(comm));    /* while somebody still watches */
    }
    begin_guard("MPI_Finalize", END_S);
    watch_destroy(comm->watch);
    free(comm->places);
    if (comm->gradients != MPI_COMM_NULL)
        MPI_Comm_free(&comm->gradients);
    if (comm->control != MPI_COMM_NULL)
        MPI_Comm_free(&comm->control);
    MPI_Finalize();
    free(comm->hashes);
    end_guard();
    free(comm);
}

/*
 * The daemons of Open MPI 5 write standard input on in pieces of 8 KB, and where the pipe to the
 * program takes only half of one, they write that half again: once for each time, so that a reader
 * slower than the writer gets a multiple of the text (seen with 5.0.7). Open MPI 4's mpirun crashes
 * now and then while it reads (seen with 4.1.4). A fifo is always right.
 */
struct error *comm_check_standard_input(void)
{
    if (!getenv("OMPI_COMMAND"))    /* which mpirun sets, and srun does not */
        return NULL;
    return error_new(ERROR_USAGE, "standard input does not come through mpirun unharmed: that of "
                     "Open MPI 5 repeats parts of it to a program that reads more slowly than it "
                     "is written, that of Open MPI 4 may crash; make a fifo (mkfifo FIFO), let the "
                     "writer write to it, and give its path, FIFO, as data.train");
}

void comm_set_deadlines(struct comm *comm, const struct comm_deadlines *deadlines)
{
    watch_set_deadlines(comm->watch, deadlines);
}

struct error *comm_share_device(struct comm *comm, const char *description)
{
    if (!comm->places)
        return NULL;
    char mine[sizeof comm->places->device];
    snprintf(mine, sizeof mine, "%s", description);
    char *all = malloc((size_t)comm->world_size * sizeof mine);
    if (!all)
        return error_new(ERROR_MEMORY, "no memory for the devices of %d ranks", comm->world_size);
    struct error *e = comm_all_gather(comm, mine, all, sizeof mine);
    for (int r = 0; r < comm->world_size && !e; r++)
        memcpy(comm->places[r].device, all + (size_t)r * sizeof mine, sizeof mine);
    free(all);
    return e;
}

struct error *comm_record(struct comm *comm, const char *folder)
{
    return watch_record(comm->watch, folder);
}

void comm_begin_phase(struct comm *comm, enum comm_phase phase)
{
    watch_phase(comm->watch, phase);
}

void comm_begin_step(struct comm *comm, int64_t step)
{
    watch_step(comm->watch, step);
}

void comm_begin_wait(struct comm *comm, const char *what)
{
    watch_wait_begin(comm->watch, what);
}

void comm_end_wait(struct comm *comm)
{
    watch_wait_end(comm->watch);
}

int comm_rank(const struct comm *comm)
{
    return comm->rank;
}

int comm_world_size(const struct comm *comm)
{
    return comm->world_size;
}

int comm_local_rank(const struct comm *comm)
{
    return comm->local_rank;
}

int comm_local_size(const struct comm *comm)
{
    return comm->local_size;
}

const char *comm_host(const struct comm *comm)
{
    return comm->host;
}

const char *comm_rank_host(const struct comm *comm, int rank)
{
    return comm->places ? comm->places[rank].host : comm->host;
}

MPI_Comm comm_gradient_world(const struct comm *comm)
{
    return comm->gradients;
}

struct error *comm_reduce(struct comm *comm, void *values, int count, MPI_Datatype type, MPI_Op op,
                          const char *what)
{
    comm_begin_wait(comm, what);
    const int code = MPI_Allreduce(MPI_IN_PLACE, values, count, type, op, comm->control);
    comm_end_wait(comm);
    return mpi_check(code, "MPI_Allreduce");
}

struct error *comm_sum(struct comm *comm, double *values, int count)
{
    return comm_reduce(comm, values, count, MPI_DOUBLE, MPI_SUM, "a sum of numbers");
}

struct error *comm_sum_int64(struct comm *comm, int64_t *values, int count)
{
    return comm_reduce(comm, values, count, MPI_INT64_T, MPI_SUM, "a sum of counts");
}

struct error *comm_max(struct comm *comm, double *values, int count)
{
    return comm_reduce(comm, values, count, MPI_DOUBLE, MPI_MAX, "a maximum");
}

struct error *comm_broadcast(struct comm *comm, void *bytes, size_t count)
{
    const size_t most = (size_t)1 << 30;    /* MPI counts are ints */
    for (size_t done = 0; done < count; done += most) {
        const size_t part = count - done < most ? count - done : most;
        comm_begin_wait(comm, "a broadcast");
        const int code = MPI_Bcast((char *)bytes + done, (int)part, MPI_BYTE, 0, comm->control);
        comm_end_wait(comm);
        TRY(mpi_check(code, "MPI_Bcast"));
    }
    return NULL;
}

struct error *comm_all_gather(struct comm *comm, const void *mine, void *all, size_t count)
{
    comm_begin_wait(comm, "a gathering of values");
    const int code = MPI_Allgather(mine, (int)count, MPI_BYTE, all, (int)count, MPI_BYTE,
                                   comm->control);
    comm_end_wait(comm);
    return mpi_check(code, "MPI_Allgather");
}

struct error *comm_barrier(struct comm *comm)
{
    comm_begin_wait(comm, "a barrier");
    const int code = MPI_Barrier(comm->control);
    comm_end_wait(comm);
    return mpi_check(code, "MPI_Barrier");
}
