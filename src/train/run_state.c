/* run_state.c - writes and reads a run's state. */
#include "train/run_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {
    [RUN_NEW] = "new", [RUN_RUNNING] = "running", [RUN_STOPPED] = "stopped",
    [RUN_FAILED] = "failed", [RUN_DONE] = "done",
};
enum { STATES = sizeof names / sizeof names[0], LINE = 8 };    /* the longest and a line feed */

const char *run_state_name(enum run_state state)
{
    return names[state];
}

/* FOLDER/state, opened; -1 with errno. */
static int open_state(char path[4200], const char *run_folder, int flags)
{
    snprintf(path, 4200, "%s/state", run_folder);
    return open(path, flags | O_CLOEXEC, 0666);
}

struct error *run_state_write(const char *run_folder, enum run_state state)
{
    char path[4200], line[LINE + 1];
    const int fd = open_state(path, run_folder, O_WRONLY | O_CREAT);
    if (fd < 0)
        return error_errno(ERROR_IO, "cannot write %s", path);
    snprintf(line, sizeof line, "%-*s\n", LINE - 1, names[state]);    /* all of one length */
    struct error *e = NULL;
    if (pwrite(fd, line, LINE, 0) != LINE || fsync(fd))
        e = error_errno(ERROR_IO, "cannot write %s", path);
    if (close(fd) && !e)
        e = error_errno(ERROR_IO, "cannot write %s", path);
    return e;
}

struct error *run_state_read(const char *run_folder, enum run_state *state)
{
    char path[4200], line[LINE + 1] = "";
    *state = RUN_NEW;
    const int fd = open_state(path, run_folder, O_RDONLY);
    if (fd < 0)
        return errno == ENOENT ? NULL : error_errno(ERROR_IO, "cannot read %s", path);
    const ssize_t n = read(fd, line, LINE);
    close(fd);
    if (n < 0)
        return error_errno(ERROR_IO, "cannot read %s", path);
    if (n == 0)    /* made, and never written: the disk was full */
        return NULL;
    line[strcspn(line, " \n")] = '\0';
    for (int i = 0; i < STATES; i++)
        if (!strcmp(line, names[i])) {
            *state = (enum run_state)i;
            return NULL;
        }
    return error_new(ERROR_INPUT, "%s says \"%s\", which is no state of a run", path, line);
}
