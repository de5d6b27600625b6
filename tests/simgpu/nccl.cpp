/*
 * nccl.cpp - the simulated NCCL: the calls.
 *
 * A non-blocking communicator now and then answers ncclInProgress, by the seed; the call then takes
 * effect only when ncclCommGetAsyncError has been asked often enough, and another call before that
 * ends the process. With SIMGPU_MEET some calls wait for the other ranks' too. Every rank of MPI's world is a rank of the communicator.
 */
#include "calls.h"
#include "communicator.h"
#include "fault.h"
#include "memory.h"
#include "random.h"
#include "settings.h"
#include "stream.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstdlib>
#include <cstring>

using namespace simgpu;

/* What a caller's handle stands for. */
struct ncclComm {
    std::shared_ptr<communicator> shared;
    bool blocking;
    int answers_to_go = 0;    /* ncclInProgress, before the call takes effect */
    std::vector<std::function<void()>> effects;
};

namespace {

std::string &last_text = *new std::string;
thread_local int group_depth;
thread_local bool group_meets;    /* one of its collectives does */
thread_local std::vector<std::pair<ncclComm *, std::function<void()>>> group;

ncclResult_t enter(const char *call)
{
    return (ncclResult_t)enter_call(call);
}

/* NCCL's own choices: how long its calls take. */
unsigned draw_below(unsigned n)
{
    static std::mutex lock;
    static random_numbers numbers;
    const std::lock_guard<std::mutex> hold(lock);
    return numbers.below(n);
}

void need_idle(const ncclComm *comm, const char *call)
{
    if (!comm->shared->has_met() || comm->answers_to_go > 0 || !comm->shared->meets())
        fault("%s while the communicator's last call is still in progress: ask "
              "ncclCommGetAsyncError until it is not", call);
}

/* What ends a communicator waits until no graph holds a collective of it, without end. */
void need_no_graphs(const ncclComm *comm, const char *call)
{
    if (comm->shared->in_graphs.use_count() > 1)
        fault("%s while there are graphs with collectives of the communicator, for which it waits: "
              "destroy them first", call);
}

/* Lets the call take effect now or later. */
ncclResult_t conclude(ncclComm *comm, std::function<void()> effect)
{
    if (comm->blocking || draw_below(2)) {
        effect();
        return ncclSuccess;
    }
    comm->answers_to_go = 1 + (int)draw_below(3);
    comm->effects.push_back(std::move(effect));
    return ncclInProgress;
}

/* Of a call that every rank makes; it waits for the others if `meets`. */
ncclResult_t conclude_together(ncclComm *comm, bool meets, std::function<void()> effect)
{
    if (!meets || comm->blocking)
        return conclude(comm, std::move(effect));
    comm->shared->begin_meeting();
    comm->effects.push_back(std::move(effect));
    return ncclInProgress;
}

/* 2.28 asks what its GPU can only by its own choice; failing then is an error only where it was told
 * to. */
ncclResult_t set_up_switches(int gpu)
{
    const char *const asked = getenv("NCCL_NVLS_ENABLE");
    const int choice = asked ? atoi(asked) : 2;
    const bool can = gpu < settings().multicast_devices;
    if (choice == 0 || (choice == 2 && !can))
        return ncclSuccess;
    const int injected = injected_failure("nvls");
    return injected ? (ncclResult_t)injected : can ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t queue(const char *call, ncclComm *comm, const collective &what, cudaStream_t stream)
{
    const ncclResult_t status = enter(call);
    if (status != ncclSuccess)
        return status;
    need_idle(comm, call);
    if (comm->shared->failure() != ncclSuccess)
        return comm->shared->failure();
    {
        const std::unique_lock<std::mutex> hold = stream_lock();
        stream_check(stream, call);
    }
    const auto effect = [shared = comm->shared, what, stream] {
        const std::unique_lock<std::mutex> hold = stream_lock();
        work collective = communicator::work_of(shared, what);
        collective.kept_by_graph = shared->in_graphs;
        stream_queue(stream, std::move(collective));
    };
    const bool connects = comm->shared->connects(what);
    const bool meets = settings().meet == "always" || (settings().meet == "first" && connects);
    if (group_depth > 0) {
        group.emplace_back(comm, effect);
        group_meets |= meets;
        return ncclSuccess;
    }
    return conclude_together(comm, meets, effect);
}

}    // namespace

extern "C" {

ncclResult_t ncclGetVersion(int *version)
{
    *version = NCCL_VERSION_CODE;
    return enter(__func__);
}

const char *ncclGetErrorString(ncclResult_t result)
{
    switch (result) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError: return "unhandled cuda error (run with "
        "NCCL_DEBUG=INFO for details)";
    case ncclSystemError: return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
    case ncclInternalError: return "internal error - please report this issue to the "
        "NCCL developers";
    case ncclInvalidArgument: return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case ncclInvalidUsage: return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInProgress: return "NCCL operation in progress";
    default: return "unknown result code";
    }
}

const char *ncclGetLastError(ncclComm_t comm)
{
    if (comm && comm->shared->failure() != ncclSuccess)
        last_text = comm->shared->failure_text();
    return last_text.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    for (char &byte : id->internal)
        byte = (char)draw_below(256);
    return enter(__func__);
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    const ncclResult_t status = enter(__func__);
    if (status != ncclSuccess)
        return status;
    const ncclConfig_t defaults = NCCL_CONFIG_INITIALIZER;
    if (config->magic != defaults.magic || config->size != defaults.size)
        fault("%s: a configuration that does not begin as NCCL_CONFIG_INITIALIZER", __func__);
    int world_rank, world_size, device, bus;
    exchange_world(&world_rank, &world_size);
    if (ranks != world_size || rank != world_rank)
        fault("%s: rank %d of %d, where MPI's world has rank %d of %d", __func__, rank, ranks,
              world_rank, world_size);
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&bus, cudaDevAttrPciBusId, device) != cudaSuccess)
        return ncclUnhandledCudaError;
    const ncclResult_t switches = set_up_switches(bus - 1);
    if (switches != ncclSuccess)
        return switches;

    *comm = new ncclComm{std::make_shared<communicator>(rank, ranks, id, bus),
        config->blocking != 0, 0, {}};
    if (!(*comm)->blocking)
        return ncclInProgress;
    while (!(*comm)->shared->has_met())
        device_breathe();
    return (*comm)->shared->failure();
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *answer)
{
    const ncclResult_t status = enter(__func__);
    if (status != ncclSuccess)
        return status;
    *answer = comm->shared->has_met() ? comm->shared->failure() : ncclInProgress;
    if (*answer != ncclSuccess)
        return status;
    if (comm->answers_to_go > 0 && --comm->answers_to_go > 0) {
        *answer = ncclInProgress;
        return status;
    }
    if (!comm->shared->meets()) {
        *answer = ncclInProgress;
        return status;
    }
    for (const std::function<void()> &effect : comm->effects)
        effect();
    comm->effects.clear();
    return status;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    const ncclResult_t status = enter(__func__);
    if (status != ncclSuccess)
        return status;
    need_idle(comm, __func__);
    need_no_graphs(comm, __func__);
    return conclude_together(comm, settings().meet == "always", [shared = comm->shared] { device_wait(shared->order->last); });
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    const ncclResult_t status = enter(__func__);
    need_idle(comm, __func__);
    need_no_graphs(comm, __func__);
    device_wait(comm->shared->order->last);
    delete comm;
    return status;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    need_no_graphs(comm, __func__);
    comm->shared->abort();
    delete comm;
    return enter(__func__);
}

ncclResult_t ncclCommCount(const ncclComm_t comm, int *count)
{
    *count = comm->shared->size;
    return enter(__func__);
}

ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *rank)
{
    *rank = comm->shared->rank;
    return enter(__func__);
}

ncclResult_t ncclAllReduce(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    return queue(__func__, comm, {collective_kind::all_reduce, send, receive, count, type, op, 0},
                 stream);
}

ncclResult_t ncclAllGather(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream)
{
    return queue(__func__, comm, {collective_kind::all_gather, send, receive, count, type, ncclSum,
        0}, stream);
}

ncclResult_t ncclBroadcast(const void *send, void *receive, size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream)
{
    return queue(__func__, comm, {collective_kind::broadcast, send, receive, count, type, ncclSum,
        root}, stream);
}

ncclResult_t ncclGroupStart(void)
{
    group_depth++;
    return enter(__func__);
}

/* All the group's collectives begin, or are in progress, together. */
ncclResult_t ncclGroupEnd(void)
{
    const ncclResult_t status = enter(__func__);
    if (group_depth == 0)
        fault("%s without ncclGroupStart", __func__);
    if (--group_depth > 0)
        return status;
    const bool meets = group_meets;
    group_meets = false;
    const auto members = std::move(group);
    group.clear();
    if (members.empty() || status != ncclSuccess)
        return status;
    for (const auto &[comm, effect] : members)
        if (comm != members[0].first)
            fault("%s: a group over two communicators is not simulated", __func__);
    return conclude_together(members[0].first, meets, [members] {
        for (const auto &[comm, effect] : members)
            effect();
    });
}

ncclResult_t ncclMemAlloc(void **memory, size_t bytes)
{
    const ncclResult_t status = enter(__func__);
    if (status != ncclSuccess)
        return status;
    *memory = memory_allocate(memory_kind::device, bytes);
    return *memory ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t ncclMemFree(void *memory)
{
    const ncclResult_t status = enter(__func__);
    device_drain();
    if (memory && !memory_free(memory_kind::device, memory))
        fault("%s of %p, which is not the start of device memory that is in use", __func__, memory);
    return status;
}

ncclResult_t ncclCommRegister(const ncclComm_t comm, void *buffer, size_t bytes, void **handle)
{
    const ncclResult_t status = enter(__func__);
    if (status != ncclSuccess)
        return status;
    need_idle(comm, __func__);
    if (!comm->shared->register_memory(buffer, bytes))
        return ncclInvalidArgument;
    *handle = buffer;
    return status;
}

ncclResult_t ncclCommDeregister(const ncclComm_t comm, void *handle)
{
    const ncclResult_t status = enter(__func__);
    if (!comm->shared->deregister_memory(handle))
        return ncclInvalidArgument;
    return status;
}

}    // extern "C"
