/* arguments.c - what the verbs share in reading their command lines. */
#include "base/log.h"
#include "cli/verbs.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

struct error *cli_open_comm(struct cli *cli)
{
    TRY(comm_open(&cli->comm));
    log_open(LOG_INFO, comm_rank(cli->comm));
    return NULL;
}

struct error *cli_parse_int(long long *out, const char *option, const char *text, long long low,
                            long long high)
{
    char *end;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < low || value > high)
        return error_new(ERROR_USAGE, "%s is \"%s\"; it must be a whole number from %lld to %lld",
                         option, text, low, high);
    *out = value;
    return NULL;
}

struct error *cli_parse_double(double *out, const char *option, const char *text, double low,
                               double high)
{
    char *end;
    errno = 0;
    const double value = strtod(text, &end);
    if (end == text || *end || errno || !(value >= low && value <= high))
        return error_new(ERROR_USAGE, "%s is \"%s\"; it must be a number from %g to %g", option,
                         text, low, high);
    *out = value;
    return NULL;
}

struct error *cli_bad_option(const char *verb, int argc, char **argv)
{
    const char *what = optind > 0 && optind <= argc ? argv[optind - 1] : "";
    return error_new(ERROR_USAGE, "galley %s cannot take \"%s\" here; galley %s --help lists its "
                     "options", verb, what, verb);
}
