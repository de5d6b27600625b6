/*
 * block.h - the threads of one block of a simulated kernel, and the points at which they meet.
 *
 * A block's threads run one after another, each until it must wait for others: at a barrier of the
 * block, or at an operation of its warp (shuffle, vote, tensor-core product ...). A thread that
 * never waits is a plain call; one that does keeps its stack (a fiber) until the others have come.
 *
 * Threads begin in a random order, and those whose meeting is over go on in a random order, so that
 * a missing barrier shows as a wrong number under some seed. Threads that can never meet end the
 * process with a list of who waits where.
 *
 * Everything here belongs to the one thread of the process that plays the device.
 */
#ifndef SIMGPU_BLOCK_H
#define SIMGPU_BLOCK_H

#include <vector_types.h>

#include <cstddef>
#include <functional>
#include <string>

namespace simgpu {

enum { WARP = 32, BLOCK_MAX_THREADS = 1024 };

/* One CUDA thread of the running block. */
struct thread {
    uint3 index;    /* threadIdx */
    int lane, warp;
    struct context *stack;    /* what it runs on, once it has begun */
    const char *waits_at;     /* what it waits at; NULL: it does not */
    unsigned mask;            /* the lanes it wants to meet; 0: the whole block */
    void *offer;              /* what it brings to the meeting: a variable on its stack */
    bool exited;
};

/* What kernels read as threadIdx, blockIdx, blockDim, gridDim, and the dynamic shared memory. */
extern thread *running;
extern uint3 block_index;
extern dim3 block_dim, grid_dim;
extern unsigned char *dynamic_shared;

/* Combines what the lanes in `arrived` offer (by lane) and leaves each its result in its offer. */
using combine_offers = void (*)(void *const *offers, unsigned arrived);

/* Waits until every lane of `mask` that has not exited is at this operation, too. `where` is the
 * operation's name, a literal: lanes meet only at the same one with the same mask. */
void meet_warp(unsigned mask, const char *where, void *offer, combine_offers combine);

/* Waits until every thread of the block that has not exited is at a barrier of the block. */
void meet_block(const char *where);

/* Ends the process where a lane of the warp has exited before an operation that needs them all. */
void need_whole_warp(const char *where, unsigned arrived);
[[noreturn]] void misaligned_tile(const void *tile, int ld);

/* True once in `n`, by the seed. */
bool chance(unsigned n);

/* Shared memory of a kernel's source file that run_grid fills: language.h says so for each. */
bool add_shared_section(unsigned char *first, unsigned char *end);

struct launch {
    dim3 grid, block;
    size_t shared_bytes;
    std::function<void()> thread;    /* what every thread runs */
    std::string name;                /* for messages */
};

/* Runs all blocks, in a random order. Shared memory is full of NaN bytes when a block begins. */
void run_grid(const launch &launch);

/* "kernel NAME, block (x, y, z), thread (x, y, z)", or "" where no kernel runs. */
std::string running_place();

}    // namespace simgpu

#endif
