/* exchange.cpp - sends and receives of an exchange. */
#include "exchange.h"

#include "fault.h"

#define OMPI_SKIP_MPICXX
#include <mpi.h>

namespace simgpu {

struct exchange::requests {
    std::vector<MPI_Request> list;
};

exchange::exchange(int tag, int rank, int size, std::vector<char> mine)
    : pending(new requests), all((size_t)size, std::vector<char>(mine.size()))
{
    all[(size_t)rank] = std::move(mine);
    std::vector<char> &own = all[(size_t)rank];
    for (int other = 0; other < size; other++) {
        if (other == rank)
            continue;
        std::vector<char> &theirs = all[(size_t)other];
        MPI_Request in, out;
        if (MPI_Irecv(theirs.data(), (int)theirs.size(), MPI_BYTE, other, tag, MPI_COMM_WORLD, &in) ||
            MPI_Isend(own.data(), (int)own.size(), MPI_BYTE, other, tag, MPI_COMM_WORLD, &out))
            fault("MPI does not exchange %zu bytes with rank %d", own.size(), other);
        pending->list.push_back(in);
        pending->list.push_back(out);
    }
}

/* What is on its way still reads and writes it. */
static void keep_for_good(std::vector<std::vector<char>> bytes)
{
    static std::vector<std::vector<std::vector<char>>> *const kept =
        new std::vector<std::vector<std::vector<char>>>;
    kept->push_back(std::move(bytes));
}

exchange::~exchange()
{
    if (!finished()) {
        for (MPI_Request &r : pending->list)
            if (r != MPI_REQUEST_NULL)
                MPI_Cancel(&r);
        keep_for_good(std::move(all));
    }
    delete pending;
}

bool exchange::finished()
{
    int done = 1;
    if (!pending->list.empty() &&
        MPI_Testall((int)pending->list.size(), pending->list.data(), &done, MPI_STATUSES_IGNORE))
        fault("MPI lost a rank in the middle of an exchange");
    return done;
}

void exchange_world(int *rank, int *size)
{
    int started, level;
    *rank = 0;
    *size = 1;
    MPI_Initialized(&started);
    if (!started)
        return;
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, size);
    MPI_Query_thread(&level);
    if (*size > 1 && level < MPI_THREAD_MULTIPLE)
        fault("NCCL is simulated over MPI with thread level MULTIPLE; this program has %d", level);
}

}    // namespace simgpu
