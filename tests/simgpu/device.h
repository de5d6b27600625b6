/*
 * device.h - the simulated device at work: tasks that wait for one another, run by a thread of its
 * own.
 *
 * Streams, events and graphs come down to tasks with "after" edges; what the edges allow, the
 * device does in a random order by the seed. It works only when the host asks for something (a
 * synchronisation, a query), at random moments before that, and when the host has made no call for
 * a while, as when it waits for another rank: so a copy or kernel runs as late or as early as a
 * real device might run it, and a missing edge shows as a wrong number.
 *
 * Any thread of the host may call these.
 */
#ifndef SIMGPU_DEVICE_H
#define SIMGPU_DEVICE_H

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace simgpu {

/* One piece of work. */
struct work {
    std::string name;    /* for messages */
    std::function<void()> run;
    /* What takes its time (a collective): asked again and again after `run`, until it says true. */
    std::function<bool()> finished;
    /* Work of one chain runs in the order in which it was queued, whatever its stream. */
    std::shared_ptr<struct chain> in;
    /* What a graph with this work in it keeps alive. */
    std::shared_ptr<void> kept_by_graph = nullptr;
    /* Milliseconds that the clock tells it to take beside those it takes. */
    double told_ms = 0;
};

struct task;
using task_ref = std::shared_ptr<task>;    /* NULL: nothing, which is done */

struct chain {
    task_ref last;
};

/* Tasks with the same number prefer to run after one another: a stream, say. */
task_ref device_queue(work work, const std::vector<task_ref> &after, int stream);
/* Whether the task is done. Works a little after a "no": who asks for ever gets his "yes". */
bool device_query(const task_ref &task);

/* Works until the task is done. */
void device_wait(const task_ref &task);
/* Works until all is done. */
void device_drain();
/* Perhaps works a little; every call of the host comes through here. */
void device_breathe();

/* The first failure of the device's work, for good: an error number of the runtime, or 0. */
int device_failure();
void device_fail(int error);

/* Milliseconds at which the task was done, on some clock. */
double device_done_at_ms(const task_ref &task);

}    // namespace simgpu

#endif
