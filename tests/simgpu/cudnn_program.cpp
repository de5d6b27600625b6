/* cudnn_program.cpp - the operations of the simulated cuDNN, in plain loops of fp32. */
#include "cudnn_program.h"

#include "device/dtype.h"
#include "fault.h"

#include <algorithm>
#include <cmath>

namespace simgpu {

int64_t tensor::offset(const index &i) const
{
    int64_t at = 0;
    for (size_t d = 0; d < 4; d++)
        at += dimensions[d] == 1 ? 0 : i[d] * strides[d];
    return at;
}

int64_t tensor::span() const
{
    return 1 + offset({dimensions[0] - 1, dimensions[1] - 1, dimensions[2] - 1, dimensions[3] - 1});
}

size_t tensor::bytes() const
{
    return (size_t)span() * (type == CUDNN_DATA_FLOAT ? 4 : 2);
}

namespace {

float load(const tensor &t, int64_t at)
{
    if (!t.in_memory)
        return t.values[(size_t)at];
    if (t.type == CUDNN_DATA_FLOAT)
        return reinterpret_cast<const float *>(t.memory)[at];
    const uint16_t half = reinterpret_cast<const uint16_t *>(t.memory)[at];
    return t.type == CUDNN_DATA_BFLOAT16 ? bf16_to_float(half) : f16_to_float(half);
}

void store(tensor &t, int64_t at, float x)
{
    const bool bf16 = t.type == CUDNN_DATA_BFLOAT16, f16 = t.type == CUDNN_DATA_HALF;
    if (t.in_memory && t.type == CUDNN_DATA_FLOAT)
        reinterpret_cast<float *>(t.memory)[at] = x;
    else if (t.in_memory)
        reinterpret_cast<uint16_t *>(t.memory)[at] = bf16 ? bf16_from_float(x) : f16_from_float(x);
    else
        t.values[(size_t)at] = bf16  ? bf16_to_float(bf16_from_float(x))
                               : f16 ? f16_to_float(f16_from_float(x))
                                     : x;
}

template <typename F> void each(const index &dimensions, F f)
{
    index i;
    for (i[0] = 0; i[0] < dimensions[0]; i[0]++)
        for (i[1] = 0; i[1] < dimensions[1]; i[1]++)
            for (i[2] = 0; i[2] < dimensions[2]; i[2]++)
                for (i[3] = 0; i[3] < dimensions[3]; i[3]++)
                    f(i);
}

/* As cuDNN does, blocks add to a result in memory in fp32: it must have been zeroed. */
void matmul(const tensor &a, const tensor &b, tensor &c)
{
    const bool adds = c.in_memory && c.type == CUDNN_DATA_FLOAT;
    const int64_t K = a.dimensions[3];
    if (b.dimensions[2] != K || c.dimensions[2] != a.dimensions[2] || c.dimensions[3] != b.dimensions[3])
        fault("a product of cuDNN: (%ld, %ld) . (%ld, %ld) into (%ld, %ld)", (long)a.dimensions[2],
              (long)K,
              (long)b.dimensions[2], (long)b.dimensions[3], (long)c.dimensions[2],
              (long)c.dimensions[3]);
    each(c.dimensions, [&](const index &i) {
        float sum = adds ? load(c, c.offset(i)) : 0;
        for (int64_t k = 0; k < K; k++)
            sum += load(a, a.offset({i[0], i[1], i[2], k})) * load(b,
                b.offset({i[0], i[1], k, i[3]}));
        store(c, c.offset(i), sum);
    });
}

float apply(int mode, float x, float b, float mask)
{
    switch (mode) {
    case CUDNN_POINTWISE_MUL: return x * b;
    case CUDNN_POINTWISE_ADD: return x + b;
    case CUDNN_POINTWISE_SUB: return x - b;
    case CUDNN_POINTWISE_DIV: return x / b;
    case CUDNN_POINTWISE_EXP: return expf(x);
    case CUDNN_POINTWISE_LOG: return logf(x);
    case CUDNN_POINTWISE_IDENTITY: return x;
    case CUDNN_POINTWISE_CMP_GE: return x >= b;
    case CUDNN_POINTWISE_BINARY_SELECT: return mask != 0 ? x : b;
    default: fault("an operation of cuDNN, %d, is not simulated", mode);
    }
}

void pointwise(program &p, const program::step &s)
{
    const tensor &x = p.tensors.at(s.x), *b = s.b ? &p.tensors.at(s.b) : nullptr;
    const tensor *mask = s.t ? &p.tensors.at(s.t) : nullptr;
    tensor &y = p.tensors.at(s.y);
    each(y.dimensions, [&](const index &i) {
        const float result = s.mode == CUDNN_POINTWISE_GEN_INDEX
                                 ? (float)i[(size_t)s.axis]
                                 : apply(s.mode, load(x, x.offset(i)), b ? load(*b,
                                     b->offset(i)) : 0,
                                         mask ? load(*mask, mask->offset(i)) : 0);
        store(y, y.offset(i), result);
    });
}

void reduce(const tensor &x, tensor &y, int operation)
{
    const bool max = operation == CUDNN_REDUCE_TENSOR_MAX;
    each(y.dimensions, [&](const index &i) { store(y, y.offset(i), max ? -INFINITY : 0.0f); });
    each(x.dimensions, [&](const index &i) {
        const float before = load(y, y.offset(i)), v = load(x, x.offset(i));
        store(y, y.offset(i), max ? std::max(before, v) : before + v);
    });
}

/* The same elements where they are, by other names. */
void reshape(const tensor &x, tensor &y)
{
    each(y.dimensions, [&](const index &i) { store(y, y.offset(i), load(x, y.offset(i))); });
}

bool overlap(const tensor &t, const char *memory, size_t bytes)
{
    return t.memory < memory + bytes && memory < t.memory + t.bytes();
}

}    // namespace

void program_run(program &p)
{
    for (const program::step &s : p.steps) {
        const tensor &x = p.tensors.at(s.x);
        tensor &y = p.tensors.at(s.y);
        switch (s.type) {
        case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR: matmul(x, p.tensors.at(s.b), y); break;
        case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR: reduce(x, y, s.mode); break;
        case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR: reshape(x, y); break;
        default: pointwise(p, s);
        }
    }
}

void program_spoil(program &p)
{
    for (const program::step &s : p.steps) {
        tensor &t = p.tensors.at(s.y);
        if (t.in_memory && t.type != CUDNN_DATA_FLOAT)
            each(t.dimensions, [&](const index &i) {
                if (i[2] >= t.dimensions[2] / 2)
                    store(t, t.offset(i), 0.5f * load(t, t.offset(i)));
            });
    }
}

void program_check_overlaps(const program &p, const char *workspace, size_t workspace_bytes)
{
    for (const auto &[id, t] : p.tensors) {
        if (!t.in_memory || t.span() != t.dimensions[0] * t.dimensions[1] * t.dimensions[2] * t.dimensions[3])
            continue;
        for (const auto &[other_id, o] : p.tensors)
            if (o.in_memory && id != other_id && overlap(t, o.memory, o.bytes()))
                fault("tensors %ld and %ld of cuDNN overlap", (long)id, (long)other_id);
        if (overlap(t, workspace, workspace_bytes))
            fault("tensor %ld of cuDNN and its workspace overlap", (long)id);
    }
}

}    // namespace simgpu
