/* flight.c - a ring of lines in a mapped file. */
#include "comm/flight.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILE_BYTES = FLIGHT_LINE_BYTES * FLIGHT_LINES, NUMBER_BYTES = 10 };

struct flight {
    char *lines;
    unsigned long long count;
    double start_s;
};

struct error *flight_open(struct flight **out, const char *path)
{
    struct flight *f = calloc(1, sizeof *f);
    if (!f)
        return error_new(ERROR_MEMORY, "no memory for a flight record (%zu bytes)", sizeof *f);
    unlink(path);
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    /* Space is taken now: a mapped page without a place on the disk would be a fatal signal
     * later. */
    if (fd >= 0)
        errno = posix_fallocate(fd, 0, FILE_BYTES);
    if (fd < 0 || errno) {
        struct error *e = error_errno(ERROR_IO, "cannot write the flight record %s", path);
        if (fd >= 0)
            close(fd);
        free(f);
        return e;
    }
    f->lines = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct error *e = f->lines == MAP_FAILED
                          ? error_errno(ERROR_IO, "cannot map the flight record %s", path)
                          : NULL;
    close(fd);
    if (e) {
        free(f);
        return e;
    }
    memset(f->lines, ' ', FILE_BYTES);
    for (int i = 1; i <= FLIGHT_LINES; i++)
        f->lines[i * FLIGHT_LINE_BYTES - 1] = '\n';
    f->start_s = clock_now_s();
    *out = f;
    return NULL;
}

void flight_close(struct flight *flight)
{
    if (!flight)
        return;
    munmap(flight->lines, FILE_BYTES);
    free(flight);
}

void flight_add(struct flight *flight, const char *format, ...)
{
    if (!flight)
        return;
    char text[FLIGHT_LINE_BYTES];
    va_list arguments;
    int n = snprintf(text, sizeof text, "%0*llu %10.3f ", NUMBER_BYTES, flight->count,
                     clock_now_s() - flight->start_s);
    va_start(arguments, format);
    n += vsnprintf(text + n, sizeof text - (size_t)n, format, arguments);
    va_end(arguments);
    if (n > FLIGHT_LINE_BYTES - 1)
        n = FLIGHT_LINE_BYTES - 1;
    char *line = flight->lines + (flight->count++ % FLIGHT_LINES) * FLIGHT_LINE_BYTES;
    memset(line + n, ' ', (size_t)(FLIGHT_LINE_BYTES - 1 - n));
    memcpy(line, text, (size_t)n);
}

bool flight_last(const char *path, char *line, size_t bytes)
{
    char row[FLIGHT_LINE_BYTES + 1], last[FLIGHT_LINE_BYTES + 1] = "";
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    while (fgets(row, sizeof row, file))
        if (row[0] >= '0' && row[0] <= '9' && strncmp(row, last, NUMBER_BYTES) > 0)
            memcpy(last, row, sizeof row);
    fclose(file);
    if (!last[0])
        return false;
    const char *text = last + NUMBER_BYTES;
    text += strspn(text, " ");
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\n'))
        n--;
    snprintf(line, bytes, "%.*s", (int)n, text);
    return true;
}
