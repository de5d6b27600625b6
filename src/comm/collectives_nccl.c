/*
 * collectives_nccl.c - sums of GPU memory by NCCL, on a stream of their own.
 *
 * MPI brings the ranks together: NCCL is asked only once all are known to be there, each with its
 * own GPU and the same version, for by itself it would wait without end, or say little. A sum
 * waits, on the device, for the computation queued before it; what is queued after `wait` waits for
 * all sums. So the host only queues, and all of it may become part of a graph.
 *
 * The communicator is non-blocking: no call waits inside NCCL for another rank, so that this thread
 * can always give up. A call that is not done yet is asked about until it is, or until the
 * deadline.
 *
 * Sums are ncclSum in fp32: ncclAvg multiplies with a rounded 1 / n, and bf16 would round at every
 * hop.
 */
#include "comm/collectives.h"

#include "base/clock.h"
#include "comm/library_nccl.h"
#include "device/device_cuda.h"

#include <nccl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_S 60.0    /* for a call that connects ranks; and as much again for every 64 of them */
#define LEAVE_S 10.0      /* for taking leave of ranks that may be gone */

struct nccl {
    struct comm *comm;
    struct device *device;
    ncclComm_t world;
    void *registration;
    int most;
    struct device_event **ready;    /* one a sum: its values are final */
    struct device_event *done;      /* all sums */
    int given;                      /* sums since the last wait */
    double deadline_s;
};

/* ---- errors ---- */

static struct error *describe(const struct nccl *s, ncclResult_t result, const char *call)
{
    const char *more = ncclGetLastError(s->world);
    return error_new(ERROR_COMMUNICATION, "%s on rank %d of host %s (%s): %s%s%s; NCCL_DEBUG=INFO "
                     "tells more", call, comm_rank(s->comm), comm_host(s->comm),
                     device_description(s->device), ncclGetErrorString(result),
                     more && *more ? ": " : "", more ? more : "");
}

/* Waits until a call is done that may go on behind its return. */
static struct error *finish(const struct nccl *s, ncclResult_t result, const char *call,
                            double seconds)
{
    const double end_s = clock_now_s() + seconds;
    while (result == ncclInProgress) {
        const ncclResult_t asked = ncclCommGetAsyncError(s->world, &result);
        if (asked != ncclSuccess)
            result = asked;
        if (result == ncclInProgress && clock_now_s() > end_s)
            return error_new(ERROR_COMMUNICATION, "%s on rank %d of host %s is not done after %.0f "
                             "s: GPUs cannot reach each other; look at NCCL_SOCKET_IFNAME, and at "
                             "what NCCL_DEBUG=INFO prints", call, comm_rank(s->comm),
                             comm_host(s->comm), seconds);
        sched_yield();
    }
    return result == ncclSuccess ? NULL : describe(s, result, call);
}

static struct error *check(const struct nccl *s, ncclResult_t result, const char *call)
{
    return finish(s, result, call, s->deadline_s);
}

/* ---- before: the library, and a GPU for every rank ---- */

/* What a rank brings; compared byte by byte. */
struct place {
    char host[128];
    unsigned char gpu[16];    /* its UUID */
    int version;
};

/* Of NCCL 2.27 and 2.28, where some ranks fail to set up NVLS the others hang. With 1 instead of
 * the default, failing is an error. */
static void tame_nvls(int version)
{
    if (version < NCCL_VERSION(2, 29, 0))
        setenv("NCCL_NVLS_ENABLE", "1", 0);
}

static struct error *find_place(struct place *place, const struct comm *comm,
                                const struct device *device)
{
    struct cudaDeviceProp properties;
    int ordinal;
    TRY(nccl_load());
    const ncclResult_t result = ncclGetVersion(&place->version);
    if (result != ncclSuccess)
        return error_new(ERROR_COMMUNICATION, "ncclGetVersion: %s", ncclGetErrorString(result));
    tame_nvls(place->version);
    TRY(device_cuda_check(device, cudaGetDevice(&ordinal), "cudaGetDevice"));
    TRY(device_cuda_check(device, cudaGetDeviceProperties(&properties, ordinal),
                          "cudaGetDeviceProperties"));
    memcpy(place->gpu, &properties.uuid, sizeof place->gpu);
    snprintf(place->host, sizeof place->host, "%s", comm_host(comm));
    return NULL;
}

/* NCCL lets ranks share a GPU only if it takes them for different hosts, or is told to. */
static bool may_share_gpu(void)
{
    return getenv("NCCL_HOSTID") || getenv("NCCL_MULTI_RANK_GPU_ENABLE");
}

static struct error *compare_places(const struct place *all, int n)
{
    for (int r = 0; r < n; r++) {
        if (all[r].version != all[0].version)
            return error_new(ERROR_COMMUNICATION, "rank 0 (%s) has NCCL %d, rank %d (%s) has %d; "
                             "the same libnccl.so must be found on every host", all[0].host,
                             all[0].version, r, all[r].host, all[r].version);
        for (int other = 0; other < r && !may_share_gpu(); other++)
            if (!memcmp(all[r].gpu, all[other].gpu, sizeof all[r].gpu))
                return error_new(ERROR_USAGE, "ranks %d and %d (host %s) have the same GPU: every "
                                 "rank needs its own; start at most as many ranks a host as it has "
                                 "GPUs, and look at CUDA_VISIBLE_DEVICES", other, r, all[r].host);
    }
    return NULL;
}

static struct error *share_allocate(void **out, size_t bytes)
{
    const ncclResult_t result = ncclMemAlloc(out, bytes);
    return result == ncclSuccess ? NULL
                                 : error_new(ERROR_MEMORY, "ncclMemAlloc of %zu bytes: %s", bytes,
                                             ncclGetErrorString(result));
}

static void share_release(void *memory)
{
    (void)ncclMemFree(memory);
}

static struct error *nccl_prepare(struct comm *comm, struct device *device)
{
    const int n = comm_world_size(comm);
    struct place mine = {0};
    TRY(comm_agree(comm, find_place(&mine, comm, device)));
    struct place *all = calloc((size_t)n, sizeof *all);
    if (!all)
        return error_new(ERROR_MEMORY, "no memory for the places of %d ranks", n);
    struct error *e = comm_all_gather(comm, &mine, all, sizeof mine);
    if (!e)
        e = comm_agree(comm, compare_places(all, n));
    free(all);
    TRY(e);
    static const struct device_sharing sharing = {share_allocate, share_release};
    device_share_with(device, &sharing);
    return NULL;
}

/* ---- life ---- */

/* Rank 0's number of the new communicator, and a place in it. */
static struct error *connect_ranks(struct nccl *s)
{
    ncclUniqueId id = {0};
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    struct error *e = NULL;
    if (comm_rank(s->comm) == 0) {
        const ncclResult_t result = ncclGetUniqueId(&id);
        if (result != ncclSuccess)
            e = describe(s, result, "ncclGetUniqueId");
    }
    TRY(comm_agree(s->comm, e));    /* also: all ranks are here */
    TRY(comm_broadcast(s->comm, &id, sizeof id));
    const ncclResult_t result = ncclCommInitRankConfig(
        &s->world, comm_world_size(s->comm), id, comm_rank(s->comm), &config);
    return comm_agree(s->comm, check(s, result, "ncclCommInitRankConfig"));
}

/* So that peers and network read and write the gradients in place. */
static struct error *register_memory(struct nccl *s, const struct collectives_options *o)
{
    return check(s, ncclCommRegister(s->world, o->memory, o->memory_bytes, &s->registration),
                 "ncclCommRegister");
}

static struct error *create_events(struct nccl *s)
{
    s->ready = calloc((size_t)s->most, sizeof(struct device_event *));
    if (!s->ready)
        return error_new(ERROR_MEMORY, "no memory for the events of %d sums", s->most);
    for (int i = 0; i < s->most; i++)
        TRY(device_event_create(&s->ready[i], s->device, EVENT_ORDER));
    return device_event_create(&s->done, s->device, EVENT_ORDER);
}

static void nccl_close(void *self)
{
    struct nccl *s = self;
    if (s->world)
        (void)ncclCommAbort(s->world);    /* ends also what waits on the device for another rank */
    for (int i = 0; s->ready && i < s->most; i++)
        device_event_destroy(s->ready[i]);
    device_event_destroy(s->done);
    free((void *)s->ready);
    free(s);
}

static struct error *nccl_open(void **self, const struct collectives_options *options)
{
    struct error *e;
    struct nccl *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory for sums by NCCL (%zu bytes)", sizeof *s);
    s->comm = options->comm;
    s->device = options->device;
    s->most = options->most;
    s->deadline_s = CONNECT_S * (1 + comm_world_size(s->comm) / 64);
    if ((e = connect_ranks(s)))
        goto fail;
    if ((e = comm_agree(s->comm, register_memory(s, options))))
        goto fail;
    if ((e = create_events(s)))
        goto fail;
    *self = s;
    return NULL;

fail:
    nccl_close(s);
    return error_context(e, "connecting the GPUs");
}

/* Collective: until the last rank's last sum is done. */
static struct error *nccl_end(void *self)
{
    struct nccl *s = self;
    TRY(check(s, ncclCommDeregister(s->world, s->registration), "ncclCommDeregister"));
    TRY(finish(s, ncclCommFinalize(s->world), "ncclCommFinalize", LEAVE_S));
    const ncclResult_t result = ncclCommDestroy(s->world);
    s->world = NULL;
    return result == ncclSuccess ? NULL
                                 : error_new(ERROR_COMMUNICATION, "ncclCommDestroy: %s",
                                             ncclGetErrorString(result));
}

/* ---- sums ---- */

static ncclResult_t queue(struct nccl *s, const struct sum *sum)
{
    const ncclDataType_t type = sum->type == SUM_FLOAT ? ncclFloat : ncclDouble;
    return ncclAllReduce(sum->values, sum->values, (size_t)sum->count, type, ncclSum, s->world,
                         device_cuda_stream_of(s->device, STREAM_COMMUNICATION));
}

static struct error *queue_group(struct nccl *s, const struct sum *sums, int n)
{
    if (n == 1)
        return check(s, queue(s, sums), "ncclAllReduce");
    TRY(check(s, ncclGroupStart(), "ncclGroupStart"));
    ncclResult_t failed = ncclSuccess;
    for (int i = 0; i < n; i++) {
        const ncclResult_t result = queue(s, &sums[i]);
        if (result != ncclSuccess && result != ncclInProgress)
            failed = result;
    }
    struct error *e = check(s, ncclGroupEnd(), "ncclGroupEnd");    /* in any case */
    if (failed == ncclSuccess)
        return e;
    error_destroy(e);
    return describe(s, failed, "ncclAllReduce");
}

static void nccl_sum_begin(void *self, const struct sum *sums, int n)
{
    struct nccl *s = self;
    if (s->given >= s->most)
        BUG("more than %d sums between two waits", s->most);
    struct device_event *ready = s->ready[s->given++];
    device_event_record(ready, STREAM_COMPUTE);
    device_event_wait(ready, STREAM_COMMUNICATION);
    struct error *e = queue_group(s, sums, n);
    if (e)
        device_fail(s->device, e);
}

static struct error *nccl_wait(void *self)
{
    struct nccl *s = self;
    s->given = 0;
    device_event_record(s->done, STREAM_COMMUNICATION);
    device_event_wait(s->done, STREAM_COMPUTE);
    return NULL;
}

static struct error *nccl_check(void *self)
{
    const struct nccl *s = self;
    ncclResult_t result = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(s->world, &result);
    if (asked != ncclSuccess)
        result = asked;
    return result == ncclSuccess || result == ncclInProgress
               ? NULL
               : describe(s, result, "a sum of gradients by NCCL");
}

const struct collectives collectives_nccl = {
    .name = "NCCL",
    .device_kind = "cuda",
    .prepare = nccl_prepare,
    .open = nccl_open,
    .sum_begin = nccl_sum_begin,
    .wait = nccl_wait,
    .check = nccl_check,
    .end = nccl_end,
    .close = nccl_close,
};
