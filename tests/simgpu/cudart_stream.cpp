/* cudart_stream.cpp - the simulated CUDA runtime: streams, events, waiting. */
#include "cudart.h"

#include "device.h"
#include "stream.h"

#include <cuda_runtime_api.h>

using namespace simgpu;

namespace {

/* Begins a call that waits or asks; those may not be made during a capture. */
cudaError_t enter_waiting(const char *call, cudaStream_t stream, bool on_stream, task_ref *last)
{
    const cudaError_t status = enter(call);
    if (status != cudaSuccess)
        return status;
    const std::unique_lock<std::mutex> hold = stream_lock();
    if (on_stream)
        stream_check(stream, call);
    const cudaError_t forbidden = capture_forbids(stream);
    if (on_stream)
        *last = stream->last;
    return leave(forbidden);
}

cudaError_t enter_event(const char *call, cudaEvent_t event, task_ref *recorded)
{
    cudaError_t status = enter(call);
    if (status != cudaSuccess)
        return status;
    const std::unique_lock<std::mutex> hold = stream_lock();
    event_check(event, call);
    if (event->capture) {
        if (capture_is_live(event->capture))
            event->capture->broken = true;
        return leave(cudaErrorCapturedEvent);
    }
    *recorded = event_wait_is_ignored(event) ? nullptr : event->recorded;
    return leave(capture_forbids(nullptr));
}

cudaError_t answer(const task_ref &task)
{
    const cudaError_t failure = leave((cudaError_t)device_failure());
    if (failure != cudaSuccess)
        return failure;
    return device_query(task) ? cudaSuccess : cudaErrorNotReady;
}

}    // namespace

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int)
{
    const cudaError_t status = enter("cudaStreamCreate");
    if (status != cudaSuccess)
        return status;
    if (flags != cudaStreamNonBlocking)
        return leave(cudaErrorInvalidValue);
    const std::unique_lock<std::mutex> hold = stream_lock();
    *stream = stream_create();
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return enter(__func__);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    const cudaError_t status = enter(__func__);
    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(stream, __func__);
    if (stream->capture)
        return leave(cudaErrorStreamCaptureUnsupported);
    stream_destroy(stream);
    return status;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    task_ref last;
    const cudaError_t status = enter_waiting(__func__, stream, true, &last);
    if (status != cudaSuccess)
        return status;
    device_wait(last);
    return leave((cudaError_t)device_failure());
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    task_ref last;
    const cudaError_t status = enter_waiting(__func__, stream, true, &last);
    return status != cudaSuccess ? status : answer(last);
}

cudaError_t cudaDeviceSynchronize(void)
{
    const cudaError_t status = enter_waiting(__func__, nullptr, false, nullptr);
    if (status != cudaSuccess)
        return status;
    device_drain();
    return leave((cudaError_t)device_failure());
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(stream, __func__);
    event_check(event, __func__);
    return leave(stream_wait_event(stream, event));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    const cudaError_t status = enter("cudaEventCreate");
    if (status != cudaSuccess)
        return status;
    const std::unique_lock<std::mutex> hold = stream_lock();
    *event = event_create(!(flags & cudaEventDisableTiming));
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    const cudaError_t status = enter(__func__);
    const std::unique_lock<std::mutex> hold = stream_lock();
    event_check(event, __func__);
    event_destroy(event);
    return status;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(stream, __func__);
    event_check(event, __func__);
    return leave(stream_record(stream, event));
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(stream, __func__);
    event_check(event, __func__);
    return leave(flags & cudaEventRecordExternal ? stream_record_external(stream, event)
                                                 : stream_record(stream, event));
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    task_ref recorded;
    const cudaError_t status = enter_event(__func__, event, &recorded);
    return status != cudaSuccess ? status : answer(recorded);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    task_ref recorded;
    const cudaError_t status = enter_event(__func__, event, &recorded);
    if (status != cudaSuccess)
        return status;
    device_wait(recorded);
    return leave((cudaError_t)device_failure());
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    const std::unique_lock<std::mutex> hold = stream_lock();
    event_check(start, __func__);
    event_check(end, __func__);
    if (!start->timed || !end->timed || !start->recorded || !end->recorded)
        return leave(cudaErrorInvalidResourceHandle);
    if (!device_query(start->recorded) || !device_query(end->recorded))
        return leave(cudaErrorNotReady);
    *ms = (float)(device_done_at_ms(end->recorded) - device_done_at_ms(start->recorded));
    return cudaSuccess;
}

}    // extern "C"
