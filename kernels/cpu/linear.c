/* linear.c - linear layers: matrix products with what goes before and after them. */
#include "kernels/cpu/cpu.h"

void cpu_linear_forward(struct device *device, enum dtype act, const struct linear_forward *a)
{
    const bool gelu = a->activation == ACTIVATION_GELU;
    /* Where GELU's input need not be kept, its result replaces it. */
    void *product = gelu && a->pre ? a->pre : a->y;
    cpu_matmul(device, "linear_forward", &(struct matmul){
        .c = product, .a = a->x, .b = a->weight, .bias = a->bias,
        .M = a->N, .N = a->M, .K = a->K,
        .relu = a->activation == ACTIVATION_RELU,
        .operands = act, .result = act,
    });
    if (gelu)
        cpu_state(device)->simd->gelu(act, a->y, product, a->N * a->M);
}

void cpu_linear_backward(struct device *device, enum dtype act, const struct linear_backward *a)
{
    const struct simd_kernels *simd = cpu_state(device)->simd;
    if (a->dx) {
        cpu_matmul(device, "linear_backward dx", &(struct matmul){
            .c = a->dx, .a = a->dy, .b = a->weight, .transpose_b = true,
            .M = a->N, .N = a->K, .K = a->M,
            .operands = act, .result = act,
        });
        const void *saved = a->x_activation == ACTIVATION_GELU ? a->x_pre : a->x;
        simd->activation_backward(act, a->x_activation, a->dx, saved, a->N * a->K);
    }
    cpu_matmul(device, "linear_backward dweight", &(struct matmul){
        .c = a->dweight, .a = a->x, .transpose_a = true, .b = a->dy,
        .M = a->K, .N = a->M, .K = a->N,
        .accumulate = true, .operands = act, .result = DTYPE_F32,
    });
    if (a->dbias)
        simd->column_sums(act, a->dbias, a->dy, a->N, a->M);
}
