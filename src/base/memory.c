/* memory.c - resident memory from /proc. */
#include "base/memory.h"

#include <stdio.h>

size_t memory_resident_bytes(void)
{
    char line[256];
    size_t total = 0;
    FILE *status = fopen("/proc/self/status", "re");
    if (!status)
        return 0;
    while (fgets(line, sizeof line, status)) {
        size_t kilobytes;
        if (sscanf(line, "RssAnon: %zu", &kilobytes) == 1 ||
            sscanf(line, "RssShmem: %zu", &kilobytes) == 1)
            total += kilobytes * 1024;
    }
    fclose(status);
    return total;
}
