/*
 * cudnn.cpp - the simulated cuDNN: it computes a graph operation by operation, as it is described.
 *
 * A library of its own, so that only a test that asks for it has it. It knows no patterns, so it
 * says what a graph means, not whether the real library has an engine for it. SIMGPU_CUDNN lets it
 * be "old", have "none" of the engines, "fail" when a plan runs, be "wrong" or "slow"; it is read
 * anew by each call.
 */
#include "calls.h"
#include "device/dtype.h"
#include "fault.h"
#include "memory.h"
#include "stream.h"

#include <cudnn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

using namespace simgpu;

struct cudnnContext {
    cudaStream_t stream;
};

namespace {

enum { VERSION = 91900, OLD_VERSION = 91500, ENGINES = 2, WORKSPACE_BYTES = 1000 };

std::atomic<int64_t> runs;

bool is(const char *mood)
{
    const char *now = getenv("SIMGPU_CUDNN");
    return now && !strcmp(now, mood);
}

/* ---- descriptors ---- */

struct attribute {
    int64_t count;
    std::vector<char> bytes;
};

struct descriptor {
    cudnnBackendDescriptorType_t type;
    bool finalized;
    std::map<int, attribute> attributes;
};

const descriptor &behind(const void *opaque)
{
    return *static_cast<const descriptor *>(opaque);
}

size_t bytes_of(cudnnBackendAttributeType_t type)
{
    switch (type) {
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_INT64: return 8;
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR: return 1;
    default: return 4;    /* enumerations */
    }
}

bool has(const descriptor &d, int name)
{
    return d.attributes.count(name) > 0;
}

template <typename T> T get(const descriptor &d, int name, int64_t i = 0)
{
    const auto found = d.attributes.find(name);
    if (found == d.attributes.end() || (size_t)(i + 1) * sizeof(T) > found->second.bytes.size())
        fault("a cuDNN descriptor of type %d lacks attribute %d", (int)d.type, name);
    T value;
    memcpy(&value, found->second.bytes.data() + (size_t)i * sizeof(T), sizeof value);
    return value;
}

const descriptor &part(const descriptor &d, int name, int64_t i = 0)
{
    return behind(get<void *>(d, name, i));
}

/* ---- tensors ---- */

using index = std::array<int64_t, 4>;

struct tensor {
    int64_t id;
    cudnnDataType_t type;
    index dimensions, strides;
    bool in_memory;
    char *memory;                 /* of the device, or */
    std::vector<float> values;    /* ours */

    int64_t offset(const index &i) const    /* dimensions of 1 are the same everywhere */
    {
        int64_t at = 0;
        for (int d = 0; d < 4; d++)
            at += dimensions[d] == 1 ? 0 : i[d] * strides[d];
        return at;
    }
    int64_t span() const
    {
        return 1 + offset({dimensions[0] - 1, dimensions[1] - 1, dimensions[2] - 1, dimensions[3] - 1});
    }
    int64_t elements() const
    {
        return dimensions[0] * dimensions[1] * dimensions[2] * dimensions[3];
    }
    size_t bytes() const
    {
        return (size_t)span() * (type == CUDNN_DATA_FLOAT ? 4 : 2);
    }
};

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

/* ---- operations ---- */

/* A graph with the memory it runs on. */
struct program {
    std::map<int64_t, tensor> tensors;
    struct step {
        cudnnBackendDescriptorType_t type;
        int mode;
        int64_t axis;
        int64_t x, b, t, y;    /* tensors, 0: none */
    };
    std::vector<step> steps;
};

void matmul(const tensor &a, const tensor &b, tensor &c)
{
    const int64_t K = a.dimensions[3];
    if (b.dimensions[2] != K || c.dimensions[2] != a.dimensions[2] || c.dimensions[3] != b.dimensions[3])
        fault("a product of cuDNN: (%ld, %ld) . (%ld, %ld) into (%ld, %ld)", (long)a.dimensions[2], (long)K,
              (long)b.dimensions[2], (long)b.dimensions[3], (long)c.dimensions[2], (long)c.dimensions[3]);
    each(c.dimensions, [&](const index &i) {
        float sum = 0;
        for (int64_t k = 0; k < K; k++)
            sum += load(a, a.offset({i[0], i[1], i[2], k})) * load(b, b.offset({i[0], i[1], k, i[3]}));
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
                                 : apply(s.mode, load(x, x.offset(i)), b ? load(*b, b->offset(i)) : 0,
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

void run(program &p)
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

/* ---- from descriptors to a program ---- */

int64_t add_tensor(program &p, const descriptor &d)
{
    tensor t = {};
    t.id = get<int64_t>(d, CUDNN_ATTR_TENSOR_UNIQUE_ID);
    t.type = get<cudnnDataType_t>(d, CUDNN_ATTR_TENSOR_DATA_TYPE);
    for (int i = 0; i < 4; i++) {
        t.dimensions[(size_t)i] = get<int64_t>(d, CUDNN_ATTR_TENSOR_DIMENSIONS, i);
        t.strides[(size_t)i] = get<int64_t>(d, CUDNN_ATTR_TENSOR_STRIDES, i);
    }
    t.in_memory = !get<bool>(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL) && !get<bool>(d, CUDNN_ATTR_TENSOR_IS_BY_VALUE);
    if (!t.in_memory)
        t.values.assign((size_t)t.span(), NAN);
    p.tensors.emplace(t.id, t);
    return t.id;
}

void add_step(program &p, const descriptor &op)
{
    program::step s = {op.type, 0, 0, 0, 0, 0, 0};
    const auto operand = [&](int name) { return has(op, name) ? add_tensor(p, part(op, name)) : 0; };
    switch (op.type) {
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
        s.x = operand(CUDNN_ATTR_OPERATION_MATMUL_ADESC);
        s.b = operand(CUDNN_ATTR_OPERATION_MATMUL_BDESC);
        s.y = operand(CUDNN_ATTR_OPERATION_MATMUL_CDESC);
        break;
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
        s.mode = get<int>(part(op, CUDNN_ATTR_OPERATION_REDUCTION_DESC), CUDNN_ATTR_REDUCTION_OPERATOR);
        s.x = operand(CUDNN_ATTR_OPERATION_REDUCTION_XDESC);
        s.y = operand(CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
        break;
    case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR:
        s.x = operand(CUDNN_ATTR_OPERATION_RESHAPE_XDESC);
        s.y = operand(CUDNN_ATTR_OPERATION_RESHAPE_YDESC);
        break;
    default: {
        const descriptor &how = part(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
        s.mode = get<int>(how, CUDNN_ATTR_POINTWISE_MODE);
        s.axis = has(how, CUDNN_ATTR_POINTWISE_AXIS) ? get<int64_t>(how, CUDNN_ATTR_POINTWISE_AXIS) : 0;
        s.x = operand(CUDNN_ATTR_OPERATION_POINTWISE_XDESC);
        s.b = operand(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
        s.t = operand(CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
        s.y = operand(CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
    }
    }
    if (!s.x || !s.y)
        fault("an operation of cuDNN lacks an operand");
    p.steps.push_back(s);
}

/* What is written densely may share memory with nothing. */
void check_overlaps(const program &p, const char *workspace)
{
    for (const auto &[id, t] : p.tensors) {
        if (!t.in_memory || t.elements() != t.span())
            continue;
        for (const auto &[other_id, o] : p.tensors)
            if (o.in_memory && id != other_id && t.memory < o.memory + o.bytes() && o.memory < t.memory + t.bytes())
                fault("tensors %ld and %ld of cuDNN overlap", (long)id, (long)other_id);
        if (t.memory < workspace + WORKSPACE_BYTES && workspace < t.memory + t.bytes())
            fault("tensor %ld of cuDNN and its workspace overlap", (long)id);
    }
}

void check_memory(const char *what, const void *start, size_t bytes)
{
    const std::string complaint = memory_complaint(start, bytes, memory_kind::device);
    if (!complaint.empty())
        fault("%s of cuDNN %s", what, complaint.c_str());
}

void bind(program &p, const descriptor &pack)
{
    const auto &ids = pack.attributes.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    for (int64_t i = 0; i < ids.count; i++) {
        const int64_t id = get<int64_t>(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, i);
        char *pointer = get<char *>(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, i);
        const auto found = p.tensors.find(id);
        if (found == p.tensors.end())
            fault("cuDNN is given tensor %ld, which the graph has not", (long)id);
        tensor &t = found->second;
        if (!t.in_memory) {
            memcpy(t.values.data(), pointer, sizeof(float));
            continue;
        }
        if ((uintptr_t)pointer % 16)
            fault("tensor %ld of cuDNN is not aligned to 16 bytes", (long)id);
        t.memory = pointer;
        check_memory("a tensor", pointer, t.bytes());
    }
    for (const auto &[id, t] : p.tensors)
        if (t.in_memory && !t.memory)
            fault("cuDNN is not given tensor %ld", (long)id);
}

/* Half of each sequence's results are half of what they should be. */
void spoil(program &p)
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

cudnnStatus_t enter(const char *call)
{
    return (cudnnStatus_t)enter_call(call);
}

}    // namespace

extern "C" {

/* For tests: how many plans ran. */
int64_t simulated_cudnn_runs(void)
{
    return runs;
}

size_t cudnnGetVersion(void)
{
    return is("old") ? OLD_VERSION : VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_SUCCESS ? "success" : "simulated failure";
}

void cudnnGetLastErrorString(char *message, size_t bytes)
{
    snprintf(message, bytes, "of the simulated cuDNN");
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    const cudnnStatus_t status = enter(__func__);
    *handle = status == CUDNN_STATUS_SUCCESS ? new cudnnContext{} : nullptr;
    return status;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    delete handle;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return enter(__func__);
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *d)
{
    const cudnnStatus_t status = enter(__func__);
    if (status == CUDNN_STATUS_SUCCESS)
        *d = new descriptor{type, false, {}};
    return status;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d)
{
    delete static_cast<descriptor *>(d);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t opaque, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    descriptor &d = *static_cast<descriptor *>(opaque);
    const char *bytes = static_cast<const char *>(values);
    if (d.finalized)
        fault("a cuDNN descriptor is changed after it was finalized");
    for (int64_t i = 0; i < count && type == CUDNN_TYPE_BACKEND_DESCRIPTOR; i++)
        if (!behind(static_cast<void *const *>(values)[i]).finalized)
            fault("a cuDNN descriptor is used that is not finalized");
    d.attributes[name] = {count, {bytes, bytes + (size_t)count * bytes_of(type)}};
    return enter(__func__);
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t opaque)
{
    static_cast<descriptor *>(opaque)->finalized = true;
    return enter(__func__);
}

/* Two engines for every graph; each leads back to it. */
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const opaque, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t wanted, int64_t *count, void *values)
{
    const descriptor &d = behind(opaque);
    *count = 1;
    if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) {
        *static_cast<int64_t *>(values) = WORKSPACE_BYTES;
    } else if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) {
        *count = is("none") ? 0 : std::min<int64_t>(wanted, ENGINES);
        for (int64_t i = 0; i < *count; i++) {
            descriptor *engine = static_cast<descriptor *>(static_cast<void **>(values)[i]);
            engine->attributes = d.attributes;
            engine->finalized = true;
        }
    } else {
        fault("attribute %d of a cuDNN descriptor is not simulated", (int)name);
    }
    return enter(__func__);
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack)
{
    const cudnnStatus_t status = enter(__func__);
    if (status != CUDNN_STATUS_SUCCESS || is("fail"))
        return status != CUDNN_STATUS_SUCCESS ? status : CUDNN_STATUS_EXECUTION_FAILED;
    const descriptor &graph = part(part(behind(plan), CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG),
                                   CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    const auto p = std::make_shared<program>();
    const int64_t operations = graph.attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).count;
    for (int64_t i = 0; i < operations; i++)
        add_step(*p, part(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, i));
    bind(*p, behind(pack));
    char *workspace = get<char *>(behind(pack), CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    check_memory("the workspace", workspace, WORKSPACE_BYTES);
    check_overlaps(*p, workspace);

    const bool slow = is("slow"), wrong = is("wrong");
    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(handle->stream, __func__);
    stream_queue(handle->stream, {"cudnnBackendExecute", [=] {
                                      memset(workspace, 0xff, WORKSPACE_BYTES);
                                      if (slow)
                                          std::this_thread::sleep_for(std::chrono::milliseconds(100));
                                      run(*p);
                                      if (wrong)
                                          spoil(*p);
                                      runs++;
                                  }, {}, {}});
    return status;
}

}    // extern "C"
