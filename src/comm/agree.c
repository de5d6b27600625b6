/* agree.c - what ranks must have in common: equal values, one error, one end. */
#include "comm/comm_inside.h"

#include "base/tell.h"
#include "comm/mpi_error.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    MESSAGE_BYTES = 4096,
    FIRST_WORD_US = 1000000,    /* what other ranks leave rank 0 to speak first */
};

/* What most ranks have; of equals that of the lowest rank. */
static uint64_t majority(const uint64_t *hashes, int n)
{
    int best = 0, best_count = 0;
    for (int i = 0; i < n; i++) {
        int count = 0;
        for (int j = 0; j < n; j++)
            count += hashes[j] == hashes[i];
        if (count > best_count) {
            best = i;
            best_count = count;
        }
    }
    return hashes[best];
}

struct error *comm_check_equal(struct comm *comm, const char *what, uint64_t hash)
{
    const int n = comm->world_size;
    uint64_t *const hashes = comm->hashes;
    struct error *e = comm_all_gather(comm, &hash, hashes, sizeof hash);
    if (!e) {
        const uint64_t most = majority(hashes, n);
        char ranks[256] = "";
        size_t used = 0;
        int different = 0;
        for (int r = 0; r < n; r++) {
            if (hashes[r] == most)
                continue;
            different++;
            if (used < sizeof ranks - 16)
                used += (size_t)snprintf(ranks + used, sizeof ranks - used, "%s%d",
                                         used ? ", " : "", r);
        }
        if (different > 0) {
            e = error_new(ERROR_COMMUNICATION, "ranks disagree on %s: rank%s %s differ%s from the "
                          "others", what,
                          different > 1 ? "s" : "", ranks, different > 1 ? "" : "s");
            comm->agreed = true;
        }
    }
    return e;
}

/* The message of `source`, the same on every rank. */
static struct error *share_message(struct comm *comm, struct error *mine, int source,
                                   bool everywhere)
{
    struct {
        enum error_kind kind;
        char text[MESSAGE_BYTES];
    } message = {0};
    if (comm->rank == source) {
        message.kind = error_kind(mine);
        if (everywhere || comm->world_size == 1)
            snprintf(message.text, sizeof message.text, "%s", error_message(mine));
        else
            snprintf(message.text, sizeof message.text, "on rank %d of host %s: %s", comm->rank,
                     comm->host, error_message(mine));
    }
    error_destroy(mine);
    comm_begin_wait(comm, "an error's text");
    const int code = MPI_Bcast(&message, (int)sizeof message, MPI_BYTE, source, comm->control);
    comm_end_wait(comm);
    TRY(mpi_check(code, "MPI_Bcast"));
    comm->agreed = true;
    return error_new(message.kind, "%s", message.text);
}

struct error *comm_agree(struct comm *comm, struct error *mine)
{
    /* The lowest rank with an error, and how many there are, in one sum each. */
    int lowest = mine ? comm->rank : comm->world_size, failed = mine ? 1 : 0;
    struct error *e = comm_reduce(comm, &lowest, 1, MPI_INT, MPI_MIN, "agreement on errors");
    if (!e)
        e = comm_reduce(comm, &failed, 1, MPI_INT, MPI_SUM, "agreement on errors");
    if (e) {
        if (!mine)
            return e;
        error_destroy(e);
        return mine;
    }
    if (failed == 0)
        return NULL;
    return share_message(comm, mine, lowest, failed == comm->world_size);
}

bool comm_agreed(const struct comm *comm)
{
    return comm->agreed || comm->world_size == 1;
}

/* Before MPI was started: the number that the launcher gave this process; 0 without one. */
static int launched_rank(void)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    if (!rank)
        rank = getenv("PMIX_RANK");
    return rank ? atoi(rank) : 0;
}

bool comm_speaks(void)
{
    if (launched_rank() == 0)
        return true;
    usleep(FIRST_WORD_US);
    return false;
}

int comm_end(struct comm *comm, struct error *error)
{
    const int code = error_exit_code(error);
    if (!comm && error_kind(error) == ERROR_USAGE && !comm_speaks()) {
        error_destroy(error);
        return code;
    }
    if (!comm || comm_agreed(comm)) {
        if (!comm || comm->rank == 0)
            tell(stderr, "galley: %s\n", error_message(error));
        error_destroy(error);
        return code;
    }

    /* Nobody else may know: this rank speaks and ends all. Where every rank failed at the same
     * moment, rank 0 is first, and ends the others before they speak. */
    if (comm->rank != 0)
        usleep(FIRST_WORD_US);
    tell(stderr, "galley: rank %d (%s): %s\n", comm->rank, comm->host, error_message(error));
    fflush(NULL);
    error_destroy(error);
    MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}
