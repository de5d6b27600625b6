/*
 * block.cpp - runs the blocks of a simulated kernel: threads on fibers that switch where they wait.
 *
 * A worker is a stack. It takes threads of the block that have not begun and calls them one after
 * another; when one must wait, the worker stays with it, and another worker, or a thread whose
 * meeting is over, goes on. Contexts switch directly from one to the next; only at the end of the
 * block, or when nobody can go on, does control return to run_block(). Workers are kept for the
 * life of the process: making a stack costs a hundred times what a switch does.
 */
#include "simgpu/block.h"

#include "simgpu/async_copy.h"

#include "fault.h"
#include "random.h"
#include "sanitizer.h"

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <vector>

namespace simgpu {

thread *running;
uint3 block_index;
dim3 block_dim, grid_dim;
unsigned char *dynamic_shared;

namespace fibers = boost::context;

/* Stacks: deep enough for kernels whose fragments are arrays; AddressSanitizer's frames are
 * larger. */
constexpr size_t STACK_BYTES = sanitized ? 512 * 1024 : 128 * 1024;

/* A place to switch to: a worker's stack, or that of the device's own thread. */
struct context {
    fibers::fiber at;    /* where it goes on; empty while it runs */
    stack_bounds stack;
    void *fake_stack = nullptr;
};

namespace {

/* Lanes of one warp that wait for one another at one operation. */
struct meeting {
    const char *where;
    unsigned mask, arrived;
    combine_offers combine;
    void *offers[WARP];
};

struct warp {
    unsigned exited;                  /* lanes that are gone, or that the block never had */
    std::vector<meeting> meetings;    /* open ones; nearly always none or one */
};

struct engine {
    context home;               /* run_block() */
    context *current = &home;
    context *left = nullptr;    /* who switched to `current` */
    std::vector<context *> idle;

    std::map<unsigned char *, unsigned char *> shared_sections;    /* end by start */
    const launch *launched = nullptr;
    std::vector<thread> threads;
    std::vector<warp> warps;
    std::vector<int> order;       /* in which threads begin */
    size_t begun = 0;
    std::vector<thread *> ready;  /* whose meeting is over */
    size_t ready_first = 0;
    bool newest_first = false;    /* which of the ready goes on */
    bool begin_before_ready = false;
    int live = 0, at_barrier = 0;
    random_numbers random;
};

/* Never destroyed: workers may hold it when the process exits. */
engine &e = *new engine;    /* in a library, so before the sources of kernels add their sections */

void arrive(fibers::fiber &&from)
{
    const stack_bounds left_stack = finish_switch(e.current->fake_stack);
    if (e.left == &e.home)
        e.home.stack = left_stack;
    e.left->at = std::move(from);
}

void switch_to(context *to)
{
    context *const from = e.current;
    e.left = from;
    e.current = to;
    start_switch(&from->fake_stack, to->stack);
    arrive(std::move(to->at).resume());
}

void work();

context *new_worker()
{
    fibers::protected_fixedsize_stack stacks(STACK_BYTES);
    const fibers::stack_context stack = stacks.allocate();

    /* Stacks begin at different distances from a page: at the same one their warmest lines would
     * fight for a few sets of the cache (a switch took 19 ns instead of 12). */
    static unsigned count;
    const size_t shift = count++ % 32 * 128;
    context *const worker = new context;
    worker->stack = {static_cast<char *>(stack.sp) - stack.size, stack.size};
    worker->at = fibers::fiber(
        std::allocator_arg,
        fibers::preallocated(static_cast<char *>(stack.sp) - shift, stack.size - shift, stack),
        stacks, [](fibers::fiber &&from) {
            arrive(std::move(from));
            work();
            return fibers::fiber();
        });
    return worker;
}

/* A worker that will look for a thread to begin. */
context *idle_worker()
{
    if (e.idle.empty())
        return new_worker();
    context *const worker = e.idle.back();
    e.idle.pop_back();
    return worker;
}

thread *next_ready()
{
    if (e.ready_first == e.ready.size())
        return nullptr;
    thread *t;
    if (e.newest_first) {
        t = e.ready.back();
        e.ready.pop_back();
    } else {
        t = e.ready[e.ready_first++];
    }
    if (e.ready_first == e.ready.size()) {
        e.ready.clear();
        e.ready_first = 0;
    }
    return t;
}

bool can_begin()
{
    return e.begun < e.order.size();
}

/* Whom to switch to when the current context has nothing more to do now. */
context *next_context()
{
    if (can_begin() && (e.begin_before_ready || e.ready.empty()))
        return idle_worker();
    thread *const t = next_ready();
    if (t)
        return t->stack;
    return can_begin() ? idle_worker() : &e.home;
}

void make_ready(thread *t)
{
    t->waits_at = nullptr;
    e.ready.push_back(t);
}

/* Ends the meeting; all its lanes but `last`, which is running, become ready. */
void close_meeting(warp &w, size_t number, const thread *last)
{
    const meeting m = w.meetings[number];
    w.meetings.erase(w.meetings.begin() + (long)number);
    if (m.combine)
        m.combine(m.offers, m.arrived);

    thread *const lanes = &e.threads[(size_t)(&w - e.warps.data()) * WARP];
    const unsigned first = e.random.below(WARP);
    for (unsigned i = 0; i < WARP; i++) {
        const unsigned lane = (first + i) % WARP;
        if ((m.arrived >> lane & 1) && &lanes[lane] != last)
            make_ready(&lanes[lane]);
    }
}

void open_barrier(const thread *last)
{
    const size_t n = e.threads.size(), first = e.random.below((unsigned)n);
    for (size_t i = 0; i < n; i++) {
        thread *const t = &e.threads[(first + i) % n];
        if (t != last && t->waits_at && !t->mask)
            make_ready(t);
    }
    e.at_barrier = 0;
}

/* A thread that is gone is waited for no longer. */
void exit_thread(thread *t)
{
    t->exited = true;
    e.live--;
    warp &w = e.warps[(size_t)t->warp];
    w.exited |= 1u << t->lane;
    for (size_t i = w.meetings.size(); i-- > 0;)
        if (!(w.meetings[i].mask & ~(w.meetings[i].arrived | w.exited)))
            close_meeting(w, i, nullptr);
    if (e.live > 0 && e.at_barrier == e.live)
        open_barrier(nullptr);
}

/* What a worker does for ever. */
void work()
{
    for (;;) {
        if (can_begin() && (e.begin_before_ready || e.ready.empty())) {
            thread *const t = &e.threads[(size_t)e.order[e.begun++]];
            t->stack = e.current;
            running = t;
            e.launched->thread();
            exit_thread(running);
            continue;
        }
        thread *const t = next_ready();
        if (!t && can_begin())
            continue;
        e.idle.push_back(e.current);
        switch_to(t ? t->stack : &e.home);
    }
}

void wait_as(thread *t)
{
    switch_to(next_context());
    running = t;
}

std::string coordinates(uint3 at)
{
    return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")";
}

/* "3 threads of warp 1 at __shfl_xor_sync with mask 0xffffffff, ..." */
std::string who_waits_where()
{
    std::map<std::string, int> count;
    for (const thread &t : e.threads) {
        if (t.exited)
            continue;
        char mask[40] = "";
        if (t.mask)
            snprintf(mask, sizeof mask, " with mask 0x%x", t.mask);
        count["of warp " + std::to_string(t.warp) + " at " + t.waits_at + mask]++;
    }
    std::string list;
    for (const auto &[where, n] : count)
        list += (list.empty() ? "" : ", ") + std::to_string(n) + " " + where;
    return list;
}

void begin_block(dim3 block)
{
    const size_t n = (size_t)block.x * block.y * block.z;
    e.threads.resize(n);
    for (size_t i = 0; i < n; i++) {
        const unsigned u = (unsigned)i;
        e.threads[i] = {uint3{u % block.x, u / block.x % block.y, u / (block.x * block.y)},
                        (int)(i % WARP), (int)(i / WARP), nullptr, nullptr, 0, nullptr, false};
    }
    e.warps.resize((n + WARP - 1) / WARP);
    for (warp &w : e.warps)
        w.exited = 0;
    if (n % WARP)
        e.warps.back().exited = ~0u << n % WARP;

    /* Warps in random order; within each its lanes in turn from a random one, up or down. */
    e.order.clear();
    std::vector<size_t> warps(e.warps.size());
    std::iota(warps.begin(), warps.end(), (size_t)0);
    for (size_t i = warps.size(); i > 1; i--)
        std::swap(warps[i - 1], warps[e.random.below((unsigned)i)]);
    for (const size_t w : warps) {
        const int lanes = (int)std::min<size_t>(WARP, n - w * WARP);
        const int first = (int)e.random.below((unsigned)lanes),
            step = e.random.below(2) ? 1 : lanes - 1;
        for (int i = 0, lane = first; i < lanes; i++, lane = (lane + step) % lanes)
            e.order.push_back((int)w * WARP + lane);
    }
    copy_async_reset(n);
    e.begun = 0;
    e.live = (int)n;
    e.at_barrier = 0;
    e.newest_first = e.random.below(8) > 0;
    e.begin_before_ready = e.random.below(8) == 0;
}

void run_block(const launch &launch)
{
    begin_block(launch.block);
    for (const auto &[first, end] : e.shared_sections)
        memset(first, 0xff, (size_t)(end - first));
    if (launch.shared_bytes > 0)
        memset(dynamic_shared, 0xff, launch.shared_bytes);

    switch_to(next_context());
    if (e.live > 0)
        fault("deadlock in kernel %s, block %s: %s", launch.name.c_str(),
              coordinates(block_index).c_str(), who_waits_where().c_str());
    running = nullptr;
}

}    // namespace

bool add_shared_section(unsigned char *first, unsigned char *end)
{
    if (first != end)
        e.shared_sections[first] = end;
    return true;
}

void meet_warp(unsigned mask, const char *where, void *offer, combine_offers combine)
{
    thread *const t = running;
    warp &w = e.warps[(size_t)t->warp];
    if (!(mask >> t->lane & 1))
        fault("%s: %s with mask 0x%x, which leaves out the calling lane %d",
              running_place().c_str(), where, mask, t->lane);

    size_t i = 0;
    while (i < w.meetings.size() && (w.meetings[i].mask != mask || w.meetings[i].where != where))
        i++;
    if (i == w.meetings.size())
        w.meetings.push_back({where, mask, 0, combine, {}});
    meeting &m = w.meetings[i];
    m.arrived |= 1u << t->lane;
    m.offers[t->lane] = offer;
    if (!(mask & ~(m.arrived | w.exited))) {
        close_meeting(w, i, t);
        return;
    }
    t->waits_at = where;
    t->mask = mask;
    wait_as(t);
}

void meet_block(const char *where)
{
    thread *const t = running;
    if (++e.at_barrier == e.live) {
        open_barrier(t);
        return;
    }
    t->waits_at = where;
    t->mask = 0;
    wait_as(t);
}

void need_whole_warp(const char *where, unsigned arrived)
{
    if (arrived != ~0u)
        fault("%s: %s needs all lanes of the warp; only 0x%x came", running_place().c_str(), where,
              arrived);
}

void misaligned_tile(const void *tile, int ld)
{
    fault("%s: a tile at %p with %d elements a row, whose rows are not aligned to 16 bytes",
          running_place().c_str(), tile, ld);
}

bool chance(unsigned n)
{
    return e.random.below(n) == 0;
}

std::string running_place()
{
    if (!running)
        return "";
    return "kernel " + e.launched->name + ", block " + coordinates(block_index) + ", thread " +
           coordinates(running->index);
}

void run_grid(const launch &launch)
{
    e.launched = &launch;
    grid_dim = launch.grid;
    block_dim = launch.block;
    /* Exactly as large as asked for, so that AddressSanitizer sees what goes past its end. */
    std::unique_ptr<unsigned char[]> shared(new unsigned char[launch.shared_bytes]);
    dynamic_shared = shared.get();

    /* From a random block on, up or down: kernels may not count on an order. */
    const unsigned long long n = (unsigned long long)launch.grid.x * launch.grid.y * launch.grid.z;
    const unsigned long long first = e.random.below((unsigned)n),
        step = e.random.below(2) ? 1 : n - 1;
    for (unsigned long long i = 0, b = first; i < n; i++, b = (b + step) % n) {
        block_index = uint3{(unsigned)(b % launch.grid.x),
                            (unsigned)(b / launch.grid.x % launch.grid.y),
                            (unsigned)(b / ((unsigned long long)launch.grid.x * launch.grid.y))};
        run_block(launch);
    }
    dynamic_shared = nullptr;
    e.launched = nullptr;
}

}    // namespace simgpu
