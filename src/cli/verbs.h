/*
 * verbs.h - what the program can do: one verb, one file, one row of the table in main.c.
 */
#ifndef GALLEY_CLI_VERBS_H
#define GALLEY_CLI_VERBS_H

#include "base/error.h"
#include "comm/comm.h"

#include <stdio.h>

/* What a verb may need of its process. */
struct cli {
    struct comm *comm;                /* opened by the verbs that work over ranks (cli_open_comm) */
    const char *temporary_folder;     /* $TMPDIR or /tmp; the environment is read in src/cli only */
};

/*
 * Runs with argv[0] the verb's name. Prints results on standard output, releases what it made, and
 * returns an error or NULL; main() prints and exits.
 */
typedef struct error *verb_run(struct cli *cli, int argc, char **argv);

struct verb {
    const char *name;
    const char *summary;      /* a line in `galley --help` */
    const char *help;         /* `galley VERB --help`: usage line, options, examples */
    verb_run *run;
    void (*more_help)(FILE *out);    /* appended to help; may be NULL */
};

extern const struct verb verb_train, verb_vocab, verb_tokenize, verb_generate, verb_evaluate,
    verb_score, verb_inspect, verb_convert, verb_corpus, verb_doctor;

/* Collective. Starts MPI for a verb that works over ranks; main() closes it. All ranks must run the
 * same program. */
MUST_USE struct error *cli_open_comm(struct cli *cli);

/* How many cores this rank may use, and its share of the node's. mpirun pins ranks to one core each
 * where there are one or two, and computes at half speed then. */
void cli_cores(const struct comm *comm, int *allowed, int *share);

/* When the run must have ended, by clock_now_s(): `limit` (run.time_limit) from now, or where that
 * is empty, what Slurm gives the job; INFINITY: never. */
MUST_USE struct error *cli_time_left(const char *limit, double *end_s);

/* Numbers on the command line: the whole text must be one, within [low, high]; the error names the
 * option, what was found and the range. */
MUST_USE struct error *cli_parse_int(long long *out, const char *option, const char *text,
                                     long long low, long long high);
MUST_USE struct error *cli_parse_double(double *out, const char *option, const char *text,
                                        double low, double high);

#endif
