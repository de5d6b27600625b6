/*
 * collectives_tree.c - sums of host memory in an order that does not depend on the number of ranks.
 *
 * MPI_Allreduce adds as it likes, another way for every number of ranks. Here ranks, a power of
 * two, exchange by recursive doubling: at level k a rank adds the values of the one whose number
 * differs in bit k. So after level k every group of 2^(k+1) neighbours has its sum, made as (left
 * half) + (right half): the binary tree over all ranks, which a single rank that adds its own parts
 * up the same tree gets too, bit for bit, for a + b is b + a. Costs log2(ranks) exchanges of
 * everything, and goes on while nothing else does.
 */
#include "comm/collectives.h"

#include "comm/mpi_error.h"
#include "comm/world.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 1 << 20, TAG = 1 };    /* what is exchanged at a time */

struct tree {
    struct comm *comm;
    struct sum *sums;            /* since the last wait */
    int most, given;
    void *received;              /* (PIECE_BYTES) */
};

static void tree_close(void *self)
{
    struct tree *s = self;
    free(s->sums);
    free(s->received);
    free(s);
}

static struct error *tree_open(void **self, const struct collectives_options *options)
{
    const int ranks = comm_world_size(options->comm);
    if (ranks & (ranks - 1))
        BUG("%d ranks are no power of two", ranks);
    struct tree *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory for sums up a tree (%zu bytes)", sizeof *s);
    s->comm = options->comm;
    s->most = options->most;
    s->sums = calloc((size_t)s->most, sizeof *s->sums);
    s->received = malloc(PIECE_BYTES);
    if (!s->sums || !s->received) {
        tree_close(s);
        return error_new(ERROR_MEMORY, "no memory for %d sums up a tree", options->most);
    }
    *self = s;
    return NULL;
}

static void tree_sum_begin(void *self, const struct sum *sums, int n)
{
    struct tree *s = self;
    if (s->given + n > s->most)
        BUG("%d sums were begun, %d more are too many of %d", s->given, n, s->most);
    memcpy(s->sums + s->given, sums, (size_t)n * sizeof *sums);
    s->given += n;
}

static void add(void *values, const void *more, int64_t count, enum sum_type type)
{
    if (type == SUM_FLOAT)
        for (int64_t i = 0; i < count; i++)
            ((float *)values)[i] += ((const float *)more)[i];
    else
        for (int64_t i = 0; i < count; i++)
            ((double *)values)[i] += ((const double *)more)[i];
}

/* One piece of a sum, up all levels. */
static struct error *sum_piece(const struct tree *s, void *values, int64_t count,
                               enum sum_type type)
{
    const MPI_Datatype element = type == SUM_FLOAT ? MPI_FLOAT : MPI_DOUBLE;
    const MPI_Comm world = comm_gradient_world(s->comm);
    for (int bit = 1; bit < comm_world_size(s->comm); bit *= 2) {
        const int partner = comm_rank(s->comm) ^ bit;
        TRY(mpi_check(MPI_Sendrecv(values, (int)count, element, partner, TAG, s->received, (int)count,
                                   element, partner, TAG, world, MPI_STATUS_IGNORE),
                                   "MPI_Sendrecv"));
        add(values, s->received, count, type);
    }
    return NULL;
}

static struct error *tree_wait(void *self)
{
    struct tree *s = self;
    struct error *e = NULL;
    for (int i = 0; i < s->given && !e; i++) {
        const struct sum *sum = &s->sums[i];
        const size_t bytes = sum->type == SUM_FLOAT ? sizeof(float) : sizeof(double);
        const int64_t piece = (int64_t)(PIECE_BYTES / bytes);
        for (int64_t at = 0; at < sum->count && !e; at += piece)
            e = sum_piece(s, (char *)sum->values + (size_t)at * bytes,
                          sum->count - at < piece ? sum->count - at : piece, sum->type);
    }
    s->given = 0;
    return e;
}

const struct collectives collectives_tree = {
    .name = "MPI in a tree",
    .device_kind = "cpu",
    .open = tree_open,
    .sum_begin = tree_sum_begin,
    .wait = tree_wait,
    .close = tree_close,
};
