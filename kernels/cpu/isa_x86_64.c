/* isa_x86_64.c - the instruction sets kernels are compiled for on x86-64, best first. */
#include "kernels/cpu/isa.h"

extern const struct simd_kernels simd_kernels_avx512, simd_kernels_avx2, simd_kernels_baseline;

bool simd_supported_avx512(void);
bool simd_supported_avx2(void);
bool simd_supported_baseline(void);

bool simd_supported_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && simd_supported_avx2();
}

bool simd_supported_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}

bool simd_supported_baseline(void)
{
    return true;
}

const struct simd_kernels *const simd_sets[] = {
    &simd_kernels_avx512, &simd_kernels_avx2, &simd_kernels_baseline, NULL,
};
