/* cudart_memory.cpp - the simulated CUDA runtime: allocations, copies, fills. */
#include "cudart.h"

#include "device.h"
#include "fault.h"
#include "memory.h"
#include "stream.h"

#include <cuda_runtime_api.h>

#include <cstring>
#include <memory>

namespace simgpu {

namespace {

/* Ends the process where [at, at + bytes) is not wholly in memory of one of the kinds. */
void check_range(const char *call, const char *side, const void *at, size_t bytes, bool on_device)
{
    memory_kind expected = memory_kind::device;
    if (!on_device)
        expected = memory_kind_of(at) == memory_kind::pinned ? memory_kind::pinned : memory_kind::none;
    const std::string complaint = memory_complaint(at, bytes, expected);
    if (!complaint.empty())
        fault("%s of %zu bytes: its %s %s", call, bytes, side, complaint.c_str());
}

cudaError_t allocate(const char *call, memory_kind kind, void **memory, size_t bytes)
{
    cudaError_t status = enter(call);
    if (status == cudaSuccess) {
        const std::unique_lock<std::mutex> hold = stream_lock();
        status = capture_forbids(nullptr);
    }
    if (status != cudaSuccess)
        return leave(status);
    *memory = memory_allocate(kind, bytes);
    return leave(*memory || bytes == 0 ? cudaSuccess : cudaErrorMemoryAllocation);
}

/* Freeing waits for all work, as the real runtime does. */
cudaError_t release(const char *call, memory_kind kind, void *memory)
{
    cudaError_t status = enter(call);
    if (status == cudaSuccess) {
        const std::unique_lock<std::mutex> hold = stream_lock();
        status = capture_forbids(nullptr);
    }
    if (status != cudaSuccess || !memory)
        return leave(status);
    device_drain();
    if (!memory_free(kind, memory))
        fault("%s of %p, which is not the start of memory of this kind that is in use", call, memory);
    return leave((cudaError_t)device_failure());
}

}    // namespace

}    // namespace simgpu

using namespace simgpu;

extern "C" {

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    return allocate(__func__, memory_kind::device, memory, bytes);
}

cudaError_t cudaFree(void *memory)
{
    return release(__func__, memory_kind::device, memory);
}

cudaError_t cudaMallocHost(void **memory, size_t bytes)
{
    return allocate(__func__, memory_kind::pinned, memory, bytes);
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags)
{
    (void)flags;
    return allocate(__func__, memory_kind::pinned, memory, bytes);
}

cudaError_t cudaFreeHost(void *memory)
{
    return release(__func__, memory_kind::pinned, memory);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(stream, __func__);
    if (bytes == 0)
        return cudaSuccess;
    if (kind != cudaMemcpyHostToDevice && kind != cudaMemcpyDeviceToHost && kind != cudaMemcpyDeviceToDevice)
        return leave(cudaErrorInvalidValue);
    const bool to_device = kind != cudaMemcpyDeviceToHost, from_device = kind != cudaMemcpyHostToDevice;
    const auto check = [=] {
        check_range("cudaMemcpyAsync", "destination", to, bytes, to_device);
        check_range("cudaMemcpyAsync", "source", from, bytes, from_device);
    };
    check();

    /* From ordinary memory the runtime takes its copy before it returns; to it, it waits. */
    const bool ordinary = !stream->capture &&
                          memory_kind_of(from_device ? to : from) == memory_kind::none;
    std::shared_ptr<char[]> staged;
    if (ordinary && !from_device) {
        staged.reset(new char[bytes]);
        memcpy(staged.get(), from, bytes);
    }
    stream_queue(stream, {"cudaMemcpyAsync",
                          [=] {
                              check();
                              memmove(to, staged ? staged.get() : from, bytes);
                          },
                          {}, {}});
    if (ordinary && from_device) {
        const task_ref copied = stream->last;
        hold.unlock();
        device_wait(copied);
    }
    return leave((cudaError_t)device_failure());
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(stream, __func__);
    if (bytes == 0)
        return cudaSuccess;
    check_range("cudaMemsetAsync", "destination", memory, bytes, true);
    stream_queue(stream, {"cudaMemsetAsync",
                          [=] {
                              check_range("cudaMemsetAsync", "destination", memory, bytes, true);
                              memset(memory, value, bytes);
                          },
                          {}, {}});
    return cudaSuccess;
}

}    // extern "C"
