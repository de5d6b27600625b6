/*
 * tell.c - writing without waiting, on an open file of our own.
 *
 * Only O_NONBLOCK keeps a write from waiting: poll() does not know how many bytes a terminal still
 * takes. But that flag belongs to the open file, which this process shares with the shell it was
 * started from. So pipe or terminal is opened once more, through /proc. Where that may not be
 * (another user's terminal), and for files, which always take what they are given, the stream's own
 * descriptor is used.
 */
#include "base/tell.h"

#include "base/clock.h"
#include "base/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_S 1.0

enum { POLL_MS = 20, LINE_BYTES = 2048 };

struct outlet {
    int fd;                 /* 0: not opened yet */
    bool stalled;           /* the last text was not taken in time */
    long dropped;           /* texts, since then */
    char *rest;             /* of the text that was taken in part */
    size_t rest_bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct outlet outlets[2];    /* standard output, standard error */

static void open_outlet(struct outlet *o, int stream)
{
    char path[64];
    struct stat status;
    o->fd = stream;
    if (fstat(stream, &status) || !(S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)))
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", stream);
    const int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0)
        o->fd = fd;
}

/* Whether there is room now, or within the time there is: none for a run that is to stop. */
static bool wait_for_room(const struct outlet *o, double end_s)
{
    struct pollfd room = {.fd = o->fd, .events = POLLOUT};
    for (;;) {
        const bool hurry = o->stalled || stop_asked() || clock_now_s() >= end_s;
        if (poll(&room, 1, hurry ? 0 : POLL_MS) > 0)
            return true;
        if (hurry)
            return false;
    }
}

/* Returns how many bytes were taken; all, too, where writing fails for good: there is nobody to
 * tell. */
static size_t write_some(struct outlet *o, const char *text, size_t bytes)
{
    const double end_s = clock_now_s() + PATIENCE_S;
    size_t done = 0;
    while (done < bytes) {
        const ssize_t n = write(o->fd, text + done, bytes - done);
        if (n >= 0)
            done += (size_t)n;
        else if (errno == EAGAIN && !wait_for_room(o, end_s))
            break;
        else if (errno != EAGAIN && errno != EINTR)
            return bytes;
    }
    o->stalled = done < bytes;
    return done;
}

/* What is left of a text that was begun comes before all else. */
static bool write_rest(struct outlet *o)
{
    if (o->rest_bytes == 0)
        return true;
    const size_t done = write_some(o, o->rest, o->rest_bytes);
    o->rest_bytes -= done;
    memmove(o->rest, o->rest + done, o->rest_bytes);
    return o->rest_bytes == 0;
}

/* Whether the text was taken; where it was in part, its rest is kept. */
static bool write_text(struct outlet *o, const char *text, size_t bytes)
{
    const size_t done = write_some(o, text, bytes);
    char *rest = done > 0 && done < bytes ? realloc(o->rest, bytes - done) : NULL;
    if (rest) {
        o->rest = rest;
        o->rest_bytes = bytes - done;
        memcpy(rest, text + done, bytes - done);
    }
    return done > 0;
}

static void hand_over(struct outlet *o, const char *text, size_t bytes)
{
    bool clear = write_rest(o);
    if (clear && o->dropped > 0) {
        char missing[64];
        const int n = snprintf(missing, sizeof missing, "(%ld lines are missing: "
                               "nobody read them)\n",
                               o->dropped);
        if (write_text(o, missing, (size_t)n))
            o->dropped = 0;
        clear = !o->stalled;
    }
    if (!clear || !write_text(o, text, bytes))
        o->dropped++;
}

void tell(FILE *out, const char *format, ...)
{
    char line[LINE_BYTES], *text = line;
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int n = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    size_t bytes = n > 0 ? (size_t)n : 0;
    if (bytes >= sizeof line && (text = malloc(bytes + 1)))
        vsnprintf(text, bytes + 1, format, again);
    va_end(again);
    if (!text) {
        text = line;
        bytes = sizeof line - 1;
    }
    if (out != stdout && out != stderr) {
        fwrite(text, 1, bytes, out);
        fflush(out);
    } else {
        pthread_mutex_lock(&lock);
        struct outlet *o = &outlets[out == stderr];
        if (!o->fd)
            open_outlet(o, fileno(out));
        hand_over(o, text, bytes);
        pthread_mutex_unlock(&lock);
    }
    if (text != line)
        free(text);
}
