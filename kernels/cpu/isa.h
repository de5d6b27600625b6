/* isa.h - which instruction sets this build has kernels for; isa_*.c tells, by processor family. */
#ifndef GALLEY_KERNELS_CPU_ISA_H
#define GALLEY_KERNELS_CPU_ISA_H

#include "kernels/cpu/cpu.h"

/* Best first, NULL at the end; the last one is supported everywhere. */
extern const struct simd_kernels *const simd_sets[];

#endif
