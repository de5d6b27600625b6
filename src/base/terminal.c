/* terminal.c - looks through mpirun to where the output really goes. */
#include "base/terminal.h"

#include <string.h>
#include <unistd.h>

bool terminal_watched(FILE *out)
{
    char link[64], target[256];
    if (!isatty(fileno(out)))
        return false;
    snprintf(link, sizeof link, "/proc/%ld/fd/1", (long)getppid());
    const ssize_t n = readlink(link, target, sizeof target - 1);
    if (n < 0)
        return false;
    target[n] = '\0';
    return !strncmp(target, "/dev/pts/", 9) || !strncmp(target, "/dev/tty", 8);
}
