/* memory.cpp - the allocations of the simulated device, each between forbidden pages. */
#include "memory.h"

#include "simgpu/block.h"

#include "fault.h"
#include "sanitizer.h"
#include "settings.h"

#include <sys/mman.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>

namespace simgpu {

namespace {

constexpr size_t PAGE = 4096, ALIGNMENT = 256;
constexpr unsigned char EDGE = 0xff;    /* NaN, where a kernel reads past an end */

struct allocation {
    memory_kind kind;
    size_t bytes;
    char *pages;
    size_t pages_bytes;
};

struct arena {
    std::mutex lock;
    std::map<const char *, allocation> list;    /* by start */
    std::map<const char *, allocation> freed;   /* the same, of what is no more */
    size_t used = 0;
    bool open = false;
};

arena &a = *new arena;

using entry = std::pair<const char *const, allocation>;

/* The one to whose pages, or the forbidden ones beside them, the address belongs, or NULL. */
entry *holder_in(std::map<const char *, allocation> &list, const void *address)
{
    const char *const p = static_cast<const char *>(address);
    auto after = list.upper_bound(p);
    /* An allocation's start may lie behind the address. */
    if (after != list.end() && p >= after->second.pages - PAGE)
        return &*after;
    if (after == list.begin())
        return nullptr;
    --after;
    return p < after->second.pages + after->second.pages_bytes + PAGE ? &*after : nullptr;
}

/* Of all that there is or was. The lock is held. */
entry *holder(const void *address)
{
    entry *const x = holder_in(a.list, address);
    return x ? x : holder_in(a.freed, address);
}

/* The bytes of the pages before and behind the allocation. */
template <typename F> void for_edges(const char *start, const allocation &x, F f)
{
    f(x.pages, (size_t)(start - x.pages));
    f(start + x.bytes, (size_t)(x.pages + x.pages_bytes - start) - x.bytes);
}

void protect(const allocation &x, int protection)
{
    if (mprotect(x.pages, x.pages_bytes, protection))
        fault("mprotect failed on %zu bytes", x.pages_bytes);
}

std::string size_and_kind(const allocation &x)
{
    const char *const what = x.kind == memory_kind::device   ? " bytes of device memory"
                             : x.kind == memory_kind::pinned ? " bytes of pinned host memory"
                                                             : " bytes that have been freed";
    return std::to_string(x.bytes) + what;
}

}    // namespace

namespace {

struct sigaction before;

/* Says what was touched; then lets the fault happen again, for whoever looked for it before. */
void touched(int, siginfo_t *info, void *)
{
    const char *const address = static_cast<const char *>(info->si_addr);
    const auto *const x = holder(address);    /* the lock may be held: this process ends anyway */
    const std::string kernel = running_place();
    const std::string who = kernel.empty() ? "host code" : kernel;
    if (x)
        say(who + " touches byte " + std::to_string(address - x->first) + " of " + size_and_kind(x->second));
    else if (!kernel.empty())
        say(who + " touches memory that the device does not know");
    sigaction(SIGSEGV, &before, nullptr);
}

/* From now on a touch of forbidden memory ends the process with a message. */
void watch()
{
    struct sigaction action = {};
    action.sa_sigaction = touched;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &before);
}

}    // namespace

void *memory_allocate(memory_kind kind, size_t bytes)
{
    static std::once_flag once;
    std::call_once(once, watch);
    const std::lock_guard<std::mutex> hold(a.lock);
    if (bytes == 0)
        return nullptr;
    if (kind == memory_kind::device && bytes > settings().memory_bytes - a.used)
        return nullptr;

    /* A forbidden page on either side. */
    const size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    const size_t pages_bytes = (rounded + PAGE - 1) / PAGE * PAGE;
    void *const mapped = mmap(nullptr, pages_bytes + 2 * PAGE, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED)
        return nullptr;
    const allocation x = {kind, bytes, static_cast<char *>(mapped) + PAGE, pages_bytes};
    char *const start = x.pages + pages_bytes - rounded;
    protect(x, PROT_READ | PROT_WRITE);
    memset(x.pages, EDGE, pages_bytes);
    for_edges(start, x, [](const char *edge, size_t n) { forbid(edge, n); });
    if (kind == memory_kind::device) {
        a.used += bytes;
        if (!a.open)
            protect(x, PROT_NONE);
    }
    a.list[start] = x;
    return start;
}

bool memory_free(memory_kind kind, void *start)
{
    const std::lock_guard<std::mutex> hold(a.lock);
    const auto at = a.list.find(static_cast<char *>(start));
    if (at == a.list.end() || at->second.kind != kind)
        return false;
    allocation x = at->second;
    a.list.erase(at);
    if (kind == memory_kind::device)
        a.used -= x.bytes;
    x.kind = memory_kind::freed;
    allow(x.pages, x.pages_bytes);
    madvise(x.pages, x.pages_bytes, MADV_DONTNEED);
    protect(x, PROT_NONE);
    a.freed[static_cast<char *>(start)] = x;
    return true;
}

memory_kind memory_kind_of(const void *address)
{
    const std::lock_guard<std::mutex> hold(a.lock);
    const auto *const x = holder(address);
    return x ? x->second.kind : memory_kind::none;
}

bool memory_offset(const void *address, size_t *offset, size_t *allocation_bytes)
{
    const std::lock_guard<std::mutex> hold(a.lock);
    const auto *const x = holder(address);
    if (!x)
        return false;
    *offset = (size_t)(static_cast<const char *>(address) - x->first);
    *allocation_bytes = x->second.bytes;
    return true;
}

std::string memory_complaint(const void *start, size_t bytes, memory_kind expected)
{
    const std::lock_guard<std::mutex> hold(a.lock);
    const auto *const x = holder(start);
    if (!x)
        return expected == memory_kind::none ? "" : "points to memory that the device "
        "does not know";
    if (x->second.kind != expected)
        return "points into " + size_and_kind(x->second);
    const char *const first = static_cast<const char *>(start);
    if (first < x->first || bytes > x->second.bytes ||
        first - x->first > (long)(x->second.bytes - bytes))
        return "takes bytes " + std::to_string(first - x->first) + " to " +
               std::to_string(first - x->first + (long)bytes) + " of " + size_and_kind(x->second);
    return "";
}

namespace {

void open_or_close(bool open)
{
    const std::lock_guard<std::mutex> hold(a.lock);
    if (a.open == open)
        return;
    a.open = open;
    for (const auto &[start, x] : a.list)
        if (x.kind == memory_kind::device)
            protect(x, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

}    // namespace

size_t memory_used()
{
    const std::lock_guard<std::mutex> hold(a.lock);
    return a.used;
}

void memory_open()
{
    open_or_close(true);
}

void memory_close()
{
    open_or_close(false);
}

void memory_check_edges(const std::string &who)
{
    const std::lock_guard<std::mutex> hold(a.lock);
    for (const auto &[start, x] : a.list) {
        if (x.kind != memory_kind::device)
            continue;
        for_edges(start, x, [&, first = start, &found = x](const char *edge, size_t n) {
            allow(edge, n);
            for (size_t i = 0; i < n; i++)
                if ((unsigned char)edge[i] != EDGE)
                    fault("%s wrote to byte %ld of %s", who.c_str(), (long)(edge + i - first),
                          size_and_kind(found).c_str());
            forbid(edge, n);
        });
    }
}

}    // namespace simgpu
