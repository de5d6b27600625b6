/* device.cpp - the device's thread: chooses among the tasks that may run. */
#include "device.h"

#include "memory.h"
#include "random.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

namespace simgpu {

using clock = std::chrono::steady_clock;
constexpr auto IDLE = std::chrono::milliseconds(50);    /* how long a silent host is left alone */

struct task {
    simgpu::work work;
    int stream;
    int waits_for = 0;
    bool done = false;
    bool needed = false;    /* by something that a host waits for */
    double done_at_ms = 0;
    std::vector<task_ref> before, dependents;
};

namespace {

struct engine {
    std::mutex lock;
    std::condition_variable wake;        /* for the device: the host wants something */
    std::condition_variable progress;    /* for the host: a task is done */
    bool started = false;

    std::vector<task_ref> ready;         /* may run; in the order in which they became so */
    std::vector<task_ref> under_way;     /* have begun, are not finished */
    size_t queued = 0;                   /* tasks that are not done */

    double told_ms = 0;                  /* of all tasks that are done */

    std::vector<task_ref> wanted;        /* what hosts wait for; NULL: everything */
    int favours = 0;                     /* tasks to run before anybody asked */
    clock::time_point last_call = clock::now();

    int failure = 0;
    random_numbers random;
    unsigned eagerness = 0;              /* of 100 calls, at how many the device works early */
    bool lazy = false;                   /* does only what the host waits for, where it waits */
    unsigned loyalty = 0;                /* of 100 choices, how many stay with a stream of high rank */
    std::map<int, unsigned> rank;        /* of streams: now and then drawn anew */
};

/* Never destroyed: the device's thread lives as long as the process. */
engine &e = *new engine;

bool is_wanted()
{
    for (const task_ref &t : e.wanted)
        if (t ? !t->done : e.queued > 0)
            return true;
    return e.favours > 0;
}

void complete(const task_ref &t)
{
    t->done = true;
    e.told_ms += t->work.told_ms;
    t->done_at_ms =
        std::chrono::duration<double, std::milli>(clock::now().time_since_epoch()).count() + e.told_ms;
    e.queued--;
    for (const task_ref &next : t->dependents)
        if (--next->waits_for == 0)
            e.ready.push_back(next);
    t->dependents.clear();
    t->before.clear();
    t->work = {};
    e.progress.notify_all();
}

/* The ready tasks among which to choose: under some seeds, those alone that a host waits for. */
std::vector<task_ref> candidates()
{
    std::vector<task_ref> needed;
    if (e.lazy)
        std::copy_if(e.ready.begin(), e.ready.end(), std::back_inserter(needed),
                     [](const task_ref &t) { return t->needed; });
    return needed.empty() ? e.ready : needed;
}

/* Now by rank of the stream, now evenly: so that one stream runs far ahead of another under some
 * seeds, and they take turns under others. */
task_ref take_ready()
{
    const std::vector<task_ref> list = candidates();
    if (e.random.below(50) == 0)
        e.rank.clear();
    size_t best = e.random.below((unsigned)list.size());
    if (e.random.below(100) < e.loyalty) {
        for (const task_ref &t : list)
            if (!e.rank.count(t->stream))
                e.rank[t->stream] = e.random.below(1u << 30);
        for (size_t i = 0; i < list.size(); i++)
            if (e.rank[list[i]->stream] > e.rank[list[best]->stream])
                best = i;
    }
    e.ready.erase(std::find(e.ready.begin(), e.ready.end(), list[best]));
    return list[best];
}

/* Runs a task without the lock, so that the host may queue more meanwhile. */
void run(std::unique_lock<std::mutex> &hold, const task_ref &t)
{
    const bool works = !e.failure;
    hold.unlock();
    if (works && t->work.run)
        t->work.run();
    const bool finished = !works || !t->work.finished || t->work.finished();
    hold.lock();
    if (finished)
        complete(t);
    else
        e.under_way.push_back(t);
}

/* Looks at what has begun; true if something finished. */
bool look_under_way(std::unique_lock<std::mutex> &hold)
{
    bool any = false;
    const std::vector<task_ref> looked_at = e.under_way;
    for (const task_ref &t : looked_at) {
        hold.unlock();
        const bool finished = t->work.finished();
        hold.lock();
        if (finished || e.failure) {
            e.under_way.erase(std::find(e.under_way.begin(), e.under_way.end(), t));
            complete(t);
            any = true;
        }
    }
    return any;
}

void work_once(std::unique_lock<std::mutex> &hold)
{
    const bool moved = look_under_way(hold);
    if (!e.ready.empty()) {
        run(hold, take_ready());
    } else if (!moved && !e.under_way.empty()) {
        hold.unlock();
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        hold.lock();
    }
}

/* Opens device memory to this process while the device works. */
void open_memory(std::unique_lock<std::mutex> &hold, bool open)
{
    hold.unlock();
    if (open)
        memory_open();
    else
        memory_close();
    hold.lock();
}

void live()
{
    static char stack[64 * 1024];    /* for signals: a kernel's own may be what overflowed */
    const stack_t alternative = {stack, 0, sizeof stack};
    sigaltstack(&alternative, nullptr);

    std::unique_lock<std::mutex> hold(e.lock);
    for (;;) {
        while (!is_wanted()) {
            const bool silent = clock::now() - e.last_call >= IDLE;
            if (silent && (!e.ready.empty() || !e.under_way.empty()))
                break;
            if (e.queued > 0)
                e.wake.wait_until(hold, std::max(e.last_call + IDLE, clock::now() + IDLE / 10));
            else
                e.wake.wait(hold);
        }
        open_memory(hold, true);
        const clock::time_point call = e.last_call;
        do {
            work_once(hold);
            e.favours = e.queued == 0 ? 0 : std::max(e.favours - 1, 0);
            e.progress.notify_all();
        } while (is_wanted() || (e.last_call == call && e.queued > 0 && clock::now() - call >= IDLE));
        if (e.queued == 0 && e.random.below(8) == 0)    /* closing costs as much as a small kernel */
            open_memory(hold, false);
    }
}

/* The device's thread takes no signals but those of its own mistakes: the others are the host's.
 * The lock is held. */
void start()
{
    if (e.started)
        return;
    e.started = true;
    static const unsigned percents[] = {0, 5, 30, 100};
    e.eagerness = percents[e.random.below(4)];
    e.loyalty = percents[e.random.below(4)];
    e.lazy = e.random.below(2);

    sigset_t all, before;
    sigfillset(&all);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
        sigdelset(&all, own);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread(live).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}    // namespace

task_ref device_queue(work work, const std::vector<task_ref> &after, int stream)
{
    const std::lock_guard<std::mutex> hold(e.lock);
    const task_ref t = std::make_shared<task>();
    t->stream = stream;
    std::vector<task_ref> before = after;
    if (work.in) {
        before.push_back(work.in->last);
        work.in->last = t;
    }
    t->work = std::move(work);
    for (const task_ref &b : before) {
        if (!b || b->done)
            continue;
        b->dependents.push_back(t);
        t->before.push_back(b);
        t->waits_for++;
    }
    if (t->waits_for == 0)
        e.ready.push_back(t);
    start();
    if (e.queued++ == 0)
        e.wake.notify_all();
    return t;
}


namespace {

/* Marks the task and all that comes before it. */
void need(const task_ref &task)
{
    std::vector<task_ref> list = {task};
    while (!list.empty()) {
        const task_ref t = list.back();
        list.pop_back();
        if (t->needed || t->done)
            continue;
        t->needed = true;
        list.insert(list.end(), t->before.begin(), t->before.end());
    }
}

/* `task` NULL: everything. */
void wait_for(std::unique_lock<std::mutex> &hold, const task_ref &task)
{
    if (task)
        need(task);
    e.wanted.push_back(task);
    e.wake.notify_all();
    e.progress.wait(hold, [&] { return task ? task->done : e.queued == 0; });
    e.wanted.erase(std::find(e.wanted.begin(), e.wanted.end(), task));
}

}    // namespace

void device_wait(const task_ref &task)
{
    std::unique_lock<std::mutex> hold(e.lock);
    if (task && !task->done)
        wait_for(hold, task);
}

void device_drain()
{
    std::unique_lock<std::mutex> hold(e.lock);
    if (e.queued > 0)
        wait_for(hold, nullptr);
}

namespace {

void do_favour(std::unique_lock<std::mutex> &hold, int tasks)
{
    e.favours = tasks;
    e.wake.notify_all();
    e.progress.wait(hold, [] { return e.favours == 0; });
}

}    // namespace

bool device_query(const task_ref &task)
{
    std::unique_lock<std::mutex> hold(e.lock);
    if (!task || task->done)
        return true;
    do_favour(hold, 1);
    return false;
}

void device_breathe()
{
    std::unique_lock<std::mutex> hold(e.lock);
    e.last_call = clock::now();
    if (e.queued > 0 && e.random.below(100) < e.eagerness)
        do_favour(hold, 1 + (int)e.random.below(8));
}

int device_failure()
{
    const std::lock_guard<std::mutex> hold(e.lock);
    return e.failure;
}

void device_fail(int error)
{
    const std::lock_guard<std::mutex> hold(e.lock);
    if (!e.failure)
        e.failure = error;
    e.progress.notify_all();
}

double device_done_at_ms(const task_ref &task)
{
    const std::lock_guard<std::mutex> hold(e.lock);
    return task ? task->done_at_ms : 0;
}

}    // namespace simgpu
