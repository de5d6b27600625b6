/*
 * child.h - runs a test's body in a process of its own, with settings of its own, and tells how it
 * ended.
 *
 * The simulated device reads its settings once and ends the process over a fault, so every test of
 * it runs in a child; the parent never touches the device.
 */
#ifndef SIMGPU_CHILD_H
#define SIMGPU_CHILD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {    /* cmocka 1.1 says so for a part of its functions only */
#include <cmocka.h>
}

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace simgpu {

struct ending {
    bool good;             /* the body returned true */
    bool wrong;            /* the body returned false; neither: the process died */
    std::string printed;   /* on standard error */
};

/* `settings`: "NAME=VALUE", put into the environment first. */
inline ending in_child(const std::vector<std::string> &settings, const std::function<bool()> &body)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(nullptr);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
            signal(own, SIG_DFL);    /* not cmocka's, which would go on with the next test */
        for (const std::string &s : settings)
            setenv(s.substr(0, s.find('=')).c_str(), s.c_str() + s.find('=') + 1, 1);
        _exit(body() ? 0 : 3);
    }
    close(ends[1]);
    ending e = {};
    char bytes[4096];
    for (ssize_t n; (n = read(ends[0], bytes, sizeof bytes)) > 0;)
        e.printed.append(bytes, (size_t)n);
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    e.good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    e.wrong = WIFEXITED(status) && WEXITSTATUS(status) == 3;
    return e;
}

/* The body must return true under each of the seeds 1..n. */
inline void assert_good(int seeds, const std::function<bool()> &body)
{
    for (int seed = 1; seed <= seeds; seed++) {
        const ending e = in_child({"SIMGPU_SEED=" + std::to_string(seed)}, body);
        if (!e.good)
            fail_msg("seed %d: %s", seed, e.printed.empty() ? "wrong" : e.printed.c_str());
    }
}

/* Under some of the seeds 1..n the body must return false: what it leaves out is missed. */
inline void assert_missed(int seeds, const std::function<bool()> &body)
{
    int wrong = 0;
    for (int seed = 1; seed <= seeds; seed++)
        wrong += in_child({"SIMGPU_SEED=" + std::to_string(seed)}, body).wrong;
    if (wrong == 0)
        fail_msg("no seed of %d shows what is missing", seeds);
    print_message("           missed under %d of %d seeds\n", wrong, seeds);
}

/* The body must end the process with a message that contains `part`. */
inline void assert_dies(const char *part, const std::function<bool()> &body,
                        const std::vector<std::string> &settings = {})
{
    const ending e = in_child(settings, body);
    if (e.good || e.wrong)
        fail_msg("it went on, expected a fault about \"%s\"", part);
    if (e.printed.find(part) == std::string::npos)
        fail_msg("\"%s\" does not speak of \"%s\"", e.printed.c_str(), part);
}

}    // namespace simgpu

#endif
