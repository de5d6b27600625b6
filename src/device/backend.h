/* backend.h - what a kind of device must be able to do; for src/device only. */
#ifndef GALLEY_DEVICE_BACKEND_H
#define GALLEY_DEVICE_BACKEND_H

#include "device/device.h"

struct backend {
    const char *kind;
    /* Chooses threads or GPU; writes the description (at most `bytes`) and, to *self, its state. */
    MUST_USE struct error *(*open)(void **self, int *threads, char *description, size_t bytes,
                                   const struct device_options *options);
    void (*close)(void *self);
    MUST_USE struct error *(*allocate)(void *self, void **out, size_t bytes, const char *purpose);
    void (*release)(void *self, void *memory, size_t bytes);
    MUST_USE struct error *(*allocate_host)(void *self, void **out, size_t bytes,
                                            const char *purpose);
    void (*release_host)(void *self, void *memory, size_t bytes);
    void (*copy_in)(struct device *device, void *to, const void *host, size_t bytes);
    void (*copy_out)(struct device *device, void *host, const void *from, size_t bytes);
    void (*copy)(struct device *device, void *to, const void *from, size_t bytes);
    void (*zero)(struct device *device, void *memory, size_t bytes);
    MUST_USE struct error *(*synchronize)(void *self);
};

extern const struct backend backend_cpu;

#endif
