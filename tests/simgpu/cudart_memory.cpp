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

bool kind_is_known(enum cudaMemcpyKind kind)
{
    return kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToHost ||
           kind == cudaMemcpyDeviceToDevice;
}

/* One side of a copy of rows that begin `pitch` bytes apart. */
struct side {
    const char *at;
    size_t pitch;
    bool on_device;
};

struct rows {
    size_t bytes, count;

    size_t span(const side &s) const
    {
        return (count - 1) * s.pitch + bytes;
    }
};

/* The copy of both kinds of calls: a plain one is of one row. */
cudaError_t copy(const char *call, const side &to, const side &from, const rows &r,
                 cudaStream_t stream)
{
    std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(stream, call);
    if (r.bytes == 0 || r.count == 0)
        return cudaSuccess;
    const auto check = [=] {
        check_range(call, "destination", to.at, r.span(to), to.on_device);
        check_range(call, "source", from.at, r.span(from), from.on_device);
    };
    check();

    /* From ordinary memory the runtime takes its copy before it returns; to it, it waits. */
    const bool ordinary = !stream->capture &&
                          memory_kind_of(from.on_device ? to.at : from.at) == memory_kind::none;
    std::shared_ptr<char[]> staged;
    if (ordinary && !from.on_device) {
        staged.reset(new char[r.span(from)]);
        memcpy(staged.get(), from.at, r.span(from));
    }
    stream_queue(stream, {call,
                          [=] {
                              check();
                              const char *const source = staged ? staged.get() : from.at;
                              for (size_t i = 0; i < r.count; i++)
                                  memmove(const_cast<char *>(to.at) + i * to.pitch,
                                          source + i * from.pitch, r.bytes);
                          },
                          {}, {}});
    if (ordinary && from.on_device) {
        const task_ref copied = stream->last;
        hold.unlock();
        device_wait(copied);
    }
    return leave((cudaError_t)device_failure());
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
        fault("%s of %p, which is not the start of memory of this kind that is in use", call,
              memory);
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
    if (!kind_is_known(kind))
        return leave(cudaErrorInvalidValue);
    return copy(__func__, {static_cast<const char *>(to), 0, kind != cudaMemcpyDeviceToHost},
                {static_cast<const char *>(from), 0, kind != cudaMemcpyHostToDevice}, {bytes, 1},
                stream);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t bytes,
                              size_t count, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    if (!kind_is_known(kind))
        return leave(cudaErrorInvalidValue);
    if (bytes > to_pitch || bytes > from_pitch)
        return leave(cudaErrorInvalidPitchValue);
    return copy(__func__, {static_cast<const char *>(to), to_pitch, kind != cudaMemcpyDeviceToHost},
                {static_cast<const char *>(from), from_pitch, kind != cudaMemcpyHostToDevice},
                {bytes, count}, stream);
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
