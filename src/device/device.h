/*
 * device.h - where a rank computes: memory, copies, and the first failure.
 *
 * A device is one rank's processor: the CPU (all kernels run when called) or a CUDA GPU (kernels
 * are queued in order on the device's stream). Callers never ask which: they allocate before the
 * first step, call kernels (kernels/kernels.h), and wait with device_synchronize() where the host
 * needs a result.
 *
 * Kernels return nothing. The first failure is latched here with the kernel's name, and reported by
 * the next device_check() or device_synchronize(); what follows a failure computes nothing of use.
 *
 * Owner: the verb that opened it; used by one thread at a time but for device_fetch and
 * device_fetch_rows. All calls are local to the rank.
 */
#ifndef GALLEY_DEVICE_DEVICE_H
#define GALLEY_DEVICE_DEVICE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct device;

struct device_options {
    const char *kind;    /* "cpu", "cuda"; "auto" takes the best there is */
    int threads;         /* compute threads of a CPU rank; 0: this rank's share of the node's cores */
    int local_rank;      /* this rank among the ranks of its node */
    int local_size;      /* ranks on this node */
    bool tf32;           /* on a GPU, fp32 matrix products may use TF32: 10 bits of mantissa */
    bool tune;           /* on a GPU, time the ways to compute each matrix product, and what goes with
                          * it, and attention by cuDNN, once and take the fastest: two runs may then
                          * round differently */
    bool plan_only;      /* allocations are only counted: their memory must not be touched, and copies do
                          * nothing */
};

MUST_USE struct error *device_open(struct device **out, const struct device_options *options);
/* Releases everything that was allocated on it. NULL is fine. */
void device_close(struct device *device);

/* "cpu" or "cuda": which kernel tables fit. */
const char *device_kind(const struct device *device);
/* For people: "cpu, 2 threads". Valid as long as the device. */
const char *device_description(const struct device *device);
int device_threads(const struct device *device);

/* Zeroed memory of the device, aligned to 64 bytes at least, touched already (no page faults
 * later); `purpose` (a literal) is what the memory plan and an out-of-memory error call it. Lives
 * until device_release or device_close. */
MUST_USE struct error *device_allocate(struct device *device, void **out, size_t bytes,
                                       const char *purpose);
/* Whether its memory is the host's own, so that a copy on the host would be one too many. */
bool device_memory_is_host(const struct device *device);

/* Gives one allocation of either kind back before device_close. NULL is fine. */
void device_release(struct device *device, void *memory);

/* How to allocate memory that other devices reach into; for the collectives to give. */
struct device_sharing {
    MUST_USE struct error *(*allocate)(void **out, size_t bytes);
    void (*release)(void *memory);
};
/* From now on device_allocate_shared uses it; `sharing` is static. */
void device_share_with(struct device *device, const struct device_sharing *sharing);
/* As device_allocate, for memory that ranks exchange. */
MUST_USE struct error *device_allocate_shared(struct device *device, void **out, size_t bytes,
                                              const char *purpose);

/* All that is handed out now. */
size_t device_allocated_bytes(const struct device *device);
/* Tells of each of those, the newest first. */
void device_each_allocation(const struct device *device,
                            void (*tell)(void *self, const char *purpose, size_t bytes),
                            void *self);

/* Host memory the device copies from and to quickly (pinned for a GPU); same life and rules. */
MUST_USE struct error *device_allocate_host(struct device *device, void **out, size_t bytes,
                                            const char *purpose);

/* Copies, in order with the kernels. The host side must stay untouched until the copy is known to
 * be done: by device_synchronize, or by an event recorded after it. */
void device_copy_in(struct device *device, void *to, const void *host, size_t bytes);
void device_copy_out(struct device *device, void *host, const void *from, size_t bytes);
void device_copy(struct device *device, void *to, const void *from, size_t bytes);
void device_zero(struct device *device, void *memory, size_t bytes);

/* Rows that lie one after the other on the host and `stride` bytes apart on the device; what stands
 * between them there is left as it is. */
struct device_rows {
    size_t count, bytes;    /* so many rows of so many bytes */
    size_t stride;          /* at least `bytes` */
};
/* As device_copy_in. */
void device_copy_rows_in(struct device *device, void *to, const void *host,
                         const struct device_rows *rows);
/* As device_copy_in, but on STREAM_UPLOAD; `host` from device_allocate_host. */
void device_upload(struct device *device, void *to, const void *host, size_t bytes);
/* Any thread, beside all others. Copies to host memory and returns when it is there. Not in order
 * with anything: what is read must be finished, and stay as it is meanwhile. */
MUST_USE struct error *device_fetch(struct device *device, void *host, const void *from,
                                    size_t bytes);
MUST_USE struct error *device_fetch_rows(struct device *device, void *host, const void *from,
                                         const struct device_rows *rows);

/*
 * ---- streams and events ----
 *
 * A device has queues that run beside each other, each in order; an event, recorded in one and
 * waited for in another, orders them. On the CPU all work is done when it is called.
 */
enum device_stream {
    STREAM_COMPUTE,          /* kernels, and copies that do not say otherwise */
    STREAM_UPLOAD,           /* what the next step needs from the host */
    STREAM_COMMUNICATION,    /* sums over ranks */
    DEVICE_STREAMS
};

/* Whether work goes on after its call has returned, so that the host should call ahead. */
bool device_runs_behind(const struct device *device);

struct device_event;
/* What an event is for: to order streams, or also to be asked by the host for its end and its
 * time. */
enum device_event_kind { EVENT_ORDER, EVENT_TIME };
MUST_USE struct error *device_event_create(struct device_event **out, struct device *device,
                                           enum device_event_kind kind);
/* NULL is fine. All events go before the device closes. */
void device_event_destroy(struct device_event *event);
/* Happens when all that was queued in the stream so far is done; an earlier recording is
 * forgotten. */
void device_event_record(struct device_event *event, enum device_stream stream);
/* What is queued in the stream from now on runs after the event; at once if it was never
 * recorded. */
void device_event_wait(struct device_event *event, enum device_stream stream);
/* Whether it has happened; true after a failure too, which is then latched. EVENT_TIME only. */
bool device_event_done(struct device_event *event);
/* Seconds between two that have happened. EVENT_TIME only. */
double device_event_seconds(const struct device_event *from, const struct device_event *to);

/*
 * ---- graphs: work that is queued once and run many times ----
 *
 * Between device_graph_begin and device_graph_end, what is queued in STREAM_COMPUTE, and in streams
 * ordered after it by events, is not run but becomes the graph; the other streams must be ordered
 * before STREAM_COMPUTE again at the end. Its pointers and sizes are fixed. Nothing may be
 * allocated, synchronized or asked in between; EVENT_TIME may be recorded, and happens anew with
 * every launch. Every kernel must have run once before, with the same shapes.
 */
struct device_graph;
/* Whether the device can; if not, the functions below must not be called. */
bool device_has_graphs(const struct device *device);
void device_graph_begin(struct device *device);
/* On failure, also one latched since the beginning, nothing was made and the device goes on. */
MUST_USE struct error *device_graph_end(struct device *device, struct device_graph **out);
/* Queued in STREAM_COMPUTE. */
void device_graph_launch(struct device_graph *graph);
void device_graph_destroy(struct device_graph *graph);    /* NULL is fine */

/* What the kernels of a back-end keep with their device (scratch memory, cached plans): one
 * pointer, released with `destroy` when the device closes. */
void device_attach(struct device *device, void *state, void (*destroy)(void *state));
void *device_attached(const struct device *device);

/* Keeps the first failure (takes `error`); later ones are dropped. */
void device_fail(struct device *device, struct error *error);
/* The latched failure, handed over, or NULL. */
MUST_USE struct error *device_check(struct device *device);
/* Waits until all that was queued is done; then as device_check. */
MUST_USE struct error *device_synchronize(struct device *device);

#endif
