/*
 * cudnn.cpp - the simulated cuDNN: it computes a graph operation by operation, as it is described.
 *
 * A library of its own, so that only a test that asks for it has it. It knows no patterns, so it
 * says what a graph means, not whether the real library has an engine for it. SIMGPU_CUDNN lets it
 * be "old", have "none" of the engines, "fail" when a plan runs, "spoil" a graph that a plan
 * becomes a part of, be "wrong" or "slow", in its first engine alone "first wrong" or "first slow",
 * or so with a second that wants more memory than there is, "second large"; it is read anew by each
 * call.
 */
#include "calls.h"
#include "cudnn_program.h"
#include "fault.h"
#include "memory.h"
#include "stream.h"

#include <cudnn.h>

#include <algorithm>
#include <atomic>
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

std::vector<char> bytes_behind(const void *start, size_t count)
{
    const char *first = static_cast<const char *>(start);
    return {first, first + count};
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
    t.in_memory = !get<bool>(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL) && !get<bool>(d,
        CUDNN_ATTR_TENSOR_IS_BY_VALUE);
    if (!t.in_memory)
        t.values.assign((size_t)t.span(), NAN);
    p.tensors.emplace(t.id, t);
    return t.id;
}

void add_step(program &p, const descriptor &op)
{
    program::step s = {op.type, 0, 0, 0, 0, 0, 0};
    const auto operand = [&](int name) { return has(op, name) ? add_tensor(p,
        part(op, name)) : 0; };
    switch (op.type) {
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
        s.x = operand(CUDNN_ATTR_OPERATION_MATMUL_ADESC);
        s.b = operand(CUDNN_ATTR_OPERATION_MATMUL_BDESC);
        s.y = operand(CUDNN_ATTR_OPERATION_MATMUL_CDESC);
        break;
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
        s.mode = get<int>(part(op, CUDNN_ATTR_OPERATION_REDUCTION_DESC),
                          CUDNN_ATTR_REDUCTION_OPERATOR);
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
        s.axis = has(how, CUDNN_ATTR_POINTWISE_AXIS) ? get<int64_t>(how,
            CUDNN_ATTR_POINTWISE_AXIS) : 0;
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

cudnnStatus_t enter(const char *call)
{
    return (cudnnStatus_t)enter_call(call);
}

bool is_first(const descriptor &engine)
{
    return get<int64_t>(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX) == 0;
}

/* As a library does that allocates memory while a graph is made. */
bool spoil_capture(const CUstream_st *stream)
{
    const std::unique_lock<std::mutex> hold = stream_lock();
    return stream->capture && capture_forbids(stream) != cudaSuccess;
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

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *d)
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

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t opaque,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void *values)
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
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const opaque,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t,
                                       int64_t wanted, int64_t *count, void *values)
{
    const descriptor &d = behind(opaque);
    *count = 1;
    if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) {
        const descriptor &engine = part(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
        const bool large = !is_first(engine) && is("second large");
        *static_cast<int64_t *>(values) = large ? 1LL << 40 : +WORKSPACE_BYTES;
    } else if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) {
        *count = is("none") ? 0 : std::min<int64_t>(wanted, ENGINES);
        for (int64_t i = 0; i < *count; i++) {
            descriptor *engine = static_cast<descriptor *>(static_cast<void **>(values)[i]);
            engine->attributes = d.attributes;
            engine->attributes[CUDNN_ATTR_ENGINE_GLOBAL_INDEX] = {1, bytes_behind(&i, sizeof i)};
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
    const bool spoils = is("spoil") && spoil_capture(handle->stream);
    if (status != CUDNN_STATUS_SUCCESS || is("fail") || spoils)
        return status != CUDNN_STATUS_SUCCESS ? status : CUDNN_STATUS_EXECUTION_FAILED;
    const descriptor &engine = part(behind(plan), CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    const descriptor &graph = part(engine, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    const bool first = is_first(engine);
    const auto p = std::make_shared<program>();
    const int64_t operations = graph.attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).count;
    for (int64_t i = 0; i < operations; i++)
        add_step(*p, part(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, i));
    bind(*p, behind(pack));
    char *workspace = get<char *>(behind(pack), CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    check_memory("the workspace", workspace, WORKSPACE_BYTES);
    program_check_overlaps(*p, workspace, WORKSPACE_BYTES);

    const bool wrong = is("wrong") || (first && is("first wrong"));
    const bool slow = is("slow") || (first && (is("first slow") || is("second large")));
    const double told_ms = slow ? 1e5 : 0;
    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(handle->stream, __func__);
    stream_queue(handle->stream, {"cudnnBackendExecute", [=] {
                                      memset(workspace, 0xff, WORKSPACE_BYTES);
                                      program_run(*p);
                                      if (wrong)
                                          program_spoil(*p);
                                      runs++;
                                  }, {}, {}, {}, told_ms});
    return status;
}

}    // extern "C"
