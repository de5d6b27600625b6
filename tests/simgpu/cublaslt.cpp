/*
 * cublaslt.cpp - the simulated cuBLASLt: descriptors, proposals of algorithms, products.
 *
 * Only what Galley uses: column-major layouts, host scalars, the epilogues BIAS, RELU, GELU (with
 * its input kept or read back) and BGRADA. An algorithm carries what it was proposed for, and a
 * product it does not fit ends the process; so does an operand that does not lie in device memory.
 */
#include "calls.h"
#include "device.h"
#include "fault.h"
#include "gemm.h"
#include "memory.h"
#include "settings.h"
#include "stream.h"

#include <cublasLt.h>

#include <algorithm>
#include <cstring>
#include <string>

struct cublasLtContext {
    int unused;
};

using namespace simgpu;

namespace {

enum { PROPOSALS = 3, AUX_ALIGNMENT = 16, AUX_LD_MULTIPLE = 8, WIDEST_ACCESS = 16 };
constexpr uint64_t PARTIAL_BYTES = 1 << 20;    /* of workspace for each part of a split sum */
constexpr unsigned BIAS = CUBLASLT_EPILOGUE_BIAS, AUX = 128,
    BIAS_GRADIENT = CUBLASLT_EPILOGUE_BGRADA;

/* What stands behind the library's opaque types. */
struct operation {
    bool tf32;
    uint32_t transposes[2];    /* cublasOperation_t of a and b */
    uint32_t epilogue;
    void *bias, *aux;
    int64_t aux_ld;
};

struct layout {
    cudaDataType_t type;
    int64_t rows, columns, ld;
};

struct preference {
    uint64_t workspace_bytes;
    uint32_t alignment;    /* of all operands */
};

struct algorithm {
    uint64_t problem;      /* a hash of what it was proposed for */
    uint64_t workspace_bytes;
    uint32_t alignment, parts;
    uint32_t bias_alignment;    /* what the bias's address had when it was proposed */
};
static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t), "fits the opaque type");

template <typename To, typename From> To *behind(From *opaque)
{
    return reinterpret_cast<To *>(opaque);
}

cublasStatus_t enter(const char *call)
{
    return (cublasStatus_t)enter_call(call);
}

template <typename T> void set(T *field, const char *call, const void *value, size_t bytes)
{
    if (bytes != sizeof *field)
        fault("%s: a value of %zu bytes for an attribute of %zu", call, bytes, sizeof *field);
    memcpy(field, value, bytes);
}

/* FNV-1a over the numbers that make two products the same to an algorithm. */
uint64_t hash_problem(const operation &o, const layout &a, const layout &b, const layout &c,
                      const layout &d)
{
    uint64_t h = 0xcbf29ce484222325u;
    const auto add = [&](uint64_t x) { h = (h ^ x) * 0x100000001b3u; };
    for (const uint64_t x : {(uint64_t)o.tf32, (uint64_t)o.transposes[0], (uint64_t)o.transposes[1],
                             (uint64_t)o.epilogue, (uint64_t)o.aux_ld})
        add(x);
    for (const layout *l : {&a, &b, &c, &d})
        for (const int64_t x : {(int64_t)l->type, l->rows, l->columns, l->ld})
            add((uint64_t)x);
    return h;
}

/* "" or why the sizes do not make a product. */
std::string size_complaint(const operation &o, const layout &a, const layout &b, const layout &c,
                           const layout &d)
{
    const bool ta = o.transposes[0] != CUBLAS_OP_N, tb = o.transposes[1] != CUBLAS_OP_N;
    const int64_t m = ta ? a.columns : a.rows, k = ta ? a.rows : a.columns;
    const int64_t n = tb ? b.rows : b.columns, bk = tb ? b.columns : b.rows;
    if (k != bk || d.rows != m || d.columns != n || c.rows != m || c.columns != n)
        return "op(A) (" + std::to_string(m) + ", " + std::to_string(k) + ") . op(B) (" +
               std::to_string(bk) + ", " + std::to_string(n) + ") into D (" + std::to_string(d.rows) +
               ", " + std::to_string(d.columns) + ")";
    for (const layout *l : {&a, &b, &c, &d})
        if (l->ld < l->rows)
            return "a leading dimension of " + std::to_string(l->ld) + " for " + std::to_string(l->rows) +
                   " rows";
    return "";
}

/* The combinations of types that the library has in fp32 arithmetic. */
bool types_are_supported(const layout &a, const layout &b, const layout &c, const layout &d)
{
    return a.type == b.type && c.type == d.type && (d.type == a.type || d.type == CUDA_R_32F);
}

/* A bias gradient is summed over columns of A as they lie, and over more than one: so cuBLASLt before 12.3.4. */
bool epilogue_is_supported(const operation &o, const layout &a, const layout &d)
{
    switch (o.epilogue) {
    case CUBLASLT_EPILOGUE_BGRADA: return o.bias && o.transposes[0] == CUBLAS_OP_N && a.columns > 1;
    case CUBLASLT_EPILOGUE_DEFAULT:
    case CUBLASLT_EPILOGUE_RELU:
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_RELU_BIAS:
    case CUBLASLT_EPILOGUE_GELU:
    case CUBLASLT_EPILOGUE_GELU_BIAS: return true;
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DGELU:
        return o.aux_ld >= d.rows && o.aux_ld % AUX_LD_MULTIPLE == 0 && (uintptr_t)o.aux % AUX_ALIGNMENT == 0;
    default: return false;
    }
}

void check_matrix(const char *name, const gemm_matrix &m)
{
    if (m.rows == 0 || m.columns == 0)
        return;
    const size_t bytes = (size_t)((m.columns - 1) * m.ld + m.rows) * gemm_type_bytes(m.type);
    const std::string complaint = memory_complaint(m.data, bytes, memory_kind::device);
    if (!complaint.empty())
        fault("cublasLtMatmul: %s (%ld, %ld), leading dimension %ld, %s", name, (long)m.rows,
              (long)m.columns, (long)m.ld, complaint.c_str());
}

void check_operands(const gemm &g)
{
    check_matrix("A", g.a);
    check_matrix("B", g.b);
    check_matrix("D", g.d);
    if (g.beta != 0)
        check_matrix("C", g.c);
    if (g.epilogue & (BIAS | BIAS_GRADIENT))
        check_matrix(g.epilogue & BIAS ? "the bias" : "the bias gradient", g.bias);
    if (g.epilogue & AUX)
        check_matrix("the epilogue's aux", g.aux);
}

void check_algorithm(const algorithm &chosen, uint64_t problem, const gemm &g,
                     const void *workspace, size_t workspace_bytes)
{
    if (chosen.problem != problem)
        fault("cublasLtMatmul with an algorithm that was proposed for another product");
    for (const gemm_matrix *m : {&g.a, &g.b, &g.d})
        if ((uintptr_t)m->data % chosen.alignment)
            fault("cublasLtMatmul: an operand at %p with an algorithm that wants "
                  "alignment to %u bytes",
                  m->data, chosen.alignment);
    if (g.epilogue & (BIAS | BIAS_GRADIENT) && (uintptr_t)g.bias.data % chosen.bias_alignment)
        fault("cublasLtMatmul: a bias at %p with an algorithm that was proposed for one "
              "aligned to %u bytes",
              g.bias.data, chosen.bias_alignment);
    if (workspace_bytes < chosen.workspace_bytes)
        fault("cublasLtMatmul: %zu bytes of workspace for an algorithm that needs %zu",
              workspace_bytes, (size_t)chosen.workspace_bytes);
    const std::string complaint =
        chosen.workspace_bytes ? memory_complaint(workspace, workspace_bytes,
                                                  memory_kind::device) : "";
    if (!complaint.empty())
        fault("cublasLtMatmul: its workspace %s", complaint.c_str());
}

uint32_t alignment_of(const void *pointer)
{
    const uintptr_t bits = (uintptr_t)pointer | WIDEST_ACCESS;
    return (uint32_t)(bits & -bits);
}

/* What the environment has the clock tell of a product, in milliseconds beside the time it takes. */
double told_ms(unsigned epilogue)
{
    const std::string &speed = settings().epilogues;
    return speed == (epilogue ? "slow" : "fast") ? 1000 : 0;
}

gemm_matrix matrix(const void *data, const layout &l)
{
    return {const_cast<void *>(data), l.type, l.rows, l.columns, l.ld};
}

}    // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    const cublasStatus_t status = enter(__func__);
    if (status == CUBLAS_STATUS_SUCCESS)
        *handle = new cublasLtContext;
    return status;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    delete handle;
    return enter(__func__);
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "CUBLAS_STATUS of another number";
    }
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    const cublasStatus_t status = enter(__func__);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    const bool tf32 = compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    if ((compute != CUBLAS_COMPUTE_32F && !tf32) || scale != CUDA_R_32F)
        fault("%s: compute type %d with scale type %d is not simulated", __func__, (int)compute,
              (int)scale);
    *desc = behind<cublasLtMatmulDescOpaque_t>(
        new operation{tf32, {CUBLAS_OP_N, CUBLAS_OP_N}, CUBLASLT_EPILOGUE_DEFAULT, nullptr,
            nullptr, 0});
    return status;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    delete behind<operation>(desc);
    return enter(__func__);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    const cublasStatus_t status = enter(__func__);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    operation *const o = behind<operation>(desc);
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: set(&o->transposes[0], __func__, value, bytes); break;
    case CUBLASLT_MATMUL_DESC_TRANSB: set(&o->transposes[1], __func__, value, bytes); break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE: set(&o->epilogue, __func__, value, bytes); break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: set(&o->bias, __func__, value, bytes); break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER: set(&o->aux, __func__, value, bytes); break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD: set(&o->aux_ld, __func__, value, bytes); break;
    default: fault("%s: attribute %d is not simulated", __func__, (int)attribute);
    }
    return status;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t ld)
{
    const cublasStatus_t status = enter(__func__);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    gemm_type_bytes(type);
    *out = behind<cublasLtMatrixLayoutOpaque_t>(new layout{type, (int64_t)rows, (int64_t)columns,
        ld});
    return status;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    delete behind<layout>(l);
    return enter(__func__);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    const cublasStatus_t status = enter(__func__);
    if (status == CUBLAS_STATUS_SUCCESS)
        *out = behind<cublasLtMatmulPreferenceOpaque_t>(new preference{0, 256});
    return status;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    delete behind<preference>(p);
    return enter(__func__);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    const cublasStatus_t status = enter(__func__);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    preference *const p = behind<preference>(pref);
    uint32_t number;
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: set(&p->workspace_bytes, __func__, value,
                                                       bytes); break;
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: set(&number, __func__, value, bytes); break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        set(&number, __func__, value, bytes);
        p->alignment = std::min(p->alignment, number);
        break;
    default: fault("%s: attribute %d is not simulated", __func__, (int)attribute);
    }
    return status;
}

/* Proposes sums in one part and, with the workspace for it, in two and three: so a caller that
 * takes another proposal in another run is seen to round differently. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t la, cublasLtMatrixLayout_t lb,
                                              cublasLtMatrixLayout_t lc, cublasLtMatrixLayout_t ld,
                                              cublasLtMatmulPreference_t pref, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int *found)
{
    const cublasStatus_t status = enter(__func__);
    *found = 0;
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    const operation &o = *behind<operation>(desc);
    const layout &a = *behind<layout>(la), &b = *behind<layout>(lb), &c = *behind<layout>(lc),
                 &d = *behind<layout>(ld);
    if (!size_complaint(o, a, b, c, d).empty())
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!types_are_supported(a, b, c, d) || !epilogue_is_supported(o, a, d))
        return CUBLAS_STATUS_NOT_SUPPORTED;

    const preference &p = *behind<preference>(pref);
    for (uint32_t parts = 1; parts <= PROPOSALS && *found < wanted; parts++) {
        const uint64_t workspace_bytes = (parts - 1) * PARTIAL_BYTES;
        if (workspace_bytes > p.workspace_bytes)
            break;
        cublasLtMatmulHeuristicResult_t &r = results[(*found)++];
        r = {};
        *behind<algorithm>(&r.algo) = {hash_problem(o, a, b, c, d), workspace_bytes, p.alignment,
                                         parts, alignment_of(o.bias)};
        r.workspaceSize = workspace_bytes;
        r.state = CUBLAS_STATUS_SUCCESS;
        r.wavesCount = 1;
    }
    return *found > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *A,
                              cublasLtMatrixLayout_t la, const void *B, cublasLtMatrixLayout_t lb,
                              const void *beta, const void *C, cublasLtMatrixLayout_t lc, void *D,
                              cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t *algo,
                              void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    const cublasStatus_t status = enter(__func__);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (device_failure())
        return CUBLAS_STATUS_EXECUTION_FAILED;
    const operation &o = *behind<operation>(desc);
    const layout &a = *behind<layout>(la), &b = *behind<layout>(lb), &c = *behind<layout>(lc),
                 &d = *behind<layout>(ld);
    const std::string complaint = size_complaint(o, a, b, c, d);
    if (!complaint.empty())
        fault("%s: %s", __func__, complaint.c_str());
    if (!types_are_supported(a, b, c, d) || !epilogue_is_supported(o, a, d))
        return CUBLAS_STATUS_NOT_SUPPORTED;

    const algorithm &chosen = *behind<const algorithm>(algo);
    gemm g = {matrix(A, a), matrix(B, b), matrix(C, c), matrix(D, d),
              o.transposes[0] != CUBLAS_OP_N,
              o.transposes[1] != CUBLAS_OP_N, *static_cast<const float *>(alpha),
              *static_cast<const float *>(beta), o.tf32, (int)chosen.parts,
              o.epilogue == CUBLASLT_EPILOGUE_DEFAULT ? 0 : o.epilogue, {}, {}};
    g.bias = {o.bias, d.type, d.rows, 1, d.rows};
    g.aux = {o.aux, d.type, d.rows, d.columns, o.aux_ld};
    check_operands(g);
    check_algorithm(chosen, hash_problem(o, a, b, c, d), g, workspace, workspace_bytes);

    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(stream, __func__);
    stream_queue(stream, {"cublasLtMatmul",
                          [g] {
                              check_operands(g);
                              gemm_run(g);
                          },
                          {}, {}, {}, told_ms(g.epilogue)});
    return status;
}

}    // extern "C"
