/* cudart_launch.cpp - the simulated CUDA runtime: launching kernels. */
#include "simgpu/launch.h"

#include "calls.h"
#include "cudart.h"
#include "fault.h"
#include "memory.h"
#include "settings.h"
#include "stream.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

namespace simgpu {

namespace {

constexpr size_t UNASKED_SHARED_BYTES = 48 * 1024;

/* How much dynamic shared memory kernels may have that asked for more than all may. */
std::map<const void *, size_t> &shared_limits = *new std::map<const void *, size_t>;

bool can_launch(const launch &l, const void *kernel)
{
    const auto asked = shared_limits.find(kernel);
    const size_t limit = asked == shared_limits.end() ? UNASKED_SHARED_BYTES : asked->second;
    const uint64_t threads = (uint64_t)l.block.x * l.block.y * l.block.z;
    return l.shared_bytes <= limit && threads >= 1 && threads <= BLOCK_MAX_THREADS && l.block.z <= 64 &&
           l.grid.x >= 1 && l.grid.x <= 0x7fffffff && l.grid.y >= 1 && l.grid.y <= 65535 &&
           l.grid.z >= 1 && l.grid.z <= 65535;
}

/* Pointers must point into device or pinned memory; a word of a struct may be anything else than an
 * address that was freed. */
void check_pointers(const std::string &kernel, const std::vector<pointer_argument> &pointers)
{
    for (const pointer_argument &p : pointers) {
        if (!p.address)
            continue;
        const memory_kind kind = memory_kind_of(p.address);
        if (kind == memory_kind::freed || (p.certain && kind == memory_kind::none))
            fault("kernel %s: argument %d %s", kernel.c_str(), p.number,
                  memory_complaint(p.address, 0, memory_kind::device).c_str());
    }
}

double told_ms(const std::string &kernel)
{
    const std::string &slow = settings().slow_kernels;
    return !slow.empty() && kernel.compare(0, slow.size(), slow) == 0 ? 1000 : 0;
}

void run(const launch &l, const std::vector<pointer_argument> &pointers)
{
    const int failure = injected_failure("kernel");
    if (failure) {
        device_fail(failure);
        return;
    }
    check_pointers(l.name, pointers);
    run_grid(l);
    memory_check_edges("kernel " + l.name);
}

}    // namespace

cudaError_t queue_kernel(const call_site &site, launch launch, const void *kernel,
                         std::vector<pointer_argument> pointers)
{
    const cudaError_t status = enter("cudaLaunchKernelExC");
    if (status != cudaSuccess)
        return status;
    const char *const slash = strrchr(site.file, '/');
    launch.name = std::string(slash ? slash + 1 : site.file) + ":" + std::to_string(site.line);

    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(site.stream, launch.name.c_str());
    if (!can_launch(launch, kernel))
        return leave(cudaErrorInvalidConfiguration);
    check_pointers(launch.name, pointers);
    const auto shared = std::make_shared<const simgpu::launch>(std::move(launch));
    stream_queue(site.stream, {shared->name, [shared, pointers] { run(*shared, pointers); }, {},
        {}, {}, told_ms(shared->name)});
    return cudaSuccess;
}

}    // namespace simgpu

using namespace simgpu;

extern "C" cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attribute,
                                            int value)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        (size_t)value > settings().shared_bytes)
        return leave(cudaErrorInvalidValue);
    const std::unique_lock<std::mutex> hold = stream_lock();
    size_t &limit = shared_limits[kernel];
    limit = std::max(limit, (size_t)value);
    return cudaSuccess;
}
