/* random.h - the random numbers behind every choice of the simulated device: SplitMix64, by the
 * seed. */
#ifndef SIMGPU_RANDOM_H
#define SIMGPU_RANDOM_H

#include "settings.h"

#include <cstdint>

namespace simgpu {

class random_numbers {
public:
    /* Evenly in [0, n); n > 0. */
    unsigned below(unsigned n)
    {
        return (unsigned)((next() >> 32) * n >> 32);
    }

private:
    uint64_t next()
    {
        if (!seeded) {    /* not before the first number: a test may set the seed after the start */
            state = settings().seed;
            seeded = true;
        }
        uint64_t z = state += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
    }

    uint64_t state = 0;
    bool seeded = false;
};

}    // namespace simgpu

#endif
