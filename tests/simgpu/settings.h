/*
 * settings.h - what the environment asks of the simulated device.
 *
 *   SIMGPU_SEED      the order of threads, blocks and streams (default 1); ranks differ
 *   SIMGPU_DEVICES   how many GPUs there are (default 8); "none": no driver is installed
 *   SIMGPU_MEMORY    bytes of memory of a GPU (default 8 GiB)
 *   SIMGPU_FAIL      "NAME:N:ERROR" lets the N-th call of NAME (from 1) return the number ERROR;
 *                    "@R" behind it: on rank R alone. calls.h says which names there are.
 *   SIMGPU_CALLS     a file to which every process appends "NAME COUNT" for each call it made
 */
#ifndef SIMGPU_SETTINGS_H
#define SIMGPU_SETTINGS_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace simgpu {

struct settings_of_process {
    uint64_t seed;
    int devices;    /* -1: no driver */
    size_t memory_bytes;
    std::string fail_name;
    long fail_number;    /* 0: none */
    int fail_error;
    std::string calls_file;
    int rank;    /* -1: not started by mpirun */
};

/* Read from the environment once. A word it does not understand ends the process. */
const settings_of_process &settings();

}    // namespace simgpu

#endif
