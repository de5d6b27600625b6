/*
 * time_limit.h - a run that knows when its time is up leaves before it.
 *
 * Batch systems end a job at its limit, whatever it is doing. So rank 0 compares the time left with
 * what saving and leaving will take, as measured so far, and asks to stop (base/stop.h) while there
 * is enough.
 */
#ifndef GALLEY_TRAIN_TIME_LIMIT_H
#define GALLEY_TRAIN_TIME_LIMIT_H

#include "train/callback.h"
#include "train/saver.h"

/* A time as Slurm writes it: "minutes", "minutes:seconds", "hours:minutes:seconds", "days-hours",
 * "days-hours:minutes", "days-hours:minutes:seconds". False where it is none. */
bool time_limit_parse(const char *text, double *seconds);

struct time_limit_options {
    double end_s;              /* when time is up, by clock_now_s() */
    double margin_s;           /* to leave beside what the save takes */
    double first_write_s;      /* what a save is thought to take before there was one */
    struct saver *saver;
};

/* Rank 0, after every step. The saver is borrowed. */
MUST_USE struct error *time_limit_callback(struct callback *callback,
                                           const struct time_limit_options *options);

#endif
