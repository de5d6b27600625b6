/* isa_other.c - one instruction set where the processor is not x86-64: the compiler's default. */
#include "kernels/cpu/isa.h"

extern const struct simd_kernels simd_kernels_baseline;

bool simd_supported_baseline(void);

bool simd_supported_baseline(void)
{
    return true;
}

const struct simd_kernels *const simd_sets[] = {&simd_kernels_baseline, NULL};
