/* device_events.c - events and graphs of devices of all kinds. */
#include "device/device.h"

#include "device/backend.h"

#include <stdlib.h>

struct device_event {
    struct device *device;
    void *self;                     /* the back-end's */
};

struct device_graph {
    struct device *device;
    void *self;
};

struct error *device_event_create(struct device_event **out, struct device *device,
                                  enum device_event_kind kind)
{
    struct device_event *event = calloc(1, sizeof *event);
    if (!event)
        return error_new(ERROR_MEMORY, "no memory for an event (%zu bytes)", sizeof *event);
    event->device = device;
    struct error *e = device_backend(device)->event_create(device, &event->self, kind);
    if (e) {
        free(event);
        return e;
    }
    *out = event;
    return NULL;
}

void device_event_destroy(struct device_event *event)
{
    if (!event)
        return;
    device_backend(event->device)->event_destroy(event->self);
    free(event);
}

void device_event_record(struct device_event *event, enum device_stream stream)
{
    device_backend(event->device)->event_record(event->device, event->self, stream);
}

void device_event_wait(struct device_event *event, enum device_stream stream)
{
    device_backend(event->device)->event_wait(event->device, event->self, stream);
}

bool device_event_done(struct device_event *event)
{
    return device_backend(event->device)->event_done(event->device, event->self);
}

double device_event_seconds(const struct device_event *from, const struct device_event *to)
{
    return device_backend(from->device)->event_seconds(from->self, to->self);
}

bool device_has_graphs(const struct device *device)
{
    return device_backend(device)->graph_begin != NULL;
}

void device_graph_begin(struct device *device)
{
    device_backend(device)->graph_begin(device);
}

struct error *device_graph_end(struct device *device, struct device_graph **out)
{
    struct device_graph *graph = calloc(1, sizeof *graph);
    void *self = NULL;
    struct error *end = device_backend(device)->graph_end(device, &self);    /* in any case */
    struct error *e = device_check(device);    /* what the graph could not be made for */
    if (e)
        error_destroy(end);
    else
        e = end;
    if (!e && !graph)
        e = error_new(ERROR_MEMORY, "no memory for a graph (%zu bytes)", sizeof *graph);
    if (e) {
        if (self)
            device_backend(device)->graph_destroy(self);
        free(graph);
        return e;
    }
    *graph = (struct device_graph){.device = device, .self = self};
    *out = graph;
    return NULL;
}

void device_graph_launch(struct device_graph *graph)
{
    device_backend(graph->device)->graph_launch(graph->device, graph->self);
}

void device_graph_destroy(struct device_graph *graph)
{
    if (!graph)
        return;
    device_backend(graph->device)->graph_destroy(graph->self);
    free(graph);
}
