/*
 * comm.h - the ranks of a run: who they are, small collectives, and ending together.
 *
 * MPI does the rendezvous and all control; gradients go through buckets.h. A program started
 * without mpirun is a world of one rank. All functions marked "Collective" must be called by every
 * rank in the same order; the others are local.
 */
#ifndef GALLEY_COMM_COMM_H
#define GALLEY_COMM_COMM_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct comm;

/* Collective. Starts MPI (thread level MULTIPLE) and finds out who is where. Once a process. */
MUST_USE struct error *comm_open(struct comm **out);
/* Collective. Ends MPI. NULL is fine. */
void comm_close(struct comm *comm);

/* Local. An error where what this process reads from standard input may not be what was written to
 * mpirun's; the error says how else to give it. */
MUST_USE struct error *comm_check_standard_input(void);

int comm_rank(const struct comm *comm);
int comm_world_size(const struct comm *comm);
int comm_local_rank(const struct comm *comm);    /* among the ranks of this node */
int comm_local_size(const struct comm *comm);
const char *comm_host(const struct comm *comm);
const char *comm_rank_host(const struct comm *comm, int rank);    /* of any rank */

/* ---- Where a rank is ---- */

/*
 * Ranks wait for each other at every step, and one that never comes would hang all. So every rank
 * says where it is, and a thread watches: when others wait longer than the deadlines for a rank
 * that no longer answers, or for one that is in its phase for too long, one message names it, and
 * all ranks end (exit code 1). A world of one rank waits for nobody.
 */
enum comm_phase {
    COMM_INIT, COMM_DATA, COMM_STEP, COMM_VALIDATION, COMM_SAMPLING, COMM_SAVE, COMM_END,
};
const char *comm_phase_name(enum comm_phase phase);

/* Seconds. */
struct comm_deadlines {
    double answer_s;                               /* a rank others wait for is heard of within this */
    double init_s, data_s, step_s, validation_s, save_s;    /* the longest a rank may be in one place of a
                                                             * phase */
};
#define COMM_DEADLINES                                                                             \
    {.answer_s = 60, .init_s = 7200, .data_s = 7200, .step_s = 1800, .validation_s = 7200,        \
     .save_s = 1800}

/* Local: from now on these hold. */
void comm_set_deadlines(struct comm *comm, const struct comm_deadlines *deadlines);
/* Collective. What the ranks compute on, for reports. */
MUST_USE struct error *comm_share_device(struct comm *comm, const char *description);
/* Local: keeps a record of what this rank does in FOLDER/flight, which is there. */
MUST_USE struct error *comm_record(struct comm *comm, const char *folder);
/* Local: the main thread begins something else, or the same again. A step is COMM_STEP, but for its
 * reading of samples: COMM_DATA. */
void comm_begin_phase(struct comm *comm, enum comm_phase phase);
void comm_begin_step(struct comm *comm, int64_t step);
/* Around a wait for other ranks that is not one of the collectives below; `what` is a literal. All
 * ranks wait for the same things in the same order. */
void comm_begin_wait(struct comm *comm, const char *what);
void comm_end_wait(struct comm *comm);

/* Collective. Element-wise over all ranks, in place, the same result everywhere. */
MUST_USE struct error *comm_sum(struct comm *comm, double *values, int count);
MUST_USE struct error *comm_sum_int64(struct comm *comm, int64_t *values, int count);
MUST_USE struct error *comm_max(struct comm *comm, double *values, int count);
/* Collective. Rank 0's bytes to everybody. */
MUST_USE struct error *comm_broadcast(struct comm *comm, void *bytes, size_t count);
/* Collective. `count` bytes of every rank, in rank order, to `all` (world_size * count)
 * everywhere. */
MUST_USE struct error *comm_all_gather(struct comm *comm, const void *mine, void *all,
                                       size_t count);
MUST_USE struct error *comm_barrier(struct comm *comm);

/* Collective. `hash` must be the same on every rank; else an agreed error that names `what` and the
 * ranks that differ from most. */
MUST_USE struct error *comm_check_equal(struct comm *comm, const char *what, uint64_t hash);

/*
 * Collective. Turns an error of any rank into the same error on every rank: each gives its own or
 * NULL; if any is set, all get the message of the lowest rank that has one, marked as agreed, with
 * "on rank R of host H: " before it unless every rank has one. So main() prints it once and all
 * ranks end with the same code. Takes `mine`.
 */
MUST_USE struct error *comm_agree(struct comm *comm, struct error *mine);
/* Local. Whether the error that ends the run is every rank's: any other may be what is seen here of a
 * rank that is lost. */
bool comm_agreed(const struct comm *comm);

/*
 * Ends all ranks with one message; for `main` alone. An agreed error: rank 0 prints it, every rank
 * returns the exit code to give to exit() after comm_close. Any other: prints "rank R (host): ..."
 * and aborts the world with the exit code; it does not return. Takes `error`. comm is NULL where
 * MPI was not started: then a wrong command, which is the same on all ranks, is told by rank 0
 * alone, as the launcher numbers them.
 */
int comm_end(struct comm *comm, struct error *error);
/* Where MPI is not started: whether this process is to speak for all that were launched with it, as rank
 * 0 is. The others return a moment later: a launcher may end all when the first one ends. */
bool comm_speaks(void);

#endif
