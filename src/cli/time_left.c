/* time_left.c - when this run must have ended: by its configuration, or by what Slurm gives its
 * job. */
#include "base/clock.h"
#include "base/log.h"
#include "cli/verbs.h"
#include "train/time_limit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What `squeue` says is left of the job: older Slurm tells no other way. NAN: nothing. */
static double ask_squeue(const char *job)
{
    char command[128], text[64] = "";
    double seconds = NAN;
    if (strspn(job, "0123456789_") != strlen(job) || strlen(job) > 32)
        return NAN;
    snprintf(command, sizeof command, "timeout 10 squeue -h -j %s -o %%L 2>/dev/null", job);
    FILE *answer = popen(command, "re");
    if (!answer)
        return NAN;
    if (!fgets(text, sizeof text, answer))
        text[0] = '\0';
    pclose(answer);
    text[strcspn(text, "\n")] = '\0';
    return time_limit_parse(text, &seconds) ? seconds : NAN;    /* "UNLIMITED" is no time */
}

static double ask_slurm(void)
{
    const char *job = getenv("SLURM_JOB_ID"), *end = getenv("SLURM_JOB_END_TIME");
    if (!job)
        return NAN;
    if (end && *end)
        return strtod(end, NULL) - (double)time(NULL);
    return ask_squeue(job);
}

struct error *cli_time_left(const char *limit, double *end_s)
{
    double seconds = NAN;
    if (*limit) {
        if (!time_limit_parse(limit, &seconds) || seconds <= 0)
            return error_new(ERROR_USAGE, "run.time_limit is \"%s\"; it must be a time such as 90 "
                             "(minutes), 1:30:00 or 2-12:00:00", limit);
    } else {
        seconds = ask_slurm();
        if (!isnan(seconds))
            log_info("time  Slurm gives this job %.0f s more", seconds);
    }
    *end_s = isnan(seconds) ? INFINITY : clock_now_s() + seconds;
    return NULL;
}
