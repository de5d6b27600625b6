/* events_cuda.h - the part of a GPU's back-end (backend.h) that is events and graphs; for
 * device_cuda.c only. */
#ifndef GALLEY_DEVICE_EVENTS_CUDA_H
#define GALLEY_DEVICE_EVENTS_CUDA_H

#include "device/device.h"

MUST_USE struct error *cuda_event_create(struct device *device, void **out,
                                         enum device_event_kind kind);
void cuda_event_destroy(void *self);
void cuda_event_record(struct device *device, void *self, enum device_stream stream);
void cuda_event_wait(struct device *device, void *self, enum device_stream stream);
bool cuda_event_done(struct device *device, void *self);
double cuda_event_seconds(void *from, void *to);
void cuda_graph_begin(struct device *device);
MUST_USE struct error *cuda_graph_end(struct device *device, void **out);
void cuda_graph_launch(struct device *device, void *graph);
void cuda_graph_destroy(void *graph);

#endif
