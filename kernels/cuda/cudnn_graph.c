/*
 * cudnn_graph.c - cuDNN's backend descriptors: created, given attributes, finalized.
 *
 * Source: NVIDIA, cuDNN backend API reference. What is set, and in which order, is what NVIDIA's
 * cudnn-frontend sets.
 */
#include "kernels/cuda/cudnn_graph.h"

#include <stddef.h>

/* That plans behind the first may need more than those before: a plan that may turn out the faster
 * must not take the memory that the model needs. */
enum { MORE_WORKSPACE_BYTES = 64 << 20 };

struct error *cudnn_check(cudnnStatus_t status, const char *call)
{
    if (status == CUDNN_STATUS_SUCCESS)
        return NULL;
    char detail[512] = "";
    cudnnGetLastErrorString(detail, sizeof detail);
    return error_new(ERROR_DEVICE, "%s: %s%s%s", call, cudnnGetErrorString(status),
                     detail[0] ? ", " : "", detail);
}

void cudnn_graph_destroy(struct cudnn_graph *graph)
{
    while (graph->count > 0)
        cudnnBackendDestroyDescriptor(graph->all[--graph->count]);
    error_destroy(graph->error);
    *graph = (struct cudnn_graph){0};
}

/* ---- descriptors ---- */

/* Whether all is well so far. */
static bool keep(struct cudnn_graph *g, cudnnStatus_t status, const char *call)
{
    if (!g->error)
        g->error = cudnn_check(status, call);
    return !g->error;
}

static cudnnBackendDescriptor_t create(struct cudnn_graph *g, cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t d = NULL;
    if (g->error)
        return NULL;
    if (g->count == CUDNN_GRAPH_DESCRIPTORS)
        BUG("a graph of more than %d descriptors", CUDNN_GRAPH_DESCRIPTORS);
    if (!keep(g, cudnnBackendCreateDescriptor(type, &d), "cudnnBackendCreateDescriptor"))
        return NULL;
    g->all[g->count++] = d;
    return d;
}

static void set(struct cudnn_graph *g, cudnnBackendDescriptor_t d,
                cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                const void *values)
{
    if (!g->error)
        keep(g, cudnnBackendSetAttribute(d, name, type, count, values),
             "cudnnBackendSetAttribute");
}

static void set_descriptor(struct cudnn_graph *g, cudnnBackendDescriptor_t d,
                           cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value)
{
    set(g, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void finalize(struct cudnn_graph *g, cudnnBackendDescriptor_t d, const char *what)
{
    if (!g->error && !keep(g, cudnnBackendFinalize(d), "cudnnBackendFinalize"))
        g->error = error_context(g->error, "describing %s", what);
}

static void add(struct cudnn_graph *g, cudnnBackendDescriptor_t operation, const char *what)
{
    finalize(g, operation, what);
    if (g->operation_count == CUDNN_GRAPH_OPERATIONS)
        BUG("a graph of more than %d operations", CUDNN_GRAPH_OPERATIONS);
    g->operations[g->operation_count++] = operation;
}

/* ---- tensors and operations ---- */

struct cudnn_layout cudnn_dense(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (struct cudnn_layout){{a, b, c, d}, {b * c * d, c * d, d, 1}};
}

cudnnBackendDescriptor_t cudnn_tensor(struct cudnn_graph *graph, int64_t id, cudnnDataType_t type,
                                      struct cudnn_layout layout, enum cudnn_place place)
{
    struct cudnn_graph *g = graph;
    cudnnBackendDescriptor_t d = create(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const int64_t alignment = 16;
    const int64_t unique = place == CUDNN_VIRTUAL ? CUDNN_FIRST_VIRTUAL + g->next_id++ : id;
    const bool is_virtual = place == CUDNN_VIRTUAL, by_value = place == CUDNN_BY_VALUE;
    set(g, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &unique);
    set(g, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(g, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, layout.dimensions);
    set(g, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, layout.strides);
    set(g, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(g, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    set(g, d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
    finalize(g, d, "a tensor");
    return d;
}

static void pointwise(struct cudnn_graph *g, cudnnPointwiseMode_t mode, int64_t axis,
                      cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                      cudnnBackendDescriptor_t t, cudnnBackendDescriptor_t y)
{
    const cudnnDataType_t math =
        mode == CUDNN_POINTWISE_CMP_GE ? CUDNN_DATA_BOOLEAN : CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t how = create(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(g, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(g, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &math);
    if (mode == CUDNN_POINTWISE_GEN_INDEX)
        set(g, how, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &axis);
    finalize(g, how, "what is done to each element");

    cudnnBackendDescriptor_t op = create(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b)
        set_descriptor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    if (t)
        set_descriptor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    add(g, op, "an operation on each element");
}

void cudnn_pointwise(struct cudnn_graph *graph, cudnnPointwiseMode_t mode,
                     cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                     cudnnBackendDescriptor_t t, cudnnBackendDescriptor_t y)
{
    pointwise(graph, mode, 0, x, b, t, y);
}

void cudnn_index(struct cudnn_graph *graph, int64_t axis, cudnnBackendDescriptor_t x,
                 cudnnBackendDescriptor_t y)
{
    pointwise(graph, CUDNN_POINTWISE_GEN_INDEX, axis, x, NULL, NULL, y);
}

void cudnn_matmul(struct cudnn_graph *graph, cudnnBackendDescriptor_t a,
                  cudnnBackendDescriptor_t b, cudnnBackendDescriptor_t c)
{
    struct cudnn_graph *g = graph;
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t how = create(g, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set(g, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    finalize(g, how, "how a product is summed");

    cudnnBackendDescriptor_t op = create(g, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    add(g, op, "a matrix product");
}

void cudnn_reduction(struct cudnn_graph *graph, cudnnReduceTensorOp_t operation,
                     cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t y)
{
    struct cudnn_graph *g = graph;
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t how = create(g, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set(g, how, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &operation);
    set(g, how, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    finalize(g, how, "how elements are reduced");

    cudnnBackendDescriptor_t op = create(g, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_REDUCTION_DESC, how);
    add(g, op, "a reduction");
}

void cudnn_reshape(struct cudnn_graph *graph, cudnnBackendDescriptor_t x,
                   cudnnBackendDescriptor_t y)
{
    struct cudnn_graph *g = graph;
    cudnnBackendDescriptor_t op = create(g, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
    add(g, op, "a reshape");
}

/* ---- plans ---- */

/* Of a failure so far the graph is rid: it is the caller's. */
static struct error *take_error(struct cudnn_graph *g)
{
    struct error *e = g->error;
    g->error = NULL;
    return e;
}

static cudnnBackendDescriptor_t close_graph(struct cudnn_graph *g,
                                            const struct cudnn_target *target)
{
    cudnnBackendDescriptor_t d = create(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(g, d, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, g->operation_count,
        g->operations);
    if (target->handle)
        set(g, d, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &target->handle);
    finalize(g, d, "the graph");
    return d;
}

struct error *cudnn_graph_propose(struct cudnn_graph *graph, const struct cudnn_target *target)
{
    struct cudnn_graph *g = graph;
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    cudnnBackendDescriptor_t closed = close_graph(g, target);
    cudnnBackendDescriptor_t engines = create(g, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_descriptor(g, engines, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, closed);
    set(g, engines, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (target->properties)
        set_descriptor(g, engines, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, target->properties);
    finalize(g, engines, "the question for engines");

    int64_t found = 0;
    for (int i = 0; i < CUDNN_GRAPH_CANDIDATES; i++)
        g->candidates[i] = create(g, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (!g->error)
        keep(g, cudnnBackendGetAttribute(engines, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                         CUDNN_TYPE_BACKEND_DESCRIPTOR, CUDNN_GRAPH_CANDIDATES,
                                         &found, g->candidates), "cudnnBackendGetAttribute");
    if (g->error)
        return take_error(g);
    if (found < 1)
        return error_new(ERROR_DEVICE, "no engine runs it on this GPU");
    g->candidate_count = found < CUDNN_GRAPH_CANDIDATES ? (int)found : CUDNN_GRAPH_CANDIDATES;
    return NULL;
}

static void plan_candidate(struct cudnn_graph *g, const struct cudnn_target *target,
                           cudnnBackendDescriptor_t candidate)
{
    cudnnBackendDescriptor_t plan = create(g, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, candidate);
    if (target->properties)
        set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, target->properties);
    finalize(g, plan, "the plan");
    int64_t count = 0, bytes = 0;
    if (!g->error)
        keep(g, cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                         CUDNN_TYPE_INT64, 1, &count, &bytes),
             "cudnnBackendGetAttribute");
    const int64_t most =
        g->plan_count > 0 ? g->workspace_bytes + MORE_WORKSPACE_BYTES : INT64_MAX;
    if (g->error || bytes > most)
        return;
    g->plans[g->plan_count++] = plan;
    g->workspace_bytes = bytes > g->workspace_bytes ? bytes : g->workspace_bytes;
}

struct error *cudnn_graph_plan(struct cudnn_graph *graph, const struct cudnn_target *target)
{
    TRY(cudnn_graph_propose(graph, target));
    struct error *e = NULL;
    for (int i = 0; i < graph->candidate_count && graph->plan_count < CUDNN_GRAPH_PLANS; i++) {
        error_destroy(e);    /* of the candidate before */
        plan_candidate(graph, target, graph->candidates[i]);
        e = take_error(graph);
    }
    if (graph->plan_count == 0)
        return e;
    error_destroy(e);
    return NULL;
}

/* ---- running ---- */

static struct error *fill_pack(cudnnBackendDescriptor_t pack, const int64_t *ids,
                               void *const *pointers, int n, void *workspace)
{
    const char *call = "cudnnBackendSetAttribute";
    TRY(cudnn_check(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                             CUDNN_TYPE_VOID_PTR, n, pointers), call));
    TRY(cudnn_check(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS,
                                             CUDNN_TYPE_INT64, n, ids), call));
    TRY(cudnn_check(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
                                             CUDNN_TYPE_VOID_PTR, 1, &workspace), call));
    return cudnn_check(cudnnBackendFinalize(pack), "cudnnBackendFinalize");
}

struct error *cudnn_graph_run(const struct cudnn_graph *graph, cudnnHandle_t handle,
                              const int64_t *ids, void *const *pointers, int n, void *workspace)
{
    cudnnBackendDescriptor_t pack = NULL;
    TRY(cudnn_check(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack),
                    "cudnnBackendCreateDescriptor"));
    struct error *e = fill_pack(pack, ids, pointers, n, workspace);
    if (!e)
        e = cudnn_check(cudnnBackendExecute(handle, graph->plans[graph->chosen], pack),
                        "cudnnBackendExecute");
    cudnnBackendDestroyDescriptor(pack);
    return e;
}
