/* fault.h - ends the process over a use of the device that a real one would punish, now or
 * later. */
#ifndef SIMGPU_FAULT_H
#define SIMGPU_FAULT_H

#include <string>

namespace simgpu {

/* Prints "simgpu: [rank R:] MESSAGE" as one line on standard error. */
void say(const std::string &message);

/* A process that ended over a fault; not by abort(), at which MPI would print a page of its own. */
enum { FAULT_EXIT_CODE = 70 };

/* Says so and ends the process. */
[[noreturn]] void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

}    // namespace simgpu

#endif
