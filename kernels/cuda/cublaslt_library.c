/*
 * cublaslt_library.c - stands in for cuBLASLt at link time, and loads it when a GPU is used.
 *
 * The library has half a gigabyte: linked in the ordinary way it would be mapped by every start of
 * the program, and a machine without it could not start the program at all. So its functions are
 * defined here, each passing on to the loaded library's. What stands below is every function that
 * Galley calls.
 */
#include "kernels/cuda/cublaslt_library.h"

#include "device/shared_library.h"

#include <cublasLt.h>

/* F(result type, name, parameters, arguments) */
#define FUNCTIONS(F)                                                                               \
    F(cublasStatus_t, cublasLtCreate, (cublasLtHandle_t * handle), (handle))                       \
    F(cublasStatus_t, cublasLtDestroy, (cublasLtHandle_t handle), (handle))                        \
    F(const char *, cublasLtGetStatusString, (cublasStatus_t status), (status))                    \
    F(cublasStatus_t, cublasLtMatmulDescCreate,                                                    \
      (cublasLtMatmulDesc_t * operation, cublasComputeType_t compute, cudaDataType_t scale),       \
      (operation, compute, scale))                                                                 \
    F(cublasStatus_t, cublasLtMatmulDescDestroy, (cublasLtMatmulDesc_t operation), (operation))    \
    F(cublasStatus_t, cublasLtMatmulDescSetAttribute,                                              \
      (cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute,                   \
       const void *value, size_t bytes),                                                           \
      (operation, attribute, value, bytes))                                                        \
    F(cublasStatus_t, cublasLtMatrixLayoutCreate,                                                  \
      (cublasLtMatrixLayout_t * layout, cudaDataType type, uint64_t rows, uint64_t columns,        \
       int64_t ld),                                                                                \
      (layout, type, rows, columns, ld))                                                           \
    F(cublasStatus_t, cublasLtMatrixLayoutDestroy, (cublasLtMatrixLayout_t layout), (layout))      \
    F(cublasStatus_t, cublasLtMatmulPreferenceCreate, (cublasLtMatmulPreference_t * preference),   \
      (preference))                                                                                \
    F(cublasStatus_t, cublasLtMatmulPreferenceDestroy, (cublasLtMatmulPreference_t preference),    \
      (preference))                                                                                \
    F(cublasStatus_t, cublasLtMatmulPreferenceSetAttribute,                                        \
      (cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,      \
       const void *value, size_t bytes),                                                           \
      (preference, attribute, value, bytes))                                                       \
    F(cublasStatus_t, cublasLtMatmulAlgoGetHeuristic,                                              \
      (cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,          \
       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,               \
       cublasLtMatmulPreference_t preference, int wanted,                                          \
       cublasLtMatmulHeuristicResult_t results[], int *found),                                     \
      (handle, operation, a, b, c, d, preference, wanted, results, found))                         \
    F(cublasStatus_t, cublasLtMatmul,                                                              \
      (cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void *alpha, const void *A,  \
       cublasLtMatrixLayout_t a, const void *B, cublasLtMatrixLayout_t b, const void *beta,        \
       const void *C, cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t d,                 \
       const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t workspace_bytes,             \
       cudaStream_t stream),                                                                       \
      (handle, operation, alpha, A, a, B, b, beta, C, c, D, d, algorithm, workspace,               \
       workspace_bytes, stream))

/* Written once, by cublaslt_load, as the loader would write the program's own table. */
#define POINTER(result, name, parameters, arguments) result(*name) parameters;
static struct {
    FUNCTIONS(POINTER)
} library;

#define PASS_ON(result, name, parameters, arguments)                                               \
    result name parameters                                                                         \
    {                                                                                              \
        return library.name arguments;                                                             \
    }
FUNCTIONS(PASS_ON)

#define SYMBOL(result, name, parameters, arguments) {#name, &library.name},

struct error *cublaslt_load(void)
{
    static const struct shared_library_symbol symbols[] = {FUNCTIONS(SYMBOL){NULL, NULL}};
    return shared_library_load("libcublasLt.so." SHARED_LIBRARY_VERSION(CUBLAS_VER_MAJOR), symbols);
}
