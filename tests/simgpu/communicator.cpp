/* communicator.cpp - ranks meet, compare and combine. */
#include "communicator.h"

#include "calls.h"
#include "fault.h"
#include "memory.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

namespace simgpu {

namespace {

constexpr int FIRST_TAG = 20000;
enum { GREETING, MEETING, HEADER, DATA, TAGS };

/* What ranks tell one another when they meet. */
struct greeting_of_rank {
    ncclUniqueId id;
    int size, rank, bus;
    char host[64];
};

template <typename T> std::vector<char> bytes_of(const T &value)
{
    std::vector<char> bytes(sizeof value);
    memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

const char *kind_name(collective_kind kind)
{
    static const char *const names[] = {"ncclAllReduce", "ncclAllGather", "ncclBroadcast"};
    return names[(int)kind];
}

int next_number()
{
    static std::atomic<int> made;
    return made++;
}

/* total += other, each sum rounded to the type, as a ring of ranks does it. */
template <typename T> void add(char *total, const char *other, size_t count)
{
    T *const a = reinterpret_cast<T *>(total);
    const T *const b = reinterpret_cast<const T *>(other);
    for (size_t i = 0; i < count; i++)
        a[i] = (T)(a[i] + b[i]);
}

template <typename T> void add_rounded(char *total, const char *other, size_t count)
{
    T *const a = reinterpret_cast<T *>(total);
    const T *const b = reinterpret_cast<const T *>(other);
    for (size_t i = 0; i < count; i++)
        a[i] = (T)((float)a[i] + (float)b[i]);
}

template <typename T> void larger(char *total, const char *other, size_t count)
{
    T *const a = reinterpret_cast<T *>(total);
    const T *const b = reinterpret_cast<const T *>(other);
    for (size_t i = 0; i < count; i++)
        a[i] = std::max(a[i], b[i]);
}

void reduce(const collective &what, char *total, const char *other)
{
    if (what.op == ncclMax && what.type == ncclFloat32)
        return larger<float>(total, other, what.count);
    if (what.op == ncclMax && what.type == ncclFloat64)
        return larger<double>(total, other, what.count);
    if (what.op != ncclSum)
        fault("%s with operation %d on type %d is not simulated", kind_name(what.kind),
              (int)what.op, (int)what.type);
    switch (what.type) {
    case ncclFloat32: add<float>(total, other, what.count); break;
    case ncclFloat64: add<double>(total, other, what.count); break;
    case ncclInt32: add<int32_t>(total, other, what.count); break;
    case ncclInt64: add<int64_t>(total, other, what.count); break;
    case ncclUint64: add<uint64_t>(total, other, what.count); break;
    case ncclBfloat16: add_rounded<__nv_bfloat16>(total, other, what.count); break;
    case ncclFloat16: add_rounded<__half>(total, other, what.count); break;
    default: fault("sums of NCCL's type %d are not simulated", (int)what.type);
    }
}

void check_buffer(const char *call, const char *side, const void *at, size_t bytes)
{
    const std::string complaint = memory_complaint(at, bytes, memory_kind::device);
    if (!complaint.empty())
        fault("%s of %zu bytes: its %s buffer %s", call, bytes, side, complaint.c_str());
}

}    // namespace

size_t nccl_type_bytes(ncclDataType_t type)
{
    switch (type) {
    case ncclInt8:
    case ncclUint8: return 1;
    case ncclFloat16:
    case ncclBfloat16: return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32: return 4;
    default: return 8;
    }
}

/* ---- meeting ---- */

communicator::communicator(int own_rank, int ranks, const ncclUniqueId &id, int bus)
    : rank(own_rank), size(ranks), number(next_number())
{
    greeting_of_rank mine = {};
    mine.id = id;
    mine.size = size;
    mine.rank = rank;
    mine.bus = bus;
    gethostname(mine.host, sizeof mine.host - 1);
    greeting = std::make_unique<exchange>(FIRST_TAG + number * TAGS + GREETING, rank, size,
                                          bytes_of(mine));
}

bool communicator::has_met()
{
    if (met || failure() != ncclSuccess)
        return true;
    if (!greeting->finished())
        return false;
    check_greetings();
    met = true;
    return true;
}

void communicator::check_greetings()
{
    std::vector<greeting_of_rank> all((size_t)size);
    for (int r = 0; r < size; r++)
        memcpy(&all[(size_t)r], greeting->of(r), sizeof all[0]);
    for (int r = 0; r < size; r++) {
        const greeting_of_rank &g = all[(size_t)r];
        if (memcmp(&g.id, &all[0].id, sizeof g.id) || g.size != size || g.rank != r)
            fault("ncclCommInitRankConfig: rank %d takes itself for rank %d of %d, "
                  "with %s unique id", r,
                  g.rank, g.size, memcmp(&g.id, &all[0].id, sizeof g.id) ? "another" : "the same");
        for (int other = 0; other < r; other++)
            if (g.bus == all[(size_t)other].bus && !strcmp(g.host, all[(size_t)other].host))
                return fail(ncclInvalidUsage, "Duplicate GPU detected : rank " + std::to_string(r) +
                                                  " and rank " + std::to_string(other) +
                                                  " both on CUDA device " + std::to_string(g.bus));
    }
}

void communicator::begin_meeting()
{
    meeting = std::make_unique<exchange>(FIRST_TAG + number * TAGS + MEETING, rank, size,
                                         std::vector<char>(1));
}

bool communicator::meets()
{
    if (meeting && meeting->finished())
        meeting.reset();
    return !meeting;
}

bool communicator::connects(const collective &what)
{
    return connected.insert({(int)what.kind, (int)what.type, std::ilogb((double)what.count)}).second;
}

/* ---- collectives, on the device's thread ---- */

/* What a rank is about to do; all of it must be the same on all. */
struct communicator::announcement {
    uint64_t number, count, offset, allocation_bytes;
    int32_t kind, type, op, root, registered;

    std::string text() const
    {
        return std::string(kind_name((collective_kind)kind)) + " of " + std::to_string(count) +
               " elements of type " + std::to_string(type) + ", operation " + std::to_string(op) +
               ", root " + std::to_string(root) + ", at byte " + std::to_string(offset) + " of an allocation of " +
               std::to_string(allocation_bytes) + (registered ? ", registered" : ", not registered");
    }
};

communicator::announcement communicator::announce(const collective &what)
{
    announcement a;
    memset(&a, 0, sizeof a);
    a.number = begun;
    a.count = what.count;
    a.kind = (int32_t)what.kind;
    a.type = (int32_t)what.type;
    a.op = what.kind == collective_kind::all_reduce ? (int32_t)what.op : 0;
    a.root = what.root;
    size_t offset = 0, bytes = 0;
    memory_offset(what.send, &offset, &bytes);
    a.offset = offset;
    a.allocation_bytes = bytes;
    const std::lock_guard<std::mutex> hold(lock);
    const auto after = registered.upper_bound(static_cast<const char *>(what.send));
    if (after != registered.begin()) {
        const auto &[start, length] = *std::prev(after);
        a.registered = static_cast<const char *>(what.send) < start + length;
    }
    return a;
}

void communicator::begin(const collective &what)
{
    if (failure() != ncclSuccess || is_aborted())
        return;
    begun++;
    const int injected = injected_failure("collective");
    if (injected)
        return fail((ncclResult_t)injected, "an injected failure");
    if ((uintptr_t)what.send % 16 != 0)
        injected_failure("unaligned");
    const size_t bytes = what.count * nccl_type_bytes(what.type);
    check_buffer(kind_name(what.kind), "send", what.send, bytes);
    check_buffer(kind_name(what.kind), "receive", what.receive,
                 what.kind == collective_kind::all_gather ? bytes * (size_t)size : bytes);
    headers = std::make_unique<exchange>(FIRST_TAG + number * TAGS + HEADER, rank, size,
                                         bytes_of(announce(what)));
}

void communicator::compare(const collective &)
{
    announcement first, mine;
    memcpy(&first, headers->of(0), sizeof first);
    memcpy(&mine, headers->of(rank), sizeof mine);
    if (memcmp(&first, &mine, sizeof mine))
        fault("collective %llu differs between ranks: rank 0 has %s; rank %d has %s",
              (unsigned long long)mine.number, first.text().c_str(), rank, mine.text().c_str());
}

void communicator::combine(const collective &what)
{
    const size_t bytes = what.count * nccl_type_bytes(what.type);
    char *const to = static_cast<char *>(what.receive);
    switch (what.kind) {
    case collective_kind::all_reduce:
        memcpy(to, data->of(0), bytes);
        for (int r = 1; r < size; r++)
            reduce(what, to, data->of(r));
        break;
    case collective_kind::all_gather:
        for (int r = 0; r < size; r++)
            memcpy(to + (size_t)r * bytes, data->of(r), bytes);
        break;
    case collective_kind::broadcast: memcpy(to, data->of(what.root), bytes); break;
    }
}

/* Goes on where it can; true at the end. */
bool communicator::advance(const collective &what)
{
    if (is_aborted())
        return true;
    if (failure() != ncclSuccess)
        return false;    /* for ever: only an abort ends it */
    if (!headers->finished())
        return false;
    if (!data) {
        compare(what);
        const char *const from = static_cast<const char *>(what.send);
        data = std::make_unique<exchange>(
            FIRST_TAG + number * TAGS + DATA, rank, size,
            std::vector<char>(from, from + what.count * nccl_type_bytes(what.type)));
    }
    if (!data->finished())
        return false;
    combine(what);
    headers.reset();
    data.reset();
    return true;
}

work communicator::work_of(const std::shared_ptr<communicator> &self, const collective &what)
{
    return {kind_name(what.kind), [self, what] { self->begin(what); },
            [self, what] { return self->advance(what); }, self->order};
}

/* ---- failures ---- */

void communicator::fail(ncclResult_t status, const std::string &text)
{
    const std::lock_guard<std::mutex> hold(lock);
    failed = status;
    failed_text = text;
}

ncclResult_t communicator::failure()
{
    const std::lock_guard<std::mutex> hold(lock);
    return failed;
}

std::string communicator::failure_text()
{
    const std::lock_guard<std::mutex> hold(lock);
    return failed_text;
}

bool communicator::is_aborted()
{
    const std::lock_guard<std::mutex> hold(lock);
    return aborted;
}

void communicator::abort()
{
    const std::lock_guard<std::mutex> hold(lock);
    aborted = true;
}

/* ---- registered memory ---- */

bool communicator::register_memory(void *start, size_t bytes)
{
    const std::lock_guard<std::mutex> hold(lock);
    return memory_complaint(start, bytes, memory_kind::device).empty() &&
           registered.emplace(static_cast<const char *>(start), bytes).second;
}

bool communicator::deregister_memory(void *start)
{
    const std::lock_guard<std::mutex> hold(lock);
    return registered.erase(static_cast<const char *>(start)) > 0;
}

}    // namespace simgpu
