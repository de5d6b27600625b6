/* events_cuda.c - a GPU's events and graphs. */
#include "device/events_cuda.h"

#include "device/device_cuda.h"

#include <stdlib.h>

/* ---- events ---- */

struct cuda_event {
    cudaEvent_t event;
    enum device_event_kind kind;
};

struct error *cuda_event_create(struct device *device, void **out, enum device_event_kind kind)
{
    struct cuda_event *event = calloc(1, sizeof *event);
    if (!event)
        return error_new(ERROR_MEMORY, "no memory for an event (%zu bytes)", sizeof *event);
    event->kind = kind;
    const unsigned flags = kind == EVENT_TIME ? cudaEventDefault : cudaEventDisableTiming;
    struct error *e = device_cuda_check(device, cudaEventCreateWithFlags(&event->event, flags),
                                        "cudaEventCreateWithFlags");
    if (e) {
        free(event);
        return e;
    }
    *out = event;
    return NULL;
}

void cuda_event_destroy(void *self)
{
    struct cuda_event *event = self;
    cudaEventDestroy(event->event);
    free(event);
}

/* While a graph is made, an event that the host asks for must become a part of it. */
void cuda_event_record(struct device *device, void *self, enum device_stream stream)
{
    const struct cuda_event *event = self;
    cudaStream_t on = device_cuda_stream_of(device, stream);
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    if (event->kind == EVENT_TIME)
        device_cuda_latch(device, cudaStreamIsCapturing(on, &status), "cudaStreamIsCapturing");
    if (status == cudaStreamCaptureStatusActive)
        device_cuda_latch(device,
                          cudaEventRecordWithFlags(event->event, on, cudaEventRecordExternal),
                          "cudaEventRecordWithFlags");
    else
        device_cuda_latch(device, cudaEventRecord(event->event, on), "cudaEventRecord");
}

void cuda_event_wait(struct device *device, void *self, enum device_stream stream)
{
    const struct cuda_event *event = self;
    cudaStream_t on = device_cuda_stream_of(device, stream);
    device_cuda_latch(device, cudaStreamWaitEvent(on, event->event, 0), "cudaStreamWaitEvent");
}

bool cuda_event_done(struct device *device, void *self)
{
    const struct cuda_event *event = self;
    const cudaError_t status = cudaEventQuery(event->event);
    if (status == cudaErrorNotReady)
        return false;
    device_cuda_latch(device, status, "cudaEventQuery");
    return true;
}

double cuda_event_seconds(void *from, void *to)
{
    float ms = 0;
    (void)cudaEventElapsedTime(&ms, ((struct cuda_event *)from)->event,
                               ((struct cuda_event *)to)->event);
    return 1e-3 * (double)ms;
}

/* ---- graphs ---- */

/* Thread-local: other threads may go on fetching meanwhile. */
void cuda_graph_begin(struct device *device)
{
    device_cuda_latch(device, cudaStreamBeginCapture(device_cuda_stream(device),
                                                     cudaStreamCaptureModeThreadLocal),
                      "cudaStreamBeginCapture");
}

struct error *cuda_graph_end(struct device *device, void **out)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t executable = NULL;
    TRY(device_cuda_check(device, cudaStreamEndCapture(device_cuda_stream(device), &graph),
                          "cudaStreamEndCapture"));
    /* As they were queued, sums go before computation, not with the stream that launches it all. */
    struct error *e = device_cuda_check(
        device, cudaGraphInstantiate(&executable, graph, cudaGraphInstantiateFlagUseNodePriority),
        "cudaGraphInstantiate");
    cudaGraphDestroy(graph);
    if (!e)
        *out = executable;
    return e;
}

void cuda_graph_launch(struct device *device, void *graph)
{
    device_cuda_latch(device, cudaGraphLaunch(graph, device_cuda_stream(device)),
                      "cudaGraphLaunch");
}

void cuda_graph_destroy(void *graph)
{
    cudaGraphExecDestroy(graph);
}
