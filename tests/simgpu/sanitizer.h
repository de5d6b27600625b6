/* sanitizer.h - what AddressSanitizer must be told: switches of stacks, memory nobody may touch. */
#ifndef SIMGPU_SANITIZER_H
#define SIMGPU_SANITIZER_H

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIMGPU_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SIMGPU_ADDRESS_SANITIZER
#endif

#ifdef SIMGPU_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace simgpu {

struct stack_bounds {
    const void *bottom = nullptr;
    size_t bytes = 0;
};

#ifdef SIMGPU_ADDRESS_SANITIZER

constexpr bool sanitized = true;

inline void start_switch(void **fake_stack, stack_bounds to)
{
    __sanitizer_start_switch_fiber(fake_stack, to.bottom, to.bytes);
}

/* Returns the stack that was left. */
inline stack_bounds finish_switch(void *fake_stack)
{
    stack_bounds left;
    __sanitizer_finish_switch_fiber(fake_stack, &left.bottom, &left.bytes);
    return left;
}

inline void forbid(const void *memory, size_t bytes)
{
    __asan_poison_memory_region(memory, bytes);
}

inline void allow(const void *memory, size_t bytes)
{
    __asan_unpoison_memory_region(memory, bytes);
}

#else

constexpr bool sanitized = false;
inline void start_switch(void **, stack_bounds) {}
inline stack_bounds finish_switch(void *) { return {}; }
inline void forbid(const void *, size_t) {}
inline void allow(const void *, size_t) {}

#endif

}    // namespace simgpu

#endif
