/*
 * onednn.h - the part of oneDNN whose C interface changed between version 2 (Debian 12) and version
 * 3 (Debian 13): how memory is described and a product prepared. onednn_v2.c or onednn_v3.c fills
 * it.
 */
#ifndef GALLEY_KERNELS_CPU_ONEDNN_H
#define GALLEY_KERNELS_CPU_ONEDNN_H

#include "kernels/cpu/matmul.h"

#include <dnnl.h>

/* A prepared product with the memory objects that are pointed at its operands before each run. */
struct onednn_product {
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, c, bias;    /* bias is NULL where there is none */
    dnnl_memory_t scratch;
    size_t scratch_bytes;
};

/* Prepares a product of these sizes; pointers in `shape` are not read except for being NULL or
 * not. */
dnnl_status_t onednn_prepare(struct onednn_product *out, dnnl_engine_t engine,
                             const struct matmul *shape);
/* Releases what was prepared, also half-prepared. */
void onednn_release(struct onednn_product *product);

#endif
