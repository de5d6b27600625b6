/*
 * exchange.h - bytes of every rank to every rank, over MPI, in the background.
 *
 * Messages go point to point on MPI_COMM_WORLD with tags that nobody else uses, so that an exchange
 * in which a rank never joins can be forgotten. One exchange a tag at a time.
 */
#ifndef SIMGPU_EXCHANGE_H
#define SIMGPU_EXCHANGE_H

#include <cstddef>
#include <vector>

namespace simgpu {

class exchange {
public:
    /* Begins; every rank gives as many bytes. */
    exchange(int tag, int rank, int size, std::vector<char> mine);
    /* Forgets what has not come. */
    ~exchange();
    exchange(const exchange &) = delete;
    exchange &operator=(const exchange &) = delete;

    bool finished();
    /* What a rank gave, once it is finished. */
    const char *of(int rank) const
    {
        return all[(size_t)rank].data();
    }

private:
    struct requests;
    requests *pending;
    std::vector<std::vector<char>> all;
};

/* The ranks of MPI's world, 1 where MPI was not started, and which of them this is. */
void exchange_world(int *rank, int *size);

}    // namespace simgpu

#endif
