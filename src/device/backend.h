/* backend.h - what a kind of device must be able to do; for src/device only. */
#ifndef GALLEY_DEVICE_BACKEND_H
#define GALLEY_DEVICE_BACKEND_H

#include "device/device.h"

struct backend {
    const char *kind;
    /* Whether "auto" should take it here; NULL: always. */
    bool (*available)(void);
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
    void (*upload)(struct device *device, void *to, const void *host, size_t bytes);
    MUST_USE struct error *(*fetch)(void *self, void *host, const void *from, size_t bytes);
    void (*copy_rows_in)(struct device *device, void *to, const void *host,
                         const struct device_rows *rows);
    MUST_USE struct error *(*fetch_rows)(void *self, void *host, const void *from,
                                         const struct device_rows *rows);
    MUST_USE struct error *(*synchronize)(void *self);

    bool runs_behind;
    bool memory_is_host;
    /* Events are the back-end's own; failures are latched in the device. */
    MUST_USE struct error *(*event_create)(struct device *device, void **out,
                                           enum device_event_kind kind);
    void (*event_destroy)(void *event);
    void (*event_record)(struct device *device, void *event, enum device_stream stream);
    void (*event_wait)(struct device *device, void *event, enum device_stream stream);
    bool (*event_done)(struct device *device, void *event);
    double (*event_seconds)(void *from, void *to);

    /* NULL where there are no graphs. */
    void (*graph_begin)(struct device *device);
    MUST_USE struct error *(*graph_end)(struct device *device, void **out);
    void (*graph_launch)(struct device *device, void *graph);
    void (*graph_destroy)(void *graph);
};

/* Of an open device: its back-end, and the back-end's state. */
const struct backend *device_backend(const struct device *device);
void *device_self(const struct device *device);

extern const struct backend backend_cpu;
extern const struct backend backend_cuda;
/* Those of this build, in order of preference; ends with NULL. */
extern const struct backend *const device_backends[];

#endif
