/* fault.cpp - the message of a fault. */
#include "fault.h"

#include "settings.h"

#include <cstdarg>
#include <cstdio>

#include <unistd.h>

namespace simgpu {

void say(const std::string &message)
{
    const int rank = settings().rank;
    const std::string who = rank >= 0 ? "rank " + std::to_string(rank) + ": " : "";
    fprintf(stderr, "simgpu: %s%s\n", who.c_str(), message.c_str());
    fflush(stderr);
}

void fault(const char *format, ...)
{
    char message[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    say(message);
    _exit(FAULT_EXIT_CODE);
}

}    // namespace simgpu
