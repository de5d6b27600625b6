/*
 * calls.h - what every call into the simulated libraries does first.
 *
 * A call is counted under its name, the device may work a little, and the call fails, or is late, where
 * the environment asked for it (settings.h). Beside the functions of the libraries there are the names
 *
 *   kernel        a kernel that runs: the device then fails for good with the error
 *   nvls          a rank that joins a communicator and sets up sums in the switches
 *   unaligned     a collective of memory that does not begin at a multiple of 16 bytes; cannot fail
 *   collective    a collective that begins: it never ends, and ncclCommGetAsyncError tells the error
 */
#ifndef SIMGPU_CALLS_H
#define SIMGPU_CALLS_H

namespace simgpu {

/* Counts; the error this call must fail with, or 0. For the names above. */
int injected_failure(const char *name);
/* The same for a call of the host. */
int enter_call(const char *name);

}    // namespace simgpu

#endif
