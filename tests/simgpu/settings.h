/*
 * settings.h - what the environment asks of the simulated device.
 *
 *   SIMGPU_SEED      the order of threads, blocks and streams (default 1); ranks differ
 *   SIMGPU_DEVICES   how many GPUs there are (default 8); "none": no driver is installed
 *   SIMGPU_MEMORY    bytes of memory of a GPU (default 8 GiB)
 *   SIMGPU_SHARED    bytes of shared memory that a GPU gives a block (default 99 KiB, the least that
 *                    there is)
 *   SIMGPU_FAIL      "NAME:N:ERROR" lets the N-th call of NAME (from 1) return the number ERROR;
 *                    "@R" behind it: on rank R alone. calls.h says which names there are.
 *   SIMGPU_LATE      "NAME:N:S" lets the N-th call of NAME take S seconds more; "@R" as above
 *   SIMGPU_MEET      "always": a collective's call, the end of a group and ncclCommFinalize are in progress until
 *                    every rank has made the same, as with NVLS; "first": only the first of each kind,
 *                    type and order of magnitude, for which NCCL connects ranks
 *   SIMGPU_MULTICAST how many GPUs, from the first, have switches that can add (default 0)
 *   SIMGPU_IGNORE    the number of an event, from 1 as they are made: nobody waits for it, streams run
 *                    on and the host is told that it has happened. What is then still right did not
 *                    need the event.
 *   SIMGPU_CALLS     a file to which every process appends "NAME COUNT" for each call it made
 *                    and "event N" for each event that was waited for
 *
 *   SIMGPU_EPILOGUES "fast": by the device's events a product without an epilogue takes a second more
 *                    than it does; "slow": one with an epilogue
 *   SIMGPU_SLOW      what names of kernels ("FILE:LINE") begin with, that by the device's events take
 *                    a second more than they do
 *
 * CUDA_VISIBLE_DEVICES means what it means to the real runtime, with ordinals.
 */
#ifndef SIMGPU_SETTINGS_H
#define SIMGPU_SETTINGS_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace simgpu {

struct settings_of_process {
    uint64_t seed;
    bool driver;
    std::vector<int> devices;    /* the visible ones, by the number that all processes have for them */
    size_t memory_bytes, shared_bytes;
    std::string fail_name;
    long fail_number;    /* 0: none */
    int fail_error;
    std::string late_name;
    long late_number;    /* 0: none */
    int late_s;
    std::string meet;    /* "", "always" or "first" */
    int multicast_devices;
    long ignored_event;    /* 0: none */
    std::string calls_file;
    std::string epilogues;    /* "", "fast" or "slow" */
    std::string slow_kernels;    /* "": none */
    int rank;    /* -1: not started by mpirun */
};

/* Read from the environment once. A word it does not understand ends the process. */
const settings_of_process &settings();

}    // namespace simgpu

#endif
