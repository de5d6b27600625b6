/* log.c - lines on standard error, by rank. */
#include "base/log.h"

#include "base/tell.h"

#include <stdarg.h>
#include <stdio.h>

/* The sink's only state; written once by log_open before any thread is started. */
static int log_rank;

void log_open(int rank)
{
    log_rank = rank;
}

static void print_line(const char *prefix, const char *format, va_list arguments)
{
    char line[2048];
    int used = log_rank ? snprintf(line, sizeof line, "rank %d: %s", log_rank, prefix)
                        : snprintf(line, sizeof line, "%s", prefix);
    const int room = (int)sizeof line - used - 1;
    const int length = vsnprintf(line + used, (size_t)room, format, arguments);
    used += length < room ? length : room - 1;
    line[used++] = '\n';
    tell(stderr, "%.*s", used, line);
}

void log_warning(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line("warning: ", format, arguments);
    va_end(arguments);
}

void log_info(const char *format, ...)
{
    if (log_rank)
        return;
    va_list arguments;
    va_start(arguments, format);
    print_line("", format, arguments);
    va_end(arguments);
}
