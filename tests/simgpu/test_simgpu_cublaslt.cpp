/*
 * test_simgpu_cublaslt.cpp - products of the simulated cuBLASLt against plain double sums, for both
 * operations, padded columns, every type and epilogue; and that its misuse ends the process.
 */
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "child.h"

using simgpu::assert_dies;
using simgpu::assert_good;

namespace {

enum { M = 24, N = 17, K = 30, PADDING = 8, PARTS = 3 };
constexpr size_t WORKSPACE_BYTES = 4 << 20;

/* A product, in host memory as doubles; what the library gets is rounded to the types. */
struct product {
    bool ta, tb;
    cudaDataType_t operands, result;
    unsigned epilogue;
    float alpha, beta;
    int algorithm;
};

double value(int i, int salt)
{
    return ((i * 7919 + salt * 104729) % 201 - 100) / 64.0;
}

double rounded(cudaDataType_t type, double x)
{
    return type == CUDA_R_32F ? (float)x : type == CUDA_R_16BF ? (double)__bfloat162float(__double2bfloat16(x))
                                                             : (double)__half2float(__double2half(x));
}

size_t type_bytes(cudaDataType_t type)
{
    return type == CUDA_R_32F ? 4 : 2;
}

void put(void *at, cudaDataType_t type, size_t i, double x)
{
    const float f = (float)x;
    const __nv_bfloat16 b = __double2bfloat16(x);
    const __half h = __double2half(x);
    const void *const from = type == CUDA_R_32F ? (const void *)&f : type == CUDA_R_16BF ? (const void *)&b : &h;
    memcpy(static_cast<char *>(at) + i * type_bytes(type), from, type_bytes(type));
}

double get(const void *at, cudaDataType_t type, size_t i)
{
    return type == CUDA_R_32F    ? (double)static_cast<const float *>(at)[i]
           : type == CUDA_R_16BF ? (double)__bfloat162float(static_cast<const __nv_bfloat16 *>(at)[i])
                                 : (double)__half2float(static_cast<const __half *>(at)[i]);
}

/* A column-major matrix with padded columns, on both sides. */
struct matrix {
    cudaDataType_t type;
    int rows, columns, ld;
    std::vector<double> x;
    std::vector<char> bytes;
    void *device;
    cublasLtMatrixLayout_t layout;

    matrix(cudaDataType_t t, int r, int c, int salt)
        : type(t), rows(r), columns(c), ld(r + PADDING), x((size_t)(ld * c)), bytes(x.size() * type_bytes(t))
    {
        for (size_t i = 0; i < x.size(); i++)
            put(bytes.data(), t, i, x[i] = rounded(t, value((int)i, salt)));
        cudaMalloc(&device, bytes.size());
        cublasLtMatrixLayoutCreate(&layout, t, (uint64_t)r, (uint64_t)c, ld);
    }
    double &at(int r, int c)
    {
        return x[(size_t)(r + c * ld)];
    }
};

double gelu(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

/* The operands of a product and the library's objects for it. */
struct scene {
    product p;
    matrix a, b, d, bias, aux;
    cudaStream_t stream;
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t desc;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found[PARTS];
    int n_found;
    void *workspace;

    explicit scene(const product &q)
        : p(q), a(q.operands, q.ta ? K : M, q.ta ? M : K, 1), b(q.operands, q.tb ? N : K,
            q.tb ? K : N, 2),
          d(q.result, M, N, 3), bias(q.result, M, 1, 4), aux(q.result, M, N, 5)
    {
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
        cudaMalloc(&workspace, WORKSPACE_BYTES);
        for (matrix *m : {&a, &b, &d, &bias, &aux})
            cudaMemcpyAsync(m->device, m->bytes.data(), m->bytes.size(), cudaMemcpyHostToDevice,
                            stream);
        cublasLtCreate(&handle);
        cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
        const cublasOperation_t operations[] = {CUBLAS_OP_N, CUBLAS_OP_T};
        const cublasLtEpilogue_t epilogue = (cublasLtEpilogue_t)p.epilogue;
        const int64_t aux_ld = aux.ld;
        set(CUBLASLT_MATMUL_DESC_TRANSA, operations[p.ta]);
        set(CUBLASLT_MATMUL_DESC_TRANSB, operations[p.tb]);
        set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
        set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.device);
        set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux.device);
        set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, aux_ld);
        const uint64_t workspace_bytes = WORKSPACE_BYTES;
        cublasLtMatmulPreferenceCreate(&preference);
        cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                             &workspace_bytes, sizeof workspace_bytes);
        propose();
    }

    template <typename T> void set(cublasLtMatmulDescAttributes_t attribute, const T &x)
    {
        cublasLtMatmulDescSetAttribute(desc, attribute, &x, sizeof x);
    }

    cublasStatus_t propose()
    {
        return cublasLtMatmulAlgoGetHeuristic(handle, desc, a.layout, b.layout, d.layout, d.layout,
                                              preference, PARTS, found, &n_found);
    }

    cublasStatus_t run(size_t workspace_bytes = WORKSPACE_BYTES)
    {
        return cublasLtMatmul(handle, desc, &p.alpha, a.device, a.layout, b.device, b.layout,
                              &p.beta, d.device,
                              d.layout, d.device, d.layout, &found[p.algorithm].algo, workspace,
                              workspace_bytes, stream);
    }

    /* Compares d, and aux where the epilogue writes it. */
    bool is_right()
    {
        std::vector<char> got(d.bytes.size()), got_aux(aux.bytes.size());
        if (cudaMemcpyAsync(got.data(), d.device, got.size(), cudaMemcpyDeviceToHost, stream) ||
            cudaMemcpyAsync(got_aux.data(), aux.device, got_aux.size(), cudaMemcpyDeviceToHost,
                            stream))
            return false;
        const double bound = p.result == CUDA_R_32F ? 1e-5 : p.result == CUDA_R_16F ? 1e-3 : 8e-3;
        for (int c = 0; c < N; c++)
            for (int r = 0; r < d.ld; r++) {
                const size_t i = (size_t)(r + c * d.ld);
                double expected = d.x[i], expected_aux = aux.x[i];    /* padding stays */
                if (r < M)
                    compute(r, c, &expected, &expected_aux);
                if (!(fabs(get(got.data(), p.result, i) - expected) <= bound * (1 + fabs(expected))) ||
                    !(fabs(get(got_aux.data(), p.result, i) - expected_aux) <= bound * (1 + fabs(expected_aux))))
                    return false;
            }
        return bias_is_right(bound);
    }

    /* Written with what BGRADA sums, and nothing added; else as it was. */
    bool bias_is_right(double bound)
    {
        std::vector<char> got(bias.bytes.size());
        if (cudaMemcpyAsync(got.data(), bias.device, got.size(), cudaMemcpyDeviceToHost, stream))
            return false;
        for (int r = 0; r < bias.ld; r++) {
            double expected = bias.x[(size_t)r];
            if (p.epilogue == CUBLASLT_EPILOGUE_BGRADA && r < M) {
                expected = 0;
                for (int k = 0; k < K; k++)
                    expected += a.at(r, k);
            }
            if (!(fabs(get(got.data(), p.result, (size_t)r) - expected) <= bound * (1 + fabs(expected))))
                return false;
        }
        return true;
    }

    void compute(int r, int c, double *expected, double *expected_aux)
    {
        double sum = 0;
        for (int k = 0; k < K; k++)
            sum += (p.ta ? a.at(k, r) : a.at(r, k)) * (p.tb ? b.at(c, k) : b.at(k, c));
        double y = (double)p.alpha * sum + (p.beta != 0 ? (double)p.beta * d.at(r, c) : 0);
        if (p.epilogue == CUBLASLT_EPILOGUE_DGELU) {
            const double h = 1e-5, x = aux.at(r, c);
            *expected = y * (gelu(x + h) - gelu(x - h)) / (2 * h);
            return;
        }
        if (p.epilogue & CUBLASLT_EPILOGUE_BIAS)
            y += bias.at(r, 0);
        if (p.epilogue & 128)
            *expected_aux = y;
        *expected = p.epilogue & CUBLASLT_EPILOGUE_GELU ? gelu(y) : p.epilogue & CUBLASLT_EPILOGUE_RELU ? fmax(y, 0) : y;
    }
};

void check(const product &p)
{
    assert_good(1, [&] {
        scene s(p);
        return s.n_found == PARTS && s.run() == CUBLAS_STATUS_SUCCESS && s.is_right();
    });
}

const product plain = {false, false, CUDA_R_32F, CUDA_R_32F, CUBLASLT_EPILOGUE_DEFAULT, 1, 0, 0};

void test_products(void **)
{
    const cudaDataType_t types[] = {CUDA_R_32F, CUDA_R_16BF, CUDA_R_16F};
    for (int i = 0; i < 12; i++) {
        product p = plain;
        p.ta = i & 1;
        p.tb = i & 2;
        p.operands = types[i / 4];
        p.result = i % 3 ? CUDA_R_32F : p.operands;
        p.algorithm = i % PARTS;
        p.alpha = i % 2 ? 1 : 0.5f;
        p.beta = i % 4 ? 0 : 1;
        check(p);
    }
}

void test_epilogues(void **)
{
    for (const cublasLtEpilogue_t epilogue :
         {CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_RELU_BIAS,
          CUBLASLT_EPILOGUE_GELU,
          CUBLASLT_EPILOGUE_GELU_BIAS, CUBLASLT_EPILOGUE_GELU_AUX, CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
          CUBLASLT_EPILOGUE_DGELU})
        for (const cudaDataType_t type : {CUDA_R_32F, CUDA_R_16BF}) {
            product p = plain;
            p.epilogue = epilogue;
            p.operands = p.result = type;
            check(p);
        }
}

void test_bias_gradients(void **)
{
    for (const cudaDataType_t type : {CUDA_R_32F, CUDA_R_16BF, CUDA_R_16F})
        for (int algorithm = 0; algorithm < PARTS; algorithm++) {
            product p = plain;
            p.epilogue = CUBLASLT_EPILOGUE_BGRADA;
            p.tb = true;
            p.operands = type;
            p.algorithm = algorithm;
            p.beta = (float)(algorithm % 2);
            check(p);
        }
}

void test_what_the_library_has_not_is_refused(void **)
{
    assert_good(1, [] {
        product p = plain;
        p.epilogue = CUBLASLT_EPILOGUE_BGRADA;
        p.ta = true;
        scene s(p);
        const void *const none = nullptr;
        if (s.propose() != CUBLAS_STATUS_NOT_SUPPORTED)
            return false;
        p.ta = false;
        scene without(p);
        without.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, none);
        return without.propose() == CUBLAS_STATUS_NOT_SUPPORTED;
    });
    assert_good(1, [] {
        product p = plain;
        p.epilogue = CUBLASLT_EPILOGUE_GELU_AUX;
        scene s(p);
        const int64_t odd_ld = M + 3;    /* it must be a multiple of 8 */
        s.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, odd_ld);
        if (s.propose() != CUBLAS_STATUS_NOT_SUPPORTED || s.n_found != 0)
            return false;
        s.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BGRADB);
        return s.propose() == CUBLAS_STATUS_NOT_SUPPORTED;
    });
}

void test_misuse_is_told(void **)
{
    assert_dies("proposed for another product", [] {
        scene s(plain);
        s.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
        return !s.run();
    });
    assert_dies("0 bytes of workspace for an algorithm that needs 2097152", [] {
        product p = plain;
        p.algorithm = 2;
        scene s(p);
        return !s.run(0);
    });
    assert_dies("A (24, 30), leading dimension 32, points into", [] {
        scene s(plain);
        return !cudaFree(s.a.device) && !s.run();
    });
    assert_dies("D (24, 17), leading dimension 32, takes bytes 256 to 2400 of 2176", [] {
        scene s(plain);
        s.d.device = static_cast<char *>(s.d.device) + 256;
        return !s.run();
    });
    assert_dies("with an algorithm that was proposed for one aligned to 16 bytes", [] {
        product p = plain;
        p.epilogue = CUBLASLT_EPILOGUE_BGRADA;
        scene s(p);
        s.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<char *>(s.bias.device) + 4);
        return !s.run();
    });
    assert_dies("op(A) (24, 30) . op(B) (17, 30)", [] {
        scene s(plain);
        s.set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_T);
        return !s.run();
    });
}

}    // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_epilogues),
        cmocka_unit_test(test_bias_gradients),
        cmocka_unit_test(test_what_the_library_has_not_is_refused),
        cmocka_unit_test(test_misuse_is_told),
    };
    return cmocka_run_group_tests_name("simulated cuBLASLt", tests, nullptr, nullptr);
}
