/* memory.c - memory used and left, from /proc and the control group. */
#include "base/memory.h"

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>

void memory_give_back_large_blocks(void)
{
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
}

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

/* A file that holds one number; SIZE_MAX where there is none ("max", or no such file). */
static size_t read_number(const char *path)
{
    size_t value = SIZE_MAX;
    FILE *file = fopen(path, "re");
    if (!file)
        return SIZE_MAX;
    if (fscanf(file, "%zu", &value) != 1)
        value = SIZE_MAX;
    fclose(file);
    return value;
}

size_t memory_available_bytes(void)
{
    char line[256];
    size_t available = SIZE_MAX, kilobytes;
    FILE *info = fopen("/proc/meminfo", "re");
    while (info && fgets(line, sizeof line, info))
        if (sscanf(line, "MemAvailable: %zu", &kilobytes) == 1)
            available = kilobytes * 1024;
    if (info)
        fclose(info);
    const size_t limit = read_number("/sys/fs/cgroup/memory.max");
    const size_t used = read_number("/sys/fs/cgroup/memory.current");
    if (limit != SIZE_MAX && used != SIZE_MAX) {
        const size_t left = limit > used ? limit - used : 0;
        available = left < available ? left : available;
    }
    return available;
}
