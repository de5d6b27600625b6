/* device.c - what devices of all kinds have in common: their allocations and the latched
 * failure. */
#include "device/device.h"

#include "device/backend.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct allocation {
    struct allocation *next;
    void *memory;
    size_t bytes;
    const char *purpose;
    enum place { ON_DEVICE, SHARED, ON_HOST } place;
};

struct device {
    const struct backend *backend;
    void *self;
    int threads;
    char description[128];
    struct allocation *allocations;
    size_t allocated_bytes;
    bool plan_only;
    const struct device_sharing *sharing;    /* NULL: shared memory is like any other */
    void *attached;
    void (*destroy_attached)(void *);
    struct error *failure;
};

static struct error *choose_backend(const struct backend **out, const char *kind)
{
    const bool any = !strcmp(kind, "auto");
    char known[64] = "auto";
    for (int i = 0; device_backends[i]; i++) {
        const struct backend *b = device_backends[i];
        if (any ? !b->available || b->available() : !strcmp(kind, b->kind)) {
            *out = b;
            return NULL;
        }
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, ", %s", b->kind);
    }
    return error_new(ERROR_USAGE, "there is no device \"%s\" in this build; it knows: %s", kind,
                     known);
}

struct error *device_open(struct device **out, const struct device_options *options)
{
    const struct backend *backend = NULL;
    TRY(choose_backend(&backend, options->kind));

    struct device *d = calloc(1, sizeof *d);
    if (!d)
        return error_new(ERROR_MEMORY, "no memory for the device (%zu bytes)", sizeof *d);
    d->backend = backend;
    d->plan_only = options->plan_only;

    struct error *e =
        backend->open(&d->self, &d->threads, d->description, sizeof d->description, options);
    if (e) {
        free(d);
        return e;
    }
    *out = d;
    return NULL;
}

/* Addresses without memory: what touches them ends the program. */
static struct error *reserve_addresses(void **out, size_t bytes)
{
    void *memory = mmap(NULL, bytes > 0 ? bytes : 1, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return error_errno(ERROR_MEMORY, "cannot plan %zu bytes", bytes);
    *out = memory;
    return NULL;
}

static void release(struct device *device, struct allocation *a)
{
    if (device->plan_only)
        munmap(a->memory, a->bytes > 0 ? a->bytes : 1);
    else if (a->place == ON_HOST)
        device->backend->release_host(device->self, a->memory, a->bytes);
    else if (a->place == SHARED)
        device->sharing->release(a->memory);
    else
        device->backend->release(device->self, a->memory, a->bytes);
    device->allocated_bytes -= a->bytes;
    free(a);
}

void device_close(struct device *device)
{
    if (!device)
        return;
    if (device->destroy_attached)
        device->destroy_attached(device->attached);
    while (device->allocations) {
        struct allocation *a = device->allocations;
        device->allocations = a->next;
        release(device, a);
    }
    device->backend->close(device->self);
    error_destroy(device->failure);
    free(device);
}

const char *device_kind(const struct device *device)
{
    return device->backend->kind;
}

const char *device_description(const struct device *device)
{
    return device->description;
}

int device_threads(const struct device *device)
{
    return device->threads;
}

static struct error *allocate_shared(struct device *device, void **out, size_t bytes)
{
    TRY(device->sharing->allocate(out, bytes));
    device_zero(device, *out, bytes);
    struct error *e = device_synchronize(device);
    if (e)
        device->sharing->release(*out);
    return e;
}

static struct error *allocate(struct device *device, void **out, size_t bytes, const char *purpose,
                              enum place place)
{
    struct error *e;
    struct allocation *a = calloc(1, sizeof *a);
    if (!a)
        return error_new(ERROR_MEMORY, "no memory for %s (%zu bytes)", purpose, bytes);
    a->bytes = bytes;
    a->purpose = purpose;
    a->place = place;

    if (device->plan_only)
        e = reserve_addresses(&a->memory, bytes);
    else if (place == ON_HOST)
        e = device->backend->allocate_host(device->self, &a->memory, bytes, purpose);
    else if (place == SHARED)
        e = allocate_shared(device, &a->memory, bytes);
    else
        e = device->backend->allocate(device->self, &a->memory, bytes, purpose);
    if (e) {
        free(a);
        return place == SHARED ? error_context(e, "allocating %s", purpose) : e;
    }
    a->next = device->allocations;
    device->allocations = a;
    device->allocated_bytes += bytes;
    *out = a->memory;
    return NULL;
}

struct error *device_allocate(struct device *device, void **out, size_t bytes, const char *purpose)
{
    return allocate(device, out, bytes, purpose, ON_DEVICE);
}

struct error *device_allocate_host(struct device *device, void **out, size_t bytes,
                                   const char *purpose)
{
    return allocate(device, out, bytes, purpose, ON_HOST);
}

void device_share_with(struct device *device, const struct device_sharing *sharing)
{
    device->sharing = sharing;
}

struct error *device_allocate_shared(struct device *device, void **out, size_t bytes,
                                     const char *purpose)
{
    return allocate(device, out, bytes, purpose, device->sharing ? SHARED : ON_DEVICE);
}

void device_release(struct device *device, void *memory)
{
    for (struct allocation **at = &device->allocations; memory && *at; at = &(*at)->next) {
        struct allocation *a = *at;
        if (a->memory == memory) {
            *at = a->next;
            release(device, a);
            return;
        }
    }
    if (memory)
        BUG("memory is released that the device did not allocate");
}

size_t device_allocated_bytes(const struct device *device)
{
    return device->allocated_bytes;
}

void device_each_allocation(const struct device *device,
                            void (*tell)(void *self, const char *purpose, size_t bytes), void *self)
{
    for (const struct allocation *a = device->allocations; a; a = a->next)
        tell(self, a->purpose, a->bytes);
}

void device_copy_in(struct device *device, void *to, const void *host, size_t bytes)
{
    if (!device->plan_only)
        device->backend->copy_in(device, to, host, bytes);
}

void device_copy_out(struct device *device, void *host, const void *from, size_t bytes)
{
    if (!device->plan_only)
        device->backend->copy_out(device, host, from, bytes);
}

void device_copy(struct device *device, void *to, const void *from, size_t bytes)
{
    if (!device->plan_only)
        device->backend->copy(device, to, from, bytes);
}

void device_zero(struct device *device, void *memory, size_t bytes)
{
    if (!device->plan_only)
        device->backend->zero(device, memory, bytes);
}

void device_upload(struct device *device, void *to, const void *host, size_t bytes)
{
    if (!device->plan_only)
        device->backend->upload(device, to, host, bytes);
}

struct error *device_fetch(struct device *device, void *host, const void *from, size_t bytes)
{
    return device->backend->fetch(device->self, host, from, bytes);
}

void device_copy_rows_in(struct device *device, void *to, const void *host,
                         const struct device_rows *rows)
{
    if (!device->plan_only)
        device->backend->copy_rows_in(device, to, host, rows);
}

struct error *device_fetch_rows(struct device *device, void *host, const void *from,
                                const struct device_rows *rows)
{
    return device->backend->fetch_rows(device->self, host, from, rows);
}

const struct backend *device_backend(const struct device *device)
{
    return device->backend;
}

void *device_self(const struct device *device)
{
    return device->self;
}

bool device_memory_is_host(const struct device *device)
{
    return device->backend->memory_is_host;
}

bool device_runs_behind(const struct device *device)
{
    return device->backend->runs_behind;
}

void device_attach(struct device *device, void *state, void (*destroy)(void *state))
{
    if (device->attached)
        BUG("two back-ends attach to one device");
    device->attached = state;
    device->destroy_attached = destroy;
}

void *device_attached(const struct device *device)
{
    return device->attached;
}

void device_fail(struct device *device, struct error *error)
{
    if (device->failure)
        error_destroy(error);
    else
        device->failure = error;
}

struct error *device_check(struct device *device)
{
    struct error *e = device->failure;
    device->failure = NULL;
    return e;
}

struct error *device_synchronize(struct device *device)
{
    struct error *e = device->backend->synchronize(device->self);
    if (e)
        device_fail(device, e);
    return device_check(device);
}
