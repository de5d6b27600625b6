/*
 * gemm.cpp - matrix products in plain loops: operands are unpacked to fp32, columns of the result
 * are summed four at a time, and rounded once, behind the epilogue.
 */
#include "gemm.h"

#include "fault.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <vector>

namespace simgpu {

namespace {

enum { GELU = 32, RELU = 2, BIAS = 4, GELU_DERIVATIVE = 64, AUX = 128, BIAS_GRADIENT = 256,
    COLUMNS = 4 };

/* By the device's thread; tests read it when that is done. */
std::map<unsigned, std::atomic<long>> runs;

float load(const gemm_matrix &m, int64_t row, int64_t column)
{
    const int64_t at = row + column * m.ld;
    switch (m.type) {
    case CUDA_R_32F: return static_cast<const float *>(m.data)[at];
    case CUDA_R_16BF: return __bfloat162float(static_cast<const __nv_bfloat16 *>(m.data)[at]);
    default: return __half2float(static_cast<const __half *>(m.data)[at]);
    }
}

void store(const gemm_matrix &m, int64_t row, int64_t column, float value)
{
    const int64_t at = row + column * m.ld;
    switch (m.type) {
    case CUDA_R_32F: static_cast<float *>(m.data)[at] = value; break;
    case CUDA_R_16BF: static_cast<__nv_bfloat16 *>(m.data)[at] = __float2bfloat16(value); break;
    default: static_cast<__half *>(m.data)[at] = __float2half(value);
    }
}

/* To 10 bits behind the point, ties away from zero, as cvt.rna.tf32. */
float round_tf32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (std::isfinite(x))
        bits = (bits + 0x1000u) & ~0x1fffu;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* (rows, columns), row after row, of the matrix or its transpose. */
std::vector<float> unpack(const gemm_matrix &m, bool transposed, bool tf32)
{
    const int64_t rows = transposed ? m.columns : m.rows, columns = transposed ? m.rows : m.columns;
    std::vector<float> x((size_t)(rows * columns));
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            const float v = transposed ? load(m, c, r) : load(m, r, c);
            x[(size_t)(r * columns + c)] = tf32 ? round_tf32(v) : v;
        }
    return x;
}

/* sums (COLUMNS, m) += a (first..end of k, m) . b (COLUMNS, k), `a` row by row. */
void add_products(float *sums, const float *a, const float *b, int64_t m, int64_t k, int64_t first,
                  int64_t end)
{
    for (int64_t i = first; i < end; i++) {
        const float *const row = a + i * m;
        const float b0 = b[i], b1 = b[k + i], b2 = b[2 * k + i], b3 = b[3 * k + i];
        for (int64_t r = 0; r < m; r++) {
            sums[r] += row[r] * b0;
            sums[m + r] += row[r] * b1;
            sums[2 * m + r] += row[r] * b2;
            sums[3 * m + r] += row[r] * b3;
        }
    }
}

/* The tanh form, as cuBLASLt's. */
float gelu(float x)
{
    return 0.5f * x * (1.0f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}

float gelu_derivative(float x)
{
    const float t = tanhf(0.7978845608f * (x + 0.044715f * x * x * x));
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.7978845608f * (1.0f + 3.0f * 0.044715f * x * x);
}

float finish(const gemm &g, int64_t row, int64_t column, float sum)
{
    float v = g.alpha * sum;
    if (g.beta != 0)
        v += g.beta * load(g.c, row, column);
    if (g.epilogue & GELU_DERIVATIVE)
        return v * gelu_derivative(load(g.aux, row, column));
    if (g.epilogue & BIAS)
        v += load(g.bias, row, 0);
    if (g.epilogue & AUX)
        store(g.aux, row, column, v);
    if (g.epilogue & RELU)
        return std::max(v, 0.0f);
    return g.epilogue & GELU ? gelu(v) : v;
}

/* Each row of a, (k, m) row by row, in the parts that the product is summed in. */
void sum_operand(const gemm &g, const std::vector<float> &a, int64_t m, int64_t k)
{
    for (int64_t row = 0; row < m; row++) {
        float sum = 0;
        for (int p = 0; p < g.parts; p++) {
            float part = 0;
            for (int64_t i = k * p / g.parts; i < k * (p + 1) / g.parts; i++)
                part += a[(size_t)(i * m + row)];
            sum += part;
        }
        store(g.bias, row, 0, sum);
    }
}

}    // namespace

size_t gemm_type_bytes(cudaDataType_t type)
{
    if (type != CUDA_R_32F && type != CUDA_R_16BF && type != CUDA_R_16F)
        fault("a matrix of data type %d, which is not simulated", (int)type);
    return type == CUDA_R_32F ? 4 : 2;
}

void gemm_run(const gemm &g)
{
    const int64_t m = g.d.rows, n = g.d.columns, k = g.transpose_a ? g.a.rows : g.a.columns;
    const std::vector<float> a = unpack(g.a, !g.transpose_a, g.tf32);    /* (k, m) */
    std::vector<float> b = unpack(g.b, !g.transpose_b, g.tf32);          /* (n, k) */
    runs[g.epilogue]++;
    if (g.epilogue & BIAS_GRADIENT)
        sum_operand(g, g.tf32 ? unpack(g.a, !g.transpose_a, false) : a, m, k);
    b.resize((size_t)((n + COLUMNS - 1) / COLUMNS * COLUMNS * k));
    std::vector<float> sums((size_t)(COLUMNS * m)), part(sums.size());
    for (int64_t column = 0; column < n; column += COLUMNS) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (int p = 0; p < g.parts; p++) {
            std::fill(part.begin(), part.end(), 0.0f);
            add_products(part.data(), a.data(), b.data() + column * k, m, k, k * p / g.parts,
                         k * (p + 1) / g.parts);
            for (size_t i = 0; i < sums.size(); i++)
                sums[i] += part[i];
        }
        for (int64_t i = 0; i < COLUMNS && column + i < n; i++)
            for (int64_t row = 0; row < m; row++)
                store(g.d, row, column + i, finish(g, row, column + i,
                                                   sums[(size_t)(i * m + row)]));
    }
}

long gemm_runs(unsigned epilogue)
{
    return runs[epilogue];
}

}    // namespace simgpu
