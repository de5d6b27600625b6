/* stop.c - a flag that signals set. */
#include "base/stop.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t caught;          /* the signal's number; 0: none */
static const char *volatile given_reason;     /* by stop_ask */

static void remember(int number)
{
    if (!caught)
        caught = number;
}

void stop_catch_signals(void)
{
    /* SA_RESTART: reads and writes go on; nothing but the loop looks at the flag. */
    struct sigaction action = {.sa_handler = remember, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction given;
    if (!sigaction(SIGHUP, NULL, &given) && given.sa_handler != SIG_IGN)    /* as nohup has it */
        sigaction(SIGHUP, &action, NULL);
    action.sa_flags |= (int)SA_RESETHAND;
    sigaction(SIGINT, &action, NULL);
}

void stop_ask(const char *why)
{
    if (!given_reason)
        given_reason = why;
}

bool stop_asked(void)
{
    return caught || given_reason;
}

const char *stop_reason(void)
{
    switch (caught) {
    case 0:
        return given_reason;
    case SIGUSR1:
        return "SIGUSR1";
    case SIGINT:
        return "SIGINT";
    case SIGHUP:
        return "SIGHUP";
    default:
        return "SIGTERM";
    }
}
