/* gemm.h - the arithmetic of the simulated cuBLASLt: one product in fp32, with its epilogue. */
#ifndef SIMGPU_GEMM_H
#define SIMGPU_GEMM_H

#include <cublasLt.h>

#include <cstdint>

namespace simgpu {

struct gemm_matrix {
    void *data;
    cudaDataType_t type;
    int64_t rows, columns, ld;    /* column by column, ld elements from one to the next */
};

/* d (m, n) = epilogue(alpha * op(a) . op(b) + beta * c), all as cublasLtMatmul describes it. */
struct gemm {
    gemm_matrix a, b, c, d;
    bool transpose_a, transpose_b;
    float alpha, beta;
    bool tf32;              /* operands are rounded to TF32 first */
    int parts;              /* the sum over k in so many parts, which are then added */
    unsigned epilogue;      /* cublasLtEpilogue_t's bits */
    gemm_matrix bias;       /* (m, 1), in the type of d; of BGRADA the sums of op(a) over k, written */
    gemm_matrix aux;        /* (m, n), in the type of d: GELU's input */
};

size_t gemm_type_bytes(cudaDataType_t type);
void gemm_run(const gemm &product);
/* How many products with this epilogue have run; 0: without one. */
long gemm_runs(unsigned epilogue);

}    // namespace simgpu

#endif
