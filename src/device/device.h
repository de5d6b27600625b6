/*
 * device.h - where a rank computes: memory, copies, and the first failure.
 *
 * A device is one rank's processor: the CPU (all kernels run when called) or a CUDA GPU (kernels are
 * queued in order on the device's stream). Callers never ask which: they allocate before the first
 * step, call kernels (kernels/kernels.h), and wait with device_synchronize() where the host needs a
 * result.
 *
 * Kernels return nothing. The first failure is latched here with the kernel's name, and reported by
 * the next device_check() or device_synchronize(); what follows a failure computes nothing of use.
 *
 * Owner: the verb that opened it; used by one thread at a time. All calls are local to the rank.
 */
#ifndef GALLEY_DEVICE_DEVICE_H
#define GALLEY_DEVICE_DEVICE_H

#include "base/error.h"

#include <stddef.h>

struct device;

struct device_options {
    const char *kind;    /* "cpu"; "auto" takes the best there is */
    int threads;         /* compute threads of a CPU rank; 0: this rank's share of the node's cores */
    int local_rank;      /* this rank among the ranks of its node */
    int local_size;      /* ranks on this node */
};

MUST_USE struct error *device_open(struct device **out, const struct device_options *options);
/* Releases everything that was allocated on it. NULL is fine. */
void device_close(struct device *device);

/* "cpu" or "cuda": which kernel tables fit. */
const char *device_kind(const struct device *device);
/* For people: "cpu, 2 threads". Valid as long as the device. */
const char *device_description(const struct device *device);
int device_threads(const struct device *device);

/* Zeroed memory of the device, aligned to 64 bytes at least, touched already (no page faults later);
 * `purpose` is what the memory plan and an out-of-memory error call it. Lives until device_release
 * or device_close. */
MUST_USE struct error *device_allocate(struct device *device, void **out, size_t bytes,
                                       const char *purpose);
/* Gives one allocation of either kind back before device_close. NULL is fine. */
void device_release(struct device *device, void *memory);

/* All that is handed out now. */
size_t device_allocated_bytes(const struct device *device);

/* Host memory the device copies from and to quickly (pinned for a GPU); same life and rules. */
MUST_USE struct error *device_allocate_host(struct device *device, void **out, size_t bytes,
                                            const char *purpose);

/* Copies, in order with the kernels. The host side must stay untouched until device_synchronize. */
void device_copy_in(struct device *device, void *to, const void *host, size_t bytes);
void device_copy_out(struct device *device, void *host, const void *from, size_t bytes);
void device_copy(struct device *device, void *to, const void *from, size_t bytes);
void device_zero(struct device *device, void *memory, size_t bytes);

/* What the kernels of a back-end keep with their device (scratch memory, cached plans): one pointer,
 * released with `destroy` when the device closes. */
void device_attach(struct device *device, void *state, void (*destroy)(void *state));
void *device_attached(const struct device *device);

/* Keeps the first failure (takes `error`); later ones are dropped. */
void device_fail(struct device *device, struct error *error);
/* The latched failure, handed over, or NULL. */
MUST_USE struct error *device_check(struct device *device);
/* Waits until all that was queued is done; then as device_check. */
MUST_USE struct error *device_synchronize(struct device *device);

#endif
