/* fault_calls.c - file operations that fail when told to; see fault_calls.h. */
#include "fault_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

static struct {
    char word[256];
    enum fault_kind kind;
    int at;
    bool forever;
    int calls;
    const char *failed;
} plan;

PUBLIC void fault_arm(const char *word, enum fault_kind kind, int at, bool forever)
{
    plan.kind = FAULT_NONE;
    snprintf(plan.word, sizeof plan.word, "%s", word);
    plan.at = at;
    plan.forever = forever;
    plan.calls = 0;
    plan.failed = NULL;
    plan.kind = kind;
}

PUBLIC int fault_calls(void)
{
    return plan.calls;
}

PUBLIC const char *fault_failed(void)
{
    return plan.failed;
}

__attribute__((constructor)) static void arm_from_environment(void)
{
    const char *word = getenv("FAULT_PATH"), *kind = getenv("FAULT_KIND"), *at = getenv("FAULT_AT");
    if (!word || !kind)
        return;
    const enum fault_kind which = !strcmp(kind, "ENOSPC") ? FAULT_ENOSPC
                                  : !strcmp(kind, "short") ? FAULT_SHORT : FAULT_EIO;
    fault_arm(word, which, at ? atoi(at) : 1, getenv("FAULT_FOREVER") != NULL);
}

/* Counts a call and says whether it fails; errno is set then. */
static bool fails(const char *path, const char *call)
{
    if (!plan.word[0] || !strstr(path, plan.word))
        return false;
    plan.calls++;
    if (plan.kind == FAULT_NONE || plan.calls < plan.at || (plan.calls > plan.at && !plan.forever))
        return false;
    if (!plan.failed)
        plan.failed = call;
    errno = plan.kind == FAULT_ENOSPC ? ENOSPC : EIO;
    return true;
}

static bool descriptor_fails(int fd, const char *call)
{
    char link[64], path[4096];
    if (!plan.word[0])
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return false;
    path[n] = '\0';
    /* What was only read cannot be lost: its close is not counted. */
    if (!strcmp(call, "close") && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
        return false;
    return fails(path, call);
}

/* How many bytes a failing write of `bytes` writes; -1: none, it fails. */
static ssize_t failing_write(size_t bytes)
{
    return plan.kind == FAULT_SHORT && bytes > 1 ? (ssize_t)(bytes / 2) : -1;
}

PUBLIC ssize_t write(int fd, const void *data, size_t bytes)
{
    if (descriptor_fails(fd, "write")) {
        const ssize_t n = failing_write(bytes);
        if (n < 0)
            return -1;
        bytes = (size_t)n;
    }
    return syscall(SYS_write, fd, data, bytes);
}

PUBLIC ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at)
{
    if (descriptor_fails(fd, "pwrite")) {
        const ssize_t n = failing_write(bytes);
        if (n < 0)
            return -1;
        bytes = (size_t)n;
    }
    return syscall(SYS_pwrite64, fd, data, bytes, at);
}

PUBLIC ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t at)
{
    return pwrite(fd, data, bytes, at);
}

PUBLIC int ftruncate(int fd, off_t bytes)
{
    return descriptor_fails(fd, "ftruncate") ? -1 : (int)syscall(SYS_ftruncate, fd, bytes);
}

PUBLIC int ftruncate64(int fd, off_t bytes)
{
    return ftruncate(fd, bytes);
}

PUBLIC int fsync(int fd)
{
    return descriptor_fails(fd, "fsync") ? -1 : (int)syscall(SYS_fsync, fd);
}

PUBLIC int rename(const char *from, const char *to)
{
    return fails(from, "rename") ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

/* As Linux does: the descriptor is gone, and what was written behind may be lost. */
PUBLIC int close(int fd)
{
    const bool failing = descriptor_fails(fd, "close");
    const int saved = errno, result = (int)syscall(SYS_close, fd);
    if (failing)
        errno = saved;
    return failing ? -1 : result;
}
