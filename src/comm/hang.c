/* hang.c - the report of a hang, and the end after it. */
#include "comm/hang.h"

#include "base/error.h"
#include "base/tell.h"
#include "comm/flight.h"

#include <fcntl.h>
#include <limits.h>
#include <mpi.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    EXIT_CODE = 1,
    PATIENCE_S = 5,      /* for a lower rank to report and end everything */
    ABORT_S = 10,        /* for MPI to end this process; it may itself be what hangs */
    MOST_NAMED = 8,      /* ranks described one by one */
    REPORT_BYTES = 8192,
};

struct report {
    char text[REPORT_BYTES];
    size_t used;
};

static void add(struct report *r, const char *format, ...) PRINTF_LIKE(2, 3);
static void add(struct report *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(r->text + r->used, sizeof r->text - r->used, format, arguments);
    va_end(arguments);
    if (n > 0)
        r->used += (size_t)n < sizeof r->text - r->used ? (size_t)n : sizeof r->text - r->used - 1;
}

static void add_state(struct report *r, const struct watch_state *s)
{
    add(r, "phase %s", comm_phase_name((enum comm_phase)s->phase));
    if (s->step >= 0)
        add(r, ", step %lld", (long long)s->step);
    add(r, ", collective %lld", (long long)s->collective);
    if (s->waiting)
        add(r, " (%s)", s->what);
}

/* "rank 1 (process 4711 on n2, cpu, 2 threads) does not answer ..." */
static void add_guilty(struct report *r, const struct hang *h, int rank)
{
    const struct watch_place *p = &h->places[rank];
    const struct hang_rank *g = &h->ranks[rank];
    char path[4096], line[FLIGHT_LINE_BYTES];
    add(r, "\n  rank %d (process %ld on %s, %s) ", rank, p->pid, p->host, p->device);
    if (g->verdict == HANG_STUCK) {
        add(r, "is stuck since %.0f s: ", g->state.since_s);
        add_state(r, &g->state);
        if (g->state.phase == COMM_DATA)
            add(r, "; it waits for its samples, that is for what data.train is read from");
        return;
    }
    add(r, "does not answer: killed, stopped, or cut off");
    snprintf(path, sizeof path, "%s/rank-%05d.log", h->folder, rank);
    if (h->folder[0] && flight_last(path, line, sizeof line))
        add(r, "; its record ends: %s", line);
}

static int count_guilty(const struct hang *h)
{
    int guilty = 0;
    for (int i = 0; i < h->world_size; i++)
        guilty += h->ranks[i].verdict != HANG_INNOCENT;
    return guilty;
}

static void describe(struct report *r, const struct hang *h)
{
    const struct watch_state *mine = &h->ranks[h->rank].state;
    const int guilty = count_guilty(h);
    add(r, "galley: rank %d (%s) waits since %.0f s in ", h->rank, h->places[h->rank].host,
        mine->since_s);
    add_state(r, mine);
    if (guilty == 0)
        add(r, ", and every rank answers: the network between them, or what they do, does not fit");
    else
        add(r, " for rank%s that %s not arrive:", guilty > 1 ? "s" : "",
            guilty > 1 ? "do" : "does");
    int named = 0;
    for (int i = 0; i < h->world_size && named < MOST_NAMED; i++) {
        if (h->ranks[i].verdict == HANG_INNOCENT)
            continue;
        add_guilty(r, h, i);
        named++;
    }
    if (guilty > named)
        add(r, "\n  and %d more", guilty - named);
    for (int i = 0; i < h->world_size && guilty == 0 && named < MOST_NAMED; i++, named++) {
        add(r, "\n  rank %d (process %ld on %s): ", i, h->places[i].pid, h->places[i].host);
        add_state(r, &h->ranks[i].state);
    }
    if (h->folder[0])
        add(r, "\n  what each rank did last: sort %s/rank-*.log", h->folder);
    add(r, "\n  the run ends here; start the same command again to go on from its "
        "last checkpoint\n");
}

/* The lowest rank that is well, and has noticed, speaks. */
static bool another_speaks(const struct hang *h)
{
    for (int i = 0; i < h->rank; i++)
        if (h->ranks[i].verdict == HANG_INNOCENT && h->ranks[i].state.waiting)
            return true;
    return false;
}

/* Whether that process is what started the ranks. */
static bool is_launcher(pid_t process)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%ld/comm", (long)process);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : read(fd, name, sizeof name - 1);
    if (fd >= 0)
        close(fd);
    name[n > 0 ? n - 1 : 0] = '\0';    /* the line feed */
    return !strcmp(name, "mpirun") || !strcmp(name, "orterun") || !strcmp(name, "prterun");
}

/* The second of two requests makes mpirun leave at once. */
static void end_launcher(pid_t launcher)
{
    sleep(PATIENCE_S);
    for (int i = 0; i < 2 && is_launcher(launcher); i++) {
        kill(launcher, SIGTERM);
        sleep(1);
    }
    sleep(PATIENCE_S);
    if (is_launcher(launcher))
        kill(launcher, SIGKILL);
}

/*
 * mpirun waits for ever for the daemon of a host that is gone. A process of its own, which outlives
 * this one, ends it. It is in no group that mpirun may kill before this returns, and holds no file
 * of ours: the run folder's lock would keep the next start out.
 */
static void end_launcher_later(void)
{
    int ready[2];
    const pid_t launcher = getppid();
    if (!is_launcher(launcher) || pipe(ready))
        return;
    const pid_t child = fork();
    if (child == 0) {
        setsid();
        close_range(0, UINT_MAX, 0);
        end_launcher(launcher);
        _exit(0);
    }
    close(ready[1]);
    char nothing;
    (void)!read(ready[0], &nothing, 1);    /* ends as the child closes its side */
    close(ready[0]);
}

void hang_report(const struct hang *hang)
{
    struct report report = {.used = 0};
    if (another_speaks(hang))
        sleep(PATIENCE_S);
    describe(&report, hang);
    tell(stderr, "%s", report.text);
    if (hang->folder[0]) {
        char path[4096];
        snprintf(path, sizeof path, "%s/hang.txt", hang->folder);
        FILE *file = fopen(path, "we");
        if (file) {
            fputs(report.text, file);
            fclose(file);
        }
    }
    end_launcher_later();
    signal(SIGALRM, SIG_DFL);
    alarm(ABORT_S);
    MPI_Abort(MPI_COMM_WORLD, EXIT_CODE);
    _exit(EXIT_CODE);
}
