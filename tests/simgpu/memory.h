/*
 * memory.h - device memory and pinned host memory, and what may be done with an address.
 *
 * Every allocation has pages of its own, ends within 256 bytes of a forbidden page, and is never
 * given out again: so a kernel that reads or writes past it, or after it was freed, ends the
 * process with one message. The few bytes around an allocation hold a pattern that is checked after
 * every kernel. Fresh memory holds NaN bytes. Device memory is accessible only while the device
 * works, so host code that touches it dies as it would with a GPU.
 *
 * Safe from any thread.
 */
#ifndef SIMGPU_MEMORY_H
#define SIMGPU_MEMORY_H

#include <cstddef>
#include <string>

namespace simgpu {

enum class memory_kind { none, device, pinned, freed };

/* NULL: the device's memory does not suffice, or `bytes` is 0. */
void *memory_allocate(memory_kind kind, size_t bytes);
/* False: `start` is not the start of a live allocation of this kind. */
bool memory_free(memory_kind kind, void *start);

/* Of the allocation that holds the address; none for foreign memory. */
memory_kind memory_kind_of(const void *address);
/* Where the address lies in its allocation, for comparing ranks; false for foreign memory. */
bool memory_offset(const void *address, size_t *offset, size_t *allocation_bytes);

/* "" where the whole range lies in one live allocation of this kind, or, for `none`, in no
 * allocation of the device's; else what is wrong, as the end of a sentence: "points to ...". */
std::string memory_complaint(const void *start, size_t bytes, memory_kind expected);

size_t memory_used();

/* Opens or closes device memory to this process. */
void memory_open();
void memory_close();

/* Ends the process where the bytes around an allocation were written to. */
void memory_check_edges(const std::string &who);

}    // namespace simgpu

#endif
