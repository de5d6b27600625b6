/*
 * inline.h - functions that stand in a header once, for the host and for the kernels of a GPU.
 */
#ifndef GALLEY_BASE_INLINE_H
#define GALLEY_BASE_INLINE_H

/* Before the result type of such a function. */
#ifdef __CUDACC__
#define INLINE_EVERYWHERE static __host__ __device__ inline
#else
#define INLINE_EVERYWHERE static inline
#endif

#endif
