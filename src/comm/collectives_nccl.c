/*
 * collectives_nccl.c - sums of GPU memory by NCCL, on a stream of their own.
 *
 * MPI brings the ranks together: NCCL is asked only once all are known to be there, each with its
 * own GPU and the same version, for by itself it would wait without end, or say little. A sum
 * waits, on the device, for the computation queued before it; what is queued after `wait` waits for
 * all sums. So the host waits for no result, and all of it may become part of a graph.
 *
 * The communicator is non-blocking: no call waits inside NCCL for another rank, so that this thread
 * can always give up. A call that is not done yet is asked about until it is. Where all ranks come
 * at once, to connect and to leave, there is a deadline of its own. Not for a sum: its call may be
 * in progress until the slowest rank has made the same one, at the first use of an algorithm and,
 * with NVLS and registered memory, at every use, also while a graph is made; and one rank may read,
 * save or write samples for long. That is a wait like any other, over which the watch (watch.h)
 * keeps guard.
 *
 * Sums are ncclSum in fp32: ncclAvg multiplies with a rounded 1 / n, and bf16 would round at every
 * hop.
 */
#include "comm/collectives.h"

#include "base/clock.h"
#include "base/log.h"
#include "comm/places_nccl.h"
#include "device/device_cuda.h"

#include <math.h>
#include <nccl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CONNECT_S 60.0    /* to connect ranks; and as much again for every 64 of them */
#define LEAVE_S 5.0       /* to take leave of ranks that do so too */

enum {
    YIELD_US = 1000,      /* asking without a pause, for what mostly is done by then */
    PAUSE_US = 50,        /* between two looks after that */
    RIDERS = 7,           /* doubles that ride with a bucket; about, for it is no other algorithm */
};

struct nccl {
    struct comm *comm;
    struct device *device;
    ncclComm_t world;
    void *registration;
    int most;
    struct device_event **ready;    /* one a sum: its values are final */
    struct device_event *done;      /* all sums */
    int given;                      /* sums since the last wait */
    double connect_s;
    bool connected;
    bool follows;                   /* the last error may follow from another rank's */
};

/* ---- errors ---- */

static struct error *describe(const struct nccl *s, ncclResult_t result, const char *call)
{
    const char *more = ncclGetLastError(s->world);
    return error_new(ERROR_COMMUNICATION, "%s on rank %d of host %s (%s): %s%s%s; NCCL_DEBUG=INFO "
                     "tells more%s", call, comm_rank(s->comm), comm_host(s->comm),
                     device_description(s->device), ncclGetErrorString(result),
                     more && *more ? ": " : "", more ? more : "",
                     s->connected ? "" : ", and NCCL_NVLS_ENABLE=0 does without NVLink's switches");
}

static struct error *too_late(const struct nccl *s, const char *call, double seconds)
{
    return error_new(ERROR_COMMUNICATION, "%s on rank %d of host %s is not done after %.0f s: GPUs "
                     "cannot reach each other; look at NCCL_SOCKET_IFNAME, and at what "
                     "NCCL_DEBUG=INFO prints", call, comm_rank(s->comm), comm_host(s->comm),
                     seconds);
}

/* ---- calls that go on behind their return ---- */

/* Between two looks at what began at `since_s`. */
static void pause_polling(double since_s)
{
    if (clock_now_s() - since_s < 1e-6 * YIELD_US)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_US * 1000L}, NULL);
}

/* How the last call stands, or what came to grief since. */
static ncclResult_t ask(const struct nccl *s)
{
    ncclResult_t result = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(s->world, &result);
    return asked == ncclSuccess ? result : asked;
}

/* What has become of a call that returned `result`: ncclInProgress if it is not done by then. */
static ncclResult_t settle(const struct nccl *s, ncclResult_t result, double seconds)
{
    const double since_s = clock_now_s();
    while (result == ncclInProgress && (result = ask(s)) == ncclInProgress &&
           clock_now_s() - since_s <= seconds)
        pause_polling(since_s);
    return result;
}

static struct error *finish(struct nccl *s, ncclResult_t result, const char *call, double seconds)
{
    const ncclResult_t end = settle(s, result, seconds);
    s->follows = end == ncclInProgress || end == ncclRemoteError;
    if (end == ncclInProgress)
        return too_late(s, call, seconds);
    return end == ncclSuccess ? NULL : describe(s, end, call);
}

/* Of a call that all ranks make at once. */
static struct error *check(struct nccl *s, ncclResult_t result, const char *call)
{
    return finish(s, result, call, s->connect_s);
}

/* Collective: as comm_agree, while ranks are being connected. Where one fails, the others hear of
 * it from NCCL, or wait for it in vain: so it leaves at once, and its error is told first. */
static struct error *agree(struct nccl *s, struct error *mine)
{
    struct error *const follows = s->follows ? mine : NULL;
    if (mine && s->world) {
        (void)ncclCommAbort(s->world);
        s->world = NULL;
    }
    struct error *e = comm_agree(s->comm, follows ? NULL : mine);
    if (!e)
        return comm_agree(s->comm, follows);
    error_destroy(follows);
    return e;
}

/* ---- before: memory that GPUs share ---- */

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
    static const struct device_sharing sharing = {share_allocate, share_release};
    TRY(places_nccl_prepare(comm, device));
    device_share_with(device, &sharing);
    return NULL;
}

/* ---- sums ---- */

static ncclResult_t queue(struct nccl *s, const struct sum *sum)
{
    const ncclDataType_t type = sum->type == SUM_FLOAT ? ncclFloat : ncclDouble;
    return ncclAllReduce(sum->values, sum->values, (size_t)sum->count, type, ncclSum, s->world,
                         device_cuda_stream_of(s->device, STREAM_COMMUNICATION));
}

static struct error *queue_group(struct nccl *s, const struct sum *sums, int n, double seconds)
{
    if (n == 1)
        return finish(s, queue(s, sums), "ncclAllReduce", seconds);
    TRY(finish(s, ncclGroupStart(), "ncclGroupStart", seconds));
    ncclResult_t failed = ncclSuccess;
    for (int i = 0; i < n; i++) {
        const ncclResult_t result = queue(s, &sums[i]);
        if (result != ncclSuccess && result != ncclInProgress)
            failed = result;
    }
    struct error *e = finish(s, ncclGroupEnd(), "ncclGroupEnd", seconds);    /* in any case */
    if (failed == ncclSuccess)
        return e;
    error_destroy(e);
    return describe(s, failed, "ncclAllReduce");
}

static struct error *begin_sums(struct nccl *s, const struct sum *sums, int n, double seconds)
{
    if (s->given >= s->most)
        BUG("more than %d sums between two waits", s->most);
    struct device_event *ready = s->ready[s->given++];
    device_event_record(ready, STREAM_COMPUTE);
    device_event_wait(ready, STREAM_COMMUNICATION);
    return queue_group(s, sums, n, seconds);
}

/* Noted as a wait whether it comes to one or not, so that all ranks count the same ones. */
static void nccl_sum_begin(void *self, const struct sum *sums, int n)
{
    struct nccl *s = self;
    comm_begin_wait(s->comm, "ranks to begin a sum");
    struct error *e = begin_sums(s, sums, n, (double)INFINITY);
    comm_end_wait(s->comm);
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
    const ncclResult_t result = ask(s);
    return result == ncclSuccess || result == ncclInProgress
               ? NULL
               : describe(s, result, "a sum of gradients by NCCL");
}

/* ---- the first sums ---- */

/* Until the device has done them. A sum that came to grief on another rank would never end here. */
static struct error *await_sums(struct nccl *s)
{
    struct device_event *end;
    struct error *e = NULL;
    TRY(nccl_wait(s));
    TRY(device_event_create(&end, s->device, EVENT_TIME));
    device_event_record(end, STREAM_COMPUTE);
    const double since_s = clock_now_s();
    while (!e && !device_event_done(end)) {
        e = nccl_check(s);
        if (!e && clock_now_s() - since_s > s->connect_s) {
            s->follows = true;
            e = too_late(s, "the first sum of gradients", s->connect_s);
        }
        pause_polling(since_s);
    }
    device_event_destroy(end);
    return e ? e : device_check(s->device);
}

/*
 * NCCL connects ranks where an algorithm is first used, and takes memory for it. Here all ranks are
 * in step, so it is done now, by the sums of a step: a bucket of each length, the first with
 * scalars, for which algorithm it is follows from the length.
 */
static struct error *try_sums(struct nccl *s, const struct collectives_options *o)
{
    void *riders;
    float *const memory = o->memory;
    TRY(device_allocate(s->device, &riders, RIDERS * sizeof(double), "scalars of the first sum"));
    const struct sum each = {.values = memory + o->first, .count = o->each, .type = SUM_FLOAT};
    const struct sum last = {.values = memory + o->first, .count = o->last, .type = SUM_FLOAT};
    const struct sum first[] = {
        {.values = memory, .count = o->first, .type = SUM_FLOAT},
        {.values = riders, .count = RIDERS, .type = SUM_DOUBLE}};
    device_zero(s->device, memory, o->memory_bytes);
    if (o->last > 0)
        TRY(begin_sums(s, &last, 1, s->connect_s));
    if (o->each > 0)
        TRY(begin_sums(s, &each, 1, s->connect_s));
    TRY(begin_sums(s, first, 2, s->connect_s));
    TRY(await_sums(s));
    device_release(s->device, riders);    /* else it goes with the device */
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
    return agree(s, check(s, result, "ncclCommInitRankConfig"));
}

/* For NVLS, whose switches then add the gradients in place. Rings and trees register nothing for
 * sums in place: they go through buffers of NCCL's. */
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
    s->connect_s = CONNECT_S * (1 + comm_world_size(s->comm) / 64);
    if ((e = connect_ranks(s)))
        goto fail;
    if ((e = agree(s, register_memory(s, options))))
        goto fail;
    if ((e = agree(s, create_events(s))))
        goto fail;
    if ((e = agree(s, try_sums(s, options))))
        goto fail;
    s->connected = true;
    *self = s;
    return NULL;

fail:
    nccl_close(s);
    return error_context(e, "connecting the GPUs");
}

/* Without taking leave: nothing is lost with it once all sums are done. */
static struct error *leave_late(struct nccl *s, int64_t late)
{
    if (comm_rank(s->comm) == 0)
        log_warning("NCCL did not take leave within %.0f s on %lld of %d ranks; they end without "
                    "it, as all sums are done", LEAVE_S, (long long)late, comm_world_size(s->comm));
    (void)ncclCommAbort(s->world);
    s->world = NULL;
    return NULL;
}

/* Collective: until the last rank's last sum is done. NCCL waits for all ranks to do this, so they
 * are brought together first; and none gives up before all have tried. */
static struct error *nccl_end(void *self)
{
    struct nccl *s = self;
    TRY(check(s, ncclCommDeregister(s->world, s->registration), "ncclCommDeregister"));
    TRY(comm_barrier(s->comm));
    const ncclResult_t left = settle(s, ncclCommFinalize(s->world), LEAVE_S);
    if (left != ncclSuccess && left != ncclInProgress)
        return describe(s, left, "ncclCommFinalize");
    int64_t late = left == ncclInProgress;
    TRY(comm_sum_int64(s->comm, &late, 1));
    if (late > 0)
        return leave_late(s, late);
    const ncclResult_t result = ncclCommDestroy(s->world);
    s->world = NULL;
    return result == ncclSuccess ? NULL
                                 : error_new(ERROR_COMMUNICATION, "ncclCommDestroy: %s",
                                             ncclGetErrorString(result));
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
