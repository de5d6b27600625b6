/* launch.h - queues a kernel on a stream of the simulated device. */
#ifndef SIMGPU_LAUNCH_H
#define SIMGPU_LAUNCH_H

#include "simgpu/block.h"

#include <cuda_runtime.h>

#include <cstring>
#include <tuple>
#include <type_traits>
#include <vector>

namespace simgpu {

/* A stream, and the line of the source that queues something on it. */
struct call_site {
    cudaStream_t stream;
    const char *file;
    int line;
    call_site(cudaStream_t s, const char *f = __builtin_FILE(), int l = __builtin_LINE())
        : stream(s), file(f), line(l)
    {
    }
};

/* The words of a kernel's arguments that are, or may be, pointers. */
struct pointer_argument {
    int number;    /* from 1, as the kernel counts */
    const void *address;
    bool certain;    /* its type is a pointer; else a word inside a struct */
};

template <typename T> void list_pointers(std::vector<pointer_argument> &list, int number,
                                         const T &value)
{
    if constexpr (std::is_pointer_v<T>) {
        list.push_back({number, (const void *)value, true});
    } else if constexpr (std::is_class_v<T>) {
#if __has_builtin(__builtin_clear_padding)    /* whose chance bytes may look like a pointer */
        std::remove_const_t<T> members = value;
        __builtin_clear_padding(&members);
        for (size_t at = 0; at + sizeof(void *) <= sizeof members; at += sizeof(void *)) {
            const void *word;
            memcpy(&word, reinterpret_cast<const char *>(&members) + at, sizeof word);
            list.push_back({number, word, false});
        }
#endif
    }
}

/* Checks the launch as the runtime would, and the pointers as it could not; queues it. */
cudaError_t queue_kernel(const call_site &site, launch launch, const void *kernel,
                         std::vector<pointer_argument> pointers);

/* Arguments are copied now; the kernel reads the copies when it runs. */
template <typename... Parameters, typename... Arguments>
cudaError_t launch_kernel(const call_site &site, dim3 grid, dim3 block, size_t shared_bytes,
                          void (*kernel)(Parameters...), Arguments... args)
{
    const std::tuple<Parameters...> values(static_cast<Parameters>(args)...);
    std::vector<pointer_argument> pointers;
    int number = 0;
    std::apply([&](const auto &...value) { (list_pointers(pointers, ++number, value), ...); },
               values);

    launch l;
    l.grid = grid;
    l.block = block;
    l.shared_bytes = shared_bytes;
    l.thread = [kernel, values] { std::apply(kernel, values); };
    return queue_kernel(site, std::move(l), reinterpret_cast<const void *>(kernel),
                        std::move(pointers));
}

}    // namespace simgpu

#endif
