/*
 * philox.h - random numbers as a function of a counter: no state, so any draw can be made alone.
 *
 * Philox4x32-10 of Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3"
 * (2011), section 3.3. It passes BigCrush, and its key and counter have room for a seed and two
 * indices as they are.
 */
#ifndef GALLEY_GENERATE_PHILOX_H
#define GALLEY_GENERATE_PHILOX_H

#include <stdint.h>

/* The four random words of a counter under a key. */
void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Uniform in [0, 1), 53 bits: the number of (seed, i, j). */
double philox_uniform(uint64_t seed, uint64_t i, uint64_t j);

#endif
